/** Snapshots: all that there is, at one moment. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, type HeapSnapshot } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import { Random } from "../support/random.ts";

/** Takes a snapshot, as another program reads it. */
function snapshotOf(allocator: JitAllocator, code?: boolean): HeapSnapshot {
  const snapshot = allocator.snapshot(code === undefined ? {} : { code });
  return JSON.parse(JSON.stringify(snapshot)) as HeapSnapshot;
}

for (const isShared of [false, true]) {
  describe(`a snapshot of an allocator, ${isShared ? "shared" : "not shared"}`, () => {
    function makeAllocator(options = {}): JitAllocator {
      const allocator = new JitAllocator(options, new SimulatedMemory());
      if (isShared) allocator.share();
      return allocator;
    }

    test("says what it is of, and has the statistics, the range and the blocks", () => {
      const allocator = makeAllocator();
      const before = Date.now();
      allocator.alloc(100);
      allocator.alloc(100, { kind: "data" });
      const snapshot = snapshotOf(allocator);
      assert.equal(snapshot.schema, "jit-allocator/heap-snapshot@1");
      assert.ok(Date.parse(snapshot.takenAt) >= before && Date.parse(snapshot.takenAt) <= Date.now());
      assert.deepEqual(snapshot.process, {
        pid: process.pid,
        runtime: `${platform.runtime} ${platform.runtimeVersion}`,
        system: `${platform.system} ${platform.processor}`,
      });
      assert.deepEqual(snapshot.range, allocator.range);
      assert.deepEqual(snapshot.statistics, allocator.statistics());
      assert.deepEqual(
        snapshot.blocks,
        allocator.blocks().map(({ granules, ...block }) => {
          assert.equal(granules[0], 2, "padding");
          return { ...block, padding: block.granularity };
        }),
      );
    });

    test("has each allocation, whatever was released, shrunk and allocated again", () => {
      const random = new Random(16);
      const allocator = makeAllocator({ useMultiplePools: true });
      const live = new Map<number, { size: number; name: string | undefined; kind: string }>();
      for (let step = 0; step < 3000; step++) {
        const start = [...live.keys()][random.below(2 * live.size + 1)];
        if (start === undefined) {
          const kind = (["code", "constants", "data"] as const)[random.below(3)] ?? "code";
          const name = random.below(2) === 0 ? undefined : `f${step}`;
          const span = allocator.alloc(
            1 + random.below(5000),
            name === undefined ? { kind } : { kind, name },
          );
          live.set(span.rx, { size: span.size, name, kind });
        } else if (random.below(3) === 0) {
          allocator.shrink(start, 1);
          const known = live.get(start);
          if (known !== undefined) known.size = allocator.query(start).size;
        } else {
          allocator.release(start);
          live.delete(start);
        }
      }
      const { spans, blocks } = snapshotOf(allocator);
      assert.ok(live.size > 50 && blocks.length > 3, `${live.size} in ${blocks.length}`);
      assert.deepEqual(
        spans.map(({ rx, size, name, block }) => [rx, size, name, blocks[block]?.kind]),
        [...live]
          .sort(([one], [other]) => one - other)
          .map(([rx, { size, name, kind }]) => [rx, size, name, kind]),
      );
      for (const { rx, size, block } of spans) {
        const { rx: start, size: length } = blocks[block] ?? { rx: 0, size: 0 };
        assert.ok(rx >= start && rx + size <= start + length);
      }
      for (const [index, block] of blocks.entries()) {
        const inIt = spans.filter((span) => span.block === index);
        assert.equal(inIt.length, block.allocationCount);
        assert.equal(
          inIt.reduce((sum, { size }) => sum + size, block.padding ?? 0),
          block.usedSize,
        );
      }
    });

    test("has no padding where blocks have none", () => {
      const allocator = makeAllocator({ disableInitialPadding: true });
      const { rx } = allocator.alloc(64);
      const { spans, blocks } = snapshotOf(allocator);
      assert.equal(spans[0]?.rx, rx);
      assert.equal(blocks[0]?.padding, undefined);
    });

    test("has the bytes of code, and of nothing else, if they are asked for", () => {
      const allocator = makeAllocator();
      const runtime = new JitRuntime({ allocator });
      const bytes = Uint8Array.from({ length: 10_000 }, (_, index) => index * 7);
      const { rx, size } = runtime.add(bytes);
      allocator.alloc(64, { kind: "constants" });
      for (const none of [snapshotOf(allocator), snapshotOf(allocator, false)])
        assert.ok(none.spans.every((span) => !("code" in span)));
      const { spans } = snapshotOf(allocator, true);
      assert.equal(spans.filter(({ code }) => code !== undefined).length, 1);
      const read = Buffer.from(spans.find((span) => span.rx === rx)?.code ?? "", "base64");
      assert.equal(read.length, size);
      assert.deepEqual([...read.subarray(0, bytes.length)], [...bytes]);
    });

    test("marks what was retired, which has no name any more", () => {
      const allocator = makeAllocator();
      const [first, second] = [allocator.alloc(64, { name: "first" }), allocator.alloc(64)];
      allocator.enter();
      allocator.retire(first);
      const { spans, statistics } = snapshotOf(allocator);
      assert.equal(statistics.allocationCount, 1);
      assert.deepEqual(
        spans.map(({ rx, size, retired, name }) => [rx, size, retired, name]),
        [
          [first.rx, 64, true, undefined],
          [second.rx, 64, undefined, undefined],
        ],
      );
      allocator.leave();
      assert.equal(snapshotOf(allocator).spans.length, 1);
    });

    test("is empty where nothing is there, and after the disposal", () => {
      const allocator = makeAllocator();
      const { spans, blocks, range } = snapshotOf(allocator);
      assert.deepEqual([spans, blocks, range], [[], [], undefined]);
      allocator.alloc(64);
      allocator.dispose();
      assert.deepEqual([snapshotOf(allocator).spans, snapshotOf(allocator).blocks], [[], []]);
    });

    test("refuses what is no option", () => {
      const allocator = makeAllocator();
      for (const options of [null, 1, "code", { code: 1 }, { code: null }, { other: true }])
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.snapshot(wrong(options)));
    });
  });
}

test("a snapshot of a shared allocator says whose each allocation is, and which came first", () => {
  const memory = new SimulatedMemory();
  const allocator = new JitAllocator({}, memory);
  const early = allocator.alloc(64);
  const attached = attachOn(allocator.share(), memory);
  const spans = [early, attached.alloc(64), allocator.alloc(64), attached.alloc(64), allocator.alloc(64)];
  const order = (rx: number): number =>
    snapshotOf(allocator).spans.find((span) => span.rx === rx)?.order ?? NaN;
  assert.deepEqual(
    snapshotOf(allocator).spans.map(({ thread }) => thread),
    [1, 2, 1, 2, 1],
  );
  const of = (...indexes: number[]): number[] => indexes.map((index) => order(spans[index]?.rx ?? 0));
  for (const orders of [of(0, 2, 4), of(1, 3)])
    assert.ok(
      orders.every((each, index) => index === 0 || each > (orders[index - 1] ?? NaN)),
      String(orders),
    );
  attached.detach();
  assert.deepEqual(
    snapshotOf(allocator).spans.map(({ thread }) => thread),
    [1, 2, 1, 2, 1],
  );
  allocator.adopt(2);
  assert.ok(snapshotOf(allocator).spans.every(({ thread }) => thread === 1));
  throwsJitError("ERR_DISPOSED", () => attached.snapshot());
});
