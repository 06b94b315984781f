/** onPressure: the limit speaks before it bites. Each case with one thread, and with several. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  JitAllocator,
  type JitAllocatorOptions,
  type MemoryPressure,
  type Span,
} from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { attachOn } from "../../support/attach.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";

const KiB = 1024;
const MOST = 1024 * KiB;
const HALF = MOST / 2;

/** The padding of blocks counts as used, so that what is allocated is a little less. */
const USUAL: JitAllocatorOptions = { maxReservedSize: MOST };

/** Allocates until so many bytes are in use. */
function fillUpTo(allocator: JitAllocator, sizeBytes: number, size = 4 * KiB): Span[] {
  const spans: Span[] = [];
  while (allocator.statistics().usedSize + size <= sizeBytes) spans.push(allocator.alloc(size));
  return spans;
}

function release(spans: readonly Span[]): void {
  for (const span of spans) span.release();
}

/** Every way to allocate. What it makes is released through the allocator's address. */
const ways: readonly (readonly [string, (allocator: JitAllocator, size: number) => number])[] = [
  ["alloc", (allocator, size) => allocator.alloc(size).rx],
  ["alloc of data", (allocator, size) => allocator.alloc(size, { kind: "data" }).rx],
  ["allocAddress", (allocator, size) => allocator.allocAddress(size)],
  ["a part of a module", (allocator, size) => allocator.module().code(size).rx],
];

