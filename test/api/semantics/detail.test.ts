/** statistics({ detail: true }): free runs, peaks, pools and resident bytes, against what `blocks` shows. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type BlockInfo, type DetailedStatistics, type Span } from "../../../src/index.ts";
import { classOfRun, leastLengthOf } from "../../../src/core/classes.ts";
import { Classes } from "../../../src/core/layout.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { attachOn } from "../../support/attach.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";
import { row } from "../../support/rows.ts";

const KiB = 1024;
const CLASS_COUNT: number = Classes.count;

/** The lengths in bytes of the free runs of a block. */
function freeRunsOf({ granules, granularity }: BlockInfo): number[] {
  const runs: number[] = [];
  let length = 0;
  for (const state of [...granules, 1]) {
    if (state === 0) length += 1;
    else if (length > 0) runs.push(length * granularity);
    if (state !== 0) length = 0;
  }
  return runs;
}

/** Asserts that the details agree with each other and with every granule. */
function assertAgrees(allocator: JitAllocator): DetailedStatistics {
  const details = allocator.statistics({ detail: true });
  const { freeRuns, byPool, byKind, largestFreeRun } = details;
  const blocks = allocator.blocks();
  const runs = blocks.flatMap(freeRunsOf);
  assert.equal(largestFreeRun, Math.max(0, ...runs));
  const leastSizes = freeRuns.map(({ leastSize }) => leastSize);
  assert.deepEqual(
    leastSizes,
    [...new Set(leastSizes)].sort((one, other) => one - other),
  );
  assert.equal(
    freeRuns.reduce((sum, { totalSize }) => sum + totalSize, 0),
    details.unusedSize,
  );
  for (const { leastSize, count, totalSize } of freeRuns) assert.ok(totalSize >= leastSize * count);
  for (const pool of byPool) {
    const its = blocks.filter(
      ({ kind, granularity }) => kind === pool.kind && granularity === pool.granularity,
    );
    const itsRuns = its.flatMap(freeRunsOf);
    const classes = new Map<number, [number, number]>();
    for (const run of itsRuns) {
      const least = leastLengthOf(classOfRun(run / pool.granularity)) * pool.granularity;
      const [count, total] = classes.get(least) ?? [0, 0];
      classes.set(least, [count + 1, total + run]);
    }
    assert.deepEqual(
      pool.freeRuns.map(({ leastSize, count, totalSize }) => [leastSize, [count, totalSize]]),
      [...classes].sort(([one], [other]) => one - other),
    );
    const sum = (pick: (block: BlockInfo) => number): number =>
      its.reduce((all, each) => all + pick(each), 0);
    assert.deepEqual(
      [pool.blockCount, pool.usedSize, pool.reservedSize, pool.allocationCount, pool.largestFreeRun],
      [
        its.length,
        sum((block) => block.usedSize),
        sum((block) => block.size),
        sum((block) => block.allocationCount),
        Math.max(0, ...itsRuns),
      ],
    );
  }
  for (const [kind, counts] of Object.entries(byKind)) {
    const pools = byPool.filter((pool) => pool.kind === kind);
    for (const field of [
      "blockCount",
      "usedSize",
      "reservedSize",
      "allocationCount",
      "residentSize",
    ] as const)
      assert.equal(
        counts[field],
        pools.reduce((sum, pool) => sum + pool[field], 0),
        `${kind}: ${field}`,
      );
    assert.equal(counts.largestFreeRun, Math.max(0, ...pools.map(({ largestFreeRun: its }) => its)), kind);
  }
  assert.equal(
    byPool.reduce((sum, { residentSize }) => sum + residentSize, 0),
    details.residentSize,
  );
  assert.ok(details.peakUsedSize >= details.usedSize && details.peakReservedSize >= details.reservedSize);
  assert.ok(details.peakUsedSize <= details.peakReservedSize);
  const { usedSize, blockCount } = allocator.statistics();
  assert.deepEqual([details.usedSize, details.blockCount], [usedSize, blockCount]);
  return details;
}

