/** reserveForMustSucceed: what must not fail has memory that nobody else can take, and that the system has given already. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, type JitAllocatorOptions, type Span } from "../../../src/index.ts";
import { systemMemory } from "../../../src/vm/select.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { attachOn } from "../../support/attach.ts";
import { observe, refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";

const KiB = 1024;
const BLOCK = 64 * KiB;
const RESERVE = 2 * BLOCK;
const MOST = 8 * BLOCK;
const USUAL: JitAllocatorOptions = { maxReservedSize: MOST, reserveForMustSucceed: RESERVE };
const SURELY = { mustSucceed: true } as const;

/** Allocates until there is no room, and returns the spans and the refusal. */
function exhaust(allocator: JitAllocator, size = 4 * KiB): { spans: Span[]; message: string } {
  const spans: Span[] = [];
  for (;;) {
    try {
      spans.push(allocator.alloc(size));
    } catch {
      const { message } = refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(size));
      return { spans, message };
    }
  }
}

for (const isShared of [false, true]) {
  const make = (memory: SimulatedMemory, options: JitAllocatorOptions = USUAL): JitAllocator => {
    const allocator = new JitAllocator(options, memory);
    if (isShared) allocator.share();
    return allocator;
  };

  describe(`a reserve, ${isShared ? "shared" : "in one thread"}`, () => {
    for (const options of [
      USUAL,
      { ...USUAL, useMultiplePools: true },
      { ...USUAL, immediateRelease: true, fillUnusedMemory: true },
      { ...USUAL, disableInitialPadding: true, granularity: 256 },
      { ...USUAL, useDualMapping: false },
    ] satisfies JitAllocatorOptions[]) {
      test(`is there when all else is full, and comes back (${JSON.stringify(options)})`, () => {
        const memory = new SimulatedMemory({ hasRanges: true });
        using allocator = make(memory, options);
        const { spans, message } = exhaust(allocator);
        assert.match(message, /131072 of these are the reserve .*reserveForMustSucceed/);
        const { reservedSize } = allocator.statistics();
        assert.equal(reservedSize, MOST);
        const { calls } = memory;
        const before = { ...calls };
        const surely: Span[] = [];
        for (let size = 0; size + 4 * KiB < RESERVE; size += 4 * KiB)
          surely.push(allocator.alloc(4 * KiB, SURELY));
        assert.deepEqual(
          { commit: calls.commit, allocDualMapping: calls.allocDualMapping, alloc: calls.alloc },
          { commit: before.commit, allocDualMapping: before.allocDualMapping, alloc: before.alloc },
          "no memory was asked for",
        );
        surely.forEach((span, index) => {
          span.write(0, Uint8Array.of(index));
          assert.deepEqual(span.read(0, 1), Uint8Array.of(index));
        });
        const overlapping = [...spans, ...surely].sort((one, other) => one.rx - other.rx);
        assert.ok(
          overlapping.every(({ rx, size }, index) => rx + size <= (overlapping[index + 1]?.rx ?? Infinity)),
        );
        assert.ok(surely.every((span) => span.kind === "code"));
        // It is used up as well.
        const { message: why } = refuses(allocator, "ERR_OUT_OF_MEMORY", () =>
          allocator.alloc(RESERVE / 2, SURELY),
        );
        assert.match(why, /the reserve of 131072 bytes .* has no room/);
        for (const span of surely.splice(0)) span.release();
        assert.equal(allocator.statistics().reservedSize, MOST, "its empty block is kept");
        refuses(
          allocator,
          "ERR_OUT_OF_MEMORY",
          () => allocator.alloc(4 * KiB),
          "what came back is the reserve's",
        );
        surely.push(allocator.alloc(RESERVE - 4 * KiB, SURELY));
        allocator.verify();
        // What there is room for elsewhere leaves the reserve alone.
        for (const span of spans.splice(0)) span.release();
        for (let times = 0; times < 40; times++) spans.push(allocator.alloc(4 * KiB, SURELY));
        const reserve = allocator.statistics({ detail: true }).byPool.find((pool) => pool.isReserve);
        assert.equal(reserve?.allocationCount, 1);
        allocator.verify();
      });
    }

    test("is there when the system refuses everything", () => {
      for (const code of ["ERR_OUT_OF_MEMORY", "ERR_PERMISSION", "ERR_TOO_MANY_HANDLES"] as const) {
        const memory = new SimulatedMemory({ hasRanges: true });
        using allocator = make(memory);
        const first = allocator.alloc(BLOCK - 64);
        memory.failAfter("commit", 0, code);
        memory.failAfter("commit", 0, code);
        refuses(allocator, code, () => allocator.alloc(BLOCK - 64));
        memory.failAfter("commit", 0, code);
        memory.failAfter("commit", 0, code);
        const span = allocator.alloc(BLOCK, SURELY);
        memory.clearFaults();
        assert.equal(first.isReleased || span.isReleased, false);
        allocator.verify();
      }
    });

    test("is mapped before all else; where that is refused, nothing is allocated, and it is tried again", () => {
      for (const operation of ["reserveRange", "commit", "openView"] as const) {
        const memory = new SimulatedMemory({ hasRanges: true });
        using allocator = make(memory);
        memory.failAfter(operation, 0, "ERR_OUT_OF_MEMORY");
        if (operation === "openView") {
          // Without a view the pages are written by copies.
          allocator.alloc(64);
        } else {
          const { allocationCount, blockCount, reservedSize } = allocator.statistics();
          throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(64));
          const after = allocator.statistics();
          assert.deepEqual(
            [after.allocationCount, after.blockCount, after.reservedSize],
            [allocationCount, blockCount, reservedSize],
          );
          allocator.verify();
          allocator.alloc(64);
        }
        memory.clearFaults();
        assert.equal(allocator.statistics().reservedSize, RESERVE + BLOCK);
      }
    });

    test("goes again where the allocation it was mapped for is refused; what must succeed keeps it", () => {
      const memory = new SimulatedMemory({ hasRanges: true });
      using allocator = make(memory);
      memory.failAfter("commit", 1, "ERR_OUT_OF_MEMORY");
      throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(64));
      memory.clearFaults();
      assert.deepEqual(allocator.blocks(), []);
      memory.failAfter("commit", 1, "ERR_OUT_OF_MEMORY");
      allocator.alloc(64, SURELY);
      memory.clearFaults();
      assert.equal(allocator.statistics().reservedSize, RESERVE);
      allocator.verify();
    });

    test("its pages have memory from the start, and keep it: no trim takes it", () => {
      const memory = new SimulatedMemory({ hasRanges: true });
      using allocator = make(memory);
      const reserveOf = (): number =>
        allocator.statistics({ detail: true }).byPool.find(({ isReserve }) => isReserve)?.residentSize ?? 0;
      const { spans } = exhaust(allocator);
      assert.equal(reserveOf(), RESERVE);
      const surely = Array.from({ length: 30 }, () => allocator.alloc(4 * KiB, SURELY));
      for (const span of surely) span.write(0, new Uint8Array(4 * KiB));
      for (const span of surely) span.release();
      allocator.trim();
      assert.equal(reserveOf(), RESERVE);
      for (const span of spans) span.release();
      allocator.reset();
      allocator.trim();
      assert.equal(reserveOf(), RESERVE);
    });

    test("a soft reset keeps it, also with immediateRelease; after a hard one it comes first again", () => {
      for (const immediateRelease of [false, true]) {
        const memory = new SimulatedMemory({ hasRanges: true });
        using allocator = make(memory, { ...USUAL, immediateRelease });
        const { spans } = exhaust(allocator);
        const surely = allocator.alloc(4 * KiB, SURELY);
        allocator.reset();
        assert.ok(surely.isReleased && spans.every((span) => span.isReleased));
        assert.equal(allocator.statistics().reservedSize >= RESERVE, true);
        assert.equal(allocator.statistics().allocationCount, 0);
        memory.failAfter("commit", 0, "ERR_OUT_OF_MEMORY");
        memory.failAfter("commit", 0, "ERR_OUT_OF_MEMORY");
        const kept = allocator.alloc(RESERVE - 4 * KiB, SURELY);
        memory.clearFaults();
        kept.release();
        allocator.reset("hard");
        assert.equal(allocator.statistics().reservedSize, 0);
        allocator.alloc(64);
        assert.equal(allocator.statistics().reservedSize, RESERVE + BLOCK);
        allocator.verify();
      }
    });

    test("its empty block is never given up for others", () => {
      const memory = new SimulatedMemory();
      using allocator = make(memory);
      throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(MOST - BLOCK));
      allocator.verify();
      allocator.alloc(MOST - RESERVE - 64);
      assert.equal(allocator.statistics().reservedSize, MOST);
      allocator.alloc(64, SURELY);
    });

    test("is rounded up to whole blocks; a block of it has padding like others", () => {
      using allocator = make(new SimulatedMemory(), { ...USUAL, reserveForMustSucceed: BLOCK + 1 });
      assert.equal(allocator.options.reserveForMustSucceed, RESERVE);
      allocator.alloc(MOST - RESERVE - 64);
      allocator.alloc(RESERVE - 64, SURELY);
      throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(1, SURELY));
    });

    test("releases, shrinks and holes in it, at random", () => {
      const random = new Random(15);
      using allocator = make(new SimulatedMemory({ hasRanges: true }));
      exhaust(allocator, 64);
      let live: Span[] = [];
      for (let times = 0; times < 2000; times++) {
        const span = random.pick(live.length > 0 ? live : [undefined]);
        if (random.chance(0.6) || span === undefined) {
          try {
            live.push(allocator.alloc(random.between(1, 3000), SURELY));
          } catch (error) {
            throwsJitError("ERR_OUT_OF_MEMORY", () => {
              throw error;
            });
            for (const each of live.splice(0, 20)) each.release();
          }
        } else if (random.chance(0.5)) {
          span.shrink(random.between(1, span.size));
        } else {
          allocator.release(span.rx);
        }
        live = live.filter(({ isReleased }) => !isReleased);
        if (times % 100 === 0) allocator.verify();
      }
      allocator.verify();
    });

    test("JitRuntime.add and parts of modules can take it", () => {
      using allocator = make(new SimulatedMemory());
      exhaust(allocator, 64);
      const runtime = new JitRuntime({ allocator });
      const code = new Uint8Array(200).fill(0xc3);
      throwsJitError("ERR_OUT_OF_MEMORY", () => runtime.add(code));
      assert.deepEqual(runtime.add(code, SURELY).read(0, 200), code);
      throwsJitError("ERR_OUT_OF_MEMORY", () => runtime.add(200, (bytes) => bytes.length));
      assert.equal(runtime.add(200, () => 100, { name: "f", ...SURELY }).size, 128);
      using builder = allocator.module();
      throwsJitError("ERR_OUT_OF_MEMORY", () => builder.code(code));
      builder.code(code, SURELY);
      const loaded = builder.commit();
      assert.deepEqual(loaded.spans[0]?.read(0, 200), code);
      loaded.release();
      allocator.verify();
    });

    test("only code has one, and mustSucceed is a boolean", () => {
      using allocator = make(new SimulatedMemory());
      using runtime = new JitRuntime({ allocator });
      using builder = allocator.module();
      for (const kind of ["constants", "data"] as const) {
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.alloc(64, { kind, ...SURELY }));
        throwsJitError("ERR_INVALID_ARGUMENT", () => builder[kind](64, SURELY));
      }
      for (const mustSucceed of [1, "yes", null]) {
        const info = wrong<{ mustSucceed: boolean }>({ mustSucceed });
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.alloc(64, info));
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => builder.code(64, info));
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => runtime.add(new Uint8Array(1), info));
      }
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.alloc(0, SURELY));
      refuses(allocator, "ERR_TOO_LARGE", () => allocator.alloc(2 ** 31, SURELY));
    });

    test("without a reserve, mustSucceed is as without it, and the error says so", () => {
      using allocator = make(new SimulatedMemory(), { maxReservedSize: MOST });
      const span = allocator.alloc(64, SURELY);
      assert.equal(span.size, 64);
      exhaust(allocator);
      const { message } = refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(BLOCK, SURELY));
      assert.match(message, /there is no reserve .*pass `reserveForMustSucceed`/);
    });
  });
}