for (const isShared of [false, true]) {
  const make = (options: JitAllocatorOptions = USUAL): JitAllocator => {
    const allocator = new JitAllocator(options, new SimulatedMemory());
    if (isShared) allocator.share();
    return allocator;
  };

  describe(`pressure, ${isShared ? "shared" : "in one thread"}`, () => {
    for (const [name, allocate] of ways) {
      test(`${name}: the listener is called once when the ratio is crossed, with the figures`, () => {
        using allocator = make();
        const told: MemoryPressure[] = [];
        allocator.onPressure(0.5, (pressure) => told.push(pressure));
        const made: number[] = [];
        while (told.length === 0) made.push(allocate(allocator, 4 * KiB));
        const { usedSize, reservedSize } = allocator.statistics();
        assert.deepEqual(told, [{ usedSize, reservedSize, maxReservedSize: MOST }]);
        assert.ok(usedSize >= HALF && usedSize < HALF + 4 * KiB, `${usedSize} bytes`);
        for (let times = 0; times < 5; times++) made.push(allocate(allocator, 4 * KiB));
        assert.equal(told.length, 1, "it stayed above");
        for (const address of made) allocator.release(address);
        for (let size = 0; size < HALF; size += 4 * KiB) allocate(allocator, 4 * KiB);
        assert.equal(told.length, 2, "it fell below, and was crossed again");
        allocator.verify();
      });
    }

    test("is told again only after the use fell below, by however little", () => {
      using allocator = make();
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      const spans = fillUpTo(allocator, HALF - 1);
      assert.equal(told, 0);
      const last = allocator.alloc(4 * KiB);
      const another = allocator.alloc(4 * KiB);
      assert.equal(told, 1);
      another.release();
      allocator.alloc(4 * KiB).release();
      assert.equal(told, 1, "still above");
      last.release();
      spans[0]?.release();
      fillUpTo(allocator, HALF + 8 * KiB);
      assert.equal(told, 2);
    });

    test("is told of what a shrink, a reset and a trim have left", () => {
      using allocator = make();
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      const [first] = fillUpTo(allocator, HALF + 8 * KiB, 8 * KiB);
      assert.equal(told, 1);
      allocator.reset();
      fillUpTo(allocator, HALF + 8 * KiB, 8 * KiB);
      assert.equal(told, 2);
      assert.equal(first?.isReleased, true);
      allocator.reset("hard");
      const spans = fillUpTo(allocator, HALF + 8 * KiB, 8 * KiB);
      assert.equal(told, 3);
      for (const span of spans) span.shrink(64);
      allocator.trim();
      fillUpTo(allocator, HALF + 8 * KiB, 64);
      assert.equal(told, 4);
    });

    test("listeners of several ratios are called from the lowest up, each of its own", () => {
      using allocator = make();
      const told: string[] = [];
      allocator.onPressure(0.75, () => told.push("0.75"));
      allocator.onPressure(0.25, () => told.push("0.25"));
      allocator.onPressure(0.25, () => told.push("0.25 again"));
      fillUpTo(allocator, 0.5 * MOST);
      assert.deepEqual(told, ["0.25", "0.25 again"]);
      allocator.alloc(300 * KiB);
      assert.deepEqual(told, ["0.25", "0.25 again", "0.75"]);
      allocator.reset();
      allocator.alloc(800 * KiB);
      assert.deepEqual(told.slice(3), ["0.25", "0.25 again", "0.75"], "all at once");
    });

    test("a listener that begins above the ratio waits for the next crossing", () => {
      using allocator = make();
      const spans = fillUpTo(allocator, 0.6 * MOST);
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      allocator.alloc(64);
      assert.equal(told, 0);
      release(spans);
      fillUpTo(allocator, 0.6 * MOST);
      assert.equal(told, 1);
    });

    test("is over when it is disposed of, once or twice", () => {
      using allocator = make();
      let told = 0;
      const listening = allocator.onPressure(0.5, () => (told += 1));
      let others = 0;
      allocator.onPressure(0.5, () => (others += 1));
      listening[Symbol.dispose]();
      listening[Symbol.dispose]();
      fillUpTo(allocator, 0.6 * MOST);
      assert.deepEqual([told, others], [0, 1]);
    });

    test("a listener may release, and allocate: it is not called below itself", () => {
      using allocator = make();
      const spans: Span[] = [];
      let told = 0;
      let depth = 0;
      allocator.onPressure(0.5, () => {
        assert.equal(depth++, 0);
        told += 1;
        release(spans.splice(0, 40));
        for (let times = 0; times < 45; times++) spans.push(allocator.alloc(4 * KiB));
        release(spans.splice(0, 40));
        depth -= 1;
      });
      for (let times = 0; times < 400; times++) spans.push(allocator.alloc(4 * KiB));
      assert.ok(told > 5, `told ${told} times`);
      assert.ok(spans.every((span) => !span.isReleased));
      allocator.verify();
    });

    test("what a listener throws goes to whoever allocated, and nothing was allocated", () => {
      for (const [name, allocate] of ways) {
        using allocator = make();
        const error = new Error("no more");
        let others = 0;
        allocator.onPressure(0.5, () => {
          throw error;
        });
        allocator.onPressure(0.5, () => (others += 1));
        fillUpTo(allocator, HALF - 1);
        const before = allocator.statistics();
        assert.throws(
          () => allocate(allocator, 4 * KiB),
          (thrown) => thrown === error,
          name,
        );
        assert.equal(others, 1, "the others are called all the same");
        const after = allocator.statistics();
        assert.deepEqual(
          [after.allocationCount, after.usedSize - (after.blockCount - before.blockCount) * 64],
          [before.allocationCount, before.usedSize],
        );
        allocator.verify();
        assert.throws(() => allocate(allocator, 4 * KiB), /no more/, "it fell below, and is crossed again");
        assert.equal(others, 2);
        allocate(allocator, 64);
        allocator.verify();
      }
    });

    test("what a listener releases or resets is not released again for it", () => {
      for (const act of ["release", "reset", "dispose"] as const) {
        using allocator = make();
        let mine: number | undefined;
        allocator.onPressure(0.5, () => {
          if (act === "release") allocator.release(allocator.blocks()[0]?.rx ?? 0);
          else allocator[act]();
          if (act === "reset") mine = allocator.allocAddress(HALF);
          throw new Error("no more");
        });
        if (act === "release") assert.throws(() => allocator.alloc(HALF));
        else assert.throws(() => allocator.allocAddress(HALF), /no more/);
        if (mine !== undefined) assert.equal(allocator.queryAddress(mine), mine);
        allocator.verify();
      }
    });

    test("a module whose part a listener refuses is left as it was, and can go on", () => {
      using allocator = make();
      let isStrict = true;
      allocator.onPressure(0.5, () => {
        if (isStrict) throw new Error("no more");
      });
      using builder = allocator.module();
      builder.code(4 * KiB);
      assert.throws(() => builder.code(HALF), /no more/);
      isStrict = false;
      builder.code(HALF);
      assert.equal(builder.commit().spans.length, 2);
      assert.equal(allocator.statistics().allocationCount, 2);
    });

    test("what waits in limbo counts, until it is free", () => {
      using allocator = make();
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      const span = allocator.alloc(HALF);
      assert.equal(told, 1);
      allocator.enter();
      span.retire();
      allocator.alloc(64);
      assert.equal(told, 1);
      allocator.leave();
      fillUpTo(allocator, HALF + 8 * KiB);
      assert.equal(told, 2);
    });

    test("what has left limbo by the next allocation counts as released", () => {
      using allocator = make();
      for (let times = 0; times < 3000; times++) allocator.alloc(64).release(); // no operation is one of the first
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      const span = allocator.alloc(600_000);
      assert.equal(told, 1);
      allocator.enter();
      span.retire();
      allocator.leave();
      allocator.alloc(600_000);
      assert.equal(told, 2);
      allocator.verify();
    });

    test("a listener registered behind a retirement begins below a ratio that only the limbo reached", () => {
      using allocator = make();
      const span = allocator.alloc(600_000);
      allocator.enter();
      span.retire();
      allocator.leave();
      let told = 0;
      allocator.onPressure(0.5, () => (told += 1));
      allocator.alloc(600_000);
      assert.equal(told, 1);
    });

    test("a listener that another has disposed of is not called any more", () => {
      using allocator = make();
      const told: string[] = [];
      allocator.onPressure(0.5, () => {
        told.push("0.5");
        higher[Symbol.dispose]();
      });
      const higher = allocator.onPressure(0.6, () => told.push("0.6"));
      allocator.onPressure(0.6, () => told.push("another at 0.6"));
      allocator.alloc(700_000);
      assert.deepEqual(told, ["0.5", "another at 0.6"]);
    });

    test("a listener that an allocation of another has called is not called again for the same crossing", () => {
      using allocator = make();
      const told: string[] = [];
      allocator.onPressure(0.5, () => {
        told.push("0.5");
        allocator.alloc(64);
      });
      allocator.onPressure(0.6, () => told.push("0.6"));
      allocator.alloc(700_000);
      assert.deepEqual(told, ["0.5", "0.6"]);
    });

    test("listeners are told what is in use when they are called, and only if that reaches their ratio", () => {
      using allocator = make();
      const told: [string, number, number][] = [];
      const tell = (name: string, { usedSize }: MemoryPressure): void => {
        told.push([name, usedSize, allocator.statistics().usedSize]);
      };
      const spans = [allocator.alloc(100_000), allocator.alloc(400_000)];
      allocator.onPressure(0.6, (pressure) => {
        tell("0.6", pressure);
        spans.pop()?.release();
      });
      allocator.onPressure(0.7, (pressure) => tell("0.7", pressure));
      allocator.onPressure(0.9, (pressure) => tell("0.9", pressure));
      allocator.alloc(450_000);
      assert.deepEqual(
        told.map(([name]) => name),
        ["0.6"],
        "0.7 and 0.9 are not reached any more",
      );
      allocator.reset("hard");
      spans.length = 0;
      allocator.alloc(750_000);
      assert.deepEqual(
        told.map(([name]) => name),
        ["0.6", "0.6", "0.7"],
      );
      for (const [name, usedSize, inUse] of told) assert.equal(usedSize, inUse, name);
    });

    test("the ratio is one of all that may be reserved, also of a reserve that nobody uses", () => {
      using allocator = make({ ...USUAL, reserveForMustSucceed: MOST / 4 });
      const told: number[] = [];
      for (const ratio of [0.7, 0.9]) allocator.onPressure(ratio, () => told.push(ratio));
      throwsJitError("ERR_OUT_OF_MEMORY", () => fillUpTo(allocator, MOST));
      assert.deepEqual(told, [0.7]);
      allocator.alloc(MOST / 4 - 4 * KiB, { mustSucceed: true });
      assert.deepEqual(told, [0.7, 0.9], "what is taken from the reserve counts");
    });

    test("a listener that evicts as the documents show ends when nothing is left to evict, inside too", () => {
      using allocator = make();
      allocator.alloc(HALF); // is no part of the cache
      const cache: Span[] = [];
      const told: number[] = [];
      allocator.onPressure(0.75, ({ usedSize, maxReservedSize }) => {
        told.push(usedSize);
        let surplus = usedSize - allocator.statistics().retiredSize - 0.6 * maxReservedSize;
        while (surplus > 0) {
          const oldest = cache.shift();
          if (oldest === undefined) break;
          surplus -= oldest.size;
          oldest.retire();
        }
      });
      allocator.enter();
      for (let times = 0; times < 80; times++) cache.push(allocator.alloc(4 * KiB));
      assert.equal(told.splice(0).length, 1);
      const { usedSize, retiredSize } = allocator.statistics();
      assert.ok(retiredSize > 0 && usedSize > 0.75 * MOST);
      allocator.leave();
      assert.equal(allocator.statistics().usedSize, usedSize - retiredSize);
      for (let times = 0; times < 200; times++) cache.push(allocator.alloc(4 * KiB));
      assert.ok(told.length > 1, `told ${told.length} times`);
      assert.ok(allocator.statistics().usedSize < 0.75 * MOST);
    });

    test("misuse is refused", () => {
      const allocator = make();
      const nothing = (): void => undefined;
      for (const ratio of [0, -1, 1.1, NaN, Infinity, "0.5", null, undefined, 1n])
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.onPressure(wrong(ratio), nothing));
      for (const listener of [undefined, null, 1, {}])
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.onPressure(1, wrong(listener)));
      allocator.onPressure(1, nothing);
      allocator.dispose();
      throwsJitError("ERR_DISPOSED", () => allocator.onPressure(1, nothing));
      throwsJitError("ERR_DISPOSED", () => allocator.alloc(1));
    });
  });
}