describe("statistics in detail", () => {
  row("agree with every granule, in every state", {}, ({ allocator }) => {
    const random = new Random(21);
    assert.deepEqual(assertAgrees(allocator).byPool, []);
    let spans: Span[] = [];
    for (let round = 0; round < 3; round++) {
      for (let times = 0; times < 80; times++)
        spans.push(
          allocator.alloc(random.between(1, 6000), {
            kind: random.pick(["code", "code", "constants", "data"]),
          }),
        );
      assertAgrees(allocator);
      for (const span of spans) if (random.chance(0.7)) span.release();
      spans = spans.filter(({ isReleased }) => !isReleased);
      assertAgrees(allocator);
    }
    allocator.reset("hard");
    const { peakReservedSize, reservedSize } = assertAgrees(allocator);
    assert.equal(reservedSize, 0);
    assert.ok(peakReservedSize > 0);
  });

  test("the least length of each class is in it, and no shorter one is", () => {
    for (let runClass = 0; runClass < CLASS_COUNT; runClass++) {
      const least = leastLengthOf(runClass);
      assert.equal(classOfRun(least), runClass);
      if (least > 1) assert.equal(classOfRun(least - 1), runClass - 1);
    }
  });

  test("the peak of what is reserved is exact; that of what is used was seen, and is never more", () => {
    for (const isShared of [false, true]) {
      const allocator = new JitAllocator({ immediateRelease: true }, new SimulatedMemory());
      if (isShared) allocator.share();
      const spans = Array.from({ length: 100 }, () => allocator.alloc(64 * KiB - 64));
      const { reservedSize, usedSize } = allocator.statistics();
      for (const span of spans.slice(1)) span.release();
      const later = allocator.statistics({ detail: true });
      assert.equal(later.peakReservedSize, reservedSize);
      assert.equal(later.peakUsedSize, usedSize);
      assert.ok(later.reservedSize < reservedSize && later.usedSize < usedSize);
      // Nobody looked while this was in use: it is not in the peak.
      const before = allocator.statistics({ detail: true }).peakUsedSize;
      allocator.alloc(64).release();
      assert.equal(allocator.statistics({ detail: true }).peakUsedSize, before);
      // A reset looks first.
      allocator.alloc(200 * 64 * KiB);
      allocator.reset("hard");
      assert.ok(allocator.statistics({ detail: true }).peakUsedSize >= 200 * 64 * KiB);
      allocator.dispose();
      assert.ok(allocator.statistics({ detail: true }).peakReservedSize >= 200 * 64 * KiB);
    }
  });

  test("all threads see one peak, also of before the allocator was shared", () => {
    const memory = new SimulatedMemory();
    using allocator = new JitAllocator({}, memory);
    allocator.alloc(1024 * KiB).release();
    const { peakReservedSize } = allocator.statistics({ detail: true });
    const other = attachOn(allocator.share(), memory);
    assert.equal(other.statistics({ detail: true }).peakReservedSize, peakReservedSize);
    other.alloc(4096 * KiB).release();
    assert.ok(allocator.statistics({ detail: true }).peakReservedSize >= peakReservedSize + 4096 * KiB);
    other.detach();
  });

  test("resident bytes of each kind are the system's", { skip: needs("linux") }, () => {
    using allocator = new JitAllocator();
    const code = allocator.alloc(40 * KiB);
    code.write(0, new Uint8Array(40 * KiB));
    allocator.alloc(64 * KiB, { kind: "constants" });
    const { byKind } = assertAgrees(allocator);
    assert.ok(byKind.code.residentSize >= 40 * KiB);
    if (allocator.range !== undefined) assert.equal(byKind.constants.residentSize, 0);
  });

  test("the longest run of code is none of the reserve's, from which no other allocation takes", () => {
    const options = { maxReservedSize: 4096 * KiB, reserveForMustSucceed: 1024 * KiB };
    using allocator = new JitAllocator(options, new SimulatedMemory());
    allocator.alloc(64);
    const { byKind, byPool, blockCount, largestFreeRun } = allocator.statistics({ detail: true });
    assert.equal(byPool.find(({ isReserve }) => isReserve)?.largestFreeRun, 1024 * KiB - 64);
    assert.equal(largestFreeRun, 1024 * KiB - 64, "of all pools");
    assert.equal(byKind.code.largestFreeRun, 64 * KiB - 128);
    allocator.alloc(byKind.code.largestFreeRun);
    assert.equal(allocator.statistics().blockCount, blockCount, "it needed no block");
  });

  test("options that are none are refused", () => {
    using allocator = new JitAllocator({}, new SimulatedMemory());
    for (const options of [null, 1, "detail", { detail: 1 }])
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.statistics(wrong(options)));
    assert.equal("byPool" in allocator.statistics({ detail: false }), false);
    assert.equal("byPool" in allocator.statistics({}), false);
  });
});