describe("a reserve that threads share", () => {
  test("is one for all of them", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    using allocator = new JitAllocator(USUAL, memory);
    const before = allocator.alloc(64);
    const other = attachOn(allocator.share(), memory);
    exhaust(other);
    const mine = allocator.alloc(BLOCK, SURELY);
    const its = other.alloc(BLOCK / 2, SURELY);
    throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(BLOCK, SURELY));
    allocator.release(its.rx);
    mine.release();
    other.alloc(RESERVE - 4 * KiB, SURELY);
    assert.equal(before.isReleased, false);
    allocator.verify();
    other.detach();
  });
});

describe("a reserve of this machine's memory", { skip: needs("linux") }, () => {
  test("is resident with the first allocation, and lies in the range", () => {
    using allocator = new JitAllocator(USUAL, systemMemory());
    const first = allocator.alloc(64);
    const { residentSize } = allocator.statistics();
    assert.ok(residentSize >= RESERVE, `${residentSize} bytes`);
    const surely = allocator.alloc(RESERVE, { mustSucceed: true });
    assert.ok(allocator.reaches(first.rx, surely.rx));
    allocator.trim();
    assert.ok(allocator.statistics().residentSize >= RESERVE);
    assert.deepEqual(Object.keys(observe(allocator)), ["statistics", "blocks"]);
  });
});