describe("pressure on an allocator that becomes shared", () => {
  test("its listeners stay", () => {
    using allocator = new JitAllocator(USUAL, new SimulatedMemory());
    let told = 0;
    const listening = allocator.onPressure(0.5, () => (told += 1));
    const spans = fillUpTo(allocator, HALF + 8 * KiB);
    allocator.share();
    allocator.alloc(64);
    assert.equal(told, 1);
    release(spans);
    fillUpTo(allocator, HALF + 8 * KiB);
    assert.equal(told, 2);
    listening[Symbol.dispose]();
    allocator.reset();
    fillUpTo(allocator, HALF + 8 * KiB);
    assert.equal(told, 2);
  });

  test("each thread is told behind its own allocations, whichever thread has crossed the ratio", () => {
    const memory = new SimulatedMemory();
    using allocator = new JitAllocator(USUAL, memory);
    const other = attachOn(allocator.share(), memory);
    const told: string[] = [];
    allocator.onPressure(0.5, () => told.push("the first"));
    fillUpTo(other, HALF + 8 * KiB);
    assert.equal(told.length, 0, "the second thread has no listener");
    other.onPressure(0.75, () => told.push("the second"));
    allocator.alloc(64);
    assert.deepEqual(told, ["the first"]);
    fillUpTo(other, 800 * KiB);
    assert.deepEqual(told, ["the first", "the second"]);
    allocator.alloc(64);
    assert.deepEqual(told, ["the first", "the second"]);
    other.detach();
  });

  test("a listener runs without the lock: another thread's operations work in it", () => {
    const memory = new SimulatedMemory();
    using allocator = new JitAllocator(USUAL, memory);
    const other = attachOn(allocator.share(), memory);
    allocator.onPressure(0.5, () => other.alloc(64).release());
    assert.equal(allocator.alloc(HALF).isReleased, false);
    other.detach();
  });
});
