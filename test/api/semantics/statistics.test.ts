/** statistics, blocks and verify: what the figures say. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import type { JitAllocator } from "../../../src/index.ts";
import { Random } from "../../support/random.ts";
import { row } from "../../support/rows.ts";

/** Asserts that the figures agree with each other and with the granules of every block. */
function assertConsistent(allocator: JitAllocator): void {
  const { statistics, blocks } = { statistics: allocator.statistics(), blocks: allocator.blocks() };
  const sum = (pick: (block: (typeof blocks)[number]) => number): number =>
    blocks.reduce((total, block) => total + pick(block), 0);
  assert.equal(statistics.blockCount, blocks.length);
  assert.equal(
    statistics.allocationCount,
    sum((block) => block.allocationCount),
  );
  assert.equal(
    statistics.usedSize,
    sum((block) => block.usedSize),
  );
  assert.equal(
    statistics.reservedSize,
    sum((block) => block.size),
  );
  assert.equal(statistics.unusedSize, statistics.reservedSize - statistics.usedSize);
  // Two bits a granule at least; and the lists of holes, the generations and what each block and pool takes are not more
  // than ten bytes a granule and some pages.
  const granuleCount = sum((block) => block.granules.length);
  assert.ok(statistics.overheadSize >= granuleCount / 4, `overhead of ${statistics.overheadSize} bytes`);
  assert.ok(
    statistics.overheadSize <= granuleCount * 10 + 65536,
    `overhead of ${statistics.overheadSize} bytes`,
  );
  for (const block of blocks) {
    const padding = allocator.hasOption("disableInitialPadding") ? 0 : 1;
    assert.equal(block.granules.length, block.size / block.granularity);
    assert.equal(
      block.usedSize,
      block.granules.filter((granule) => granule !== 0).length * block.granularity,
    );
    assert.equal(block.allocationCount, block.granules.filter((granule) => granule === 2).length - padding);
  }
  if (statistics.reservedSize > 0) {
    assert.equal(statistics.usedRatio, statistics.usedSize / statistics.reservedSize);
    assert.equal(statistics.unusedRatio, statistics.unusedSize / statistics.reservedSize);
    assert.equal(statistics.overheadRatio, statistics.overheadSize / statistics.reservedSize);
  }
}

describe("statistics", () => {
  row(
    "block_count, allocation_count, used, reserved, unused and the ratios",
    {},
    ({ allocator, options }) => {
      assertConsistent(allocator);
      const random = new Random(11);
      const spans = Array.from({ length: 300 }, () => allocator.alloc(random.between(1, 2000)));
      assertConsistent(allocator);
      assert.equal(allocator.statistics().allocationCount, 300);
      for (const span of random.shuffle(spans).splice(0, 150)) span.release();
      assertConsistent(allocator);
      for (const span of spans.splice(0, 100)) span.shrink(Math.ceil(span.size / 3));
      assertConsistent(allocator);
      const live = spans.reduce((total, span) => total + span.size, 0);
      for (const span of spans) assert.ok(span.isReleased || span.size >= options.granularity);
      const shrunk = allocator.statistics();
      assert.ok(shrunk.usedSize > live, "the shrunk ones and the padding count too");
      allocator.reset("soft");
      assertConsistent(allocator);
      allocator.reset("hard");
      assertConsistent(allocator);
    },
  );

  row("overhead = bytes of metadata: some, and in proportion to what is reserved", {}, ({ allocator }) => {
    allocator.alloc(64);
    const { overheadSize } = allocator.statistics();
    assert.ok(Number.isInteger(overheadSize) && overheadSize > 0);
    for (let index = 0; index < 40; index++) allocator.alloc(60_000);
    const later = allocator.statistics();
    assert.ok(later.overheadSize >= overheadSize);
    assert.ok(later.overheadRatio < 1, "less metadata than code");
  });

  row(
    "overhead: spans that are released through themselves need no table, at most 2.5 %",
    { granularity: [64], blockSize: [1024 * 1024], useMultiplePools: [false] },
    ({ allocator }) => {
      const random = new Random(20_261_127);
      const spans = Array.from({ length: 20_000 }, () => allocator.alloc(random.between(64, 511)));
      for (const span of random.shuffle(spans).splice(0, 5000)) span.release();
      const { overheadSize, usedSize } = allocator.statistics();
      assert.ok(overheadSize <= 0.025 * usedSize, `${overheadSize} bytes for ${usedSize} of code`);
      allocator.release(spans.pop()?.rx ?? 0);
      assert.ok(allocator.statistics().overheadSize > overheadSize, "an address leaves a mark, in a table");
      allocator.verify();
    },
  );

  row("statistics and blocks are copies", {}, ({ allocator }) => {
    allocator.alloc(64);
    const before = allocator.statistics();
    const [block] = allocator.blocks();
    assert.ok(block);
    block.granules.fill(0);
    Object.assign(before, { blockCount: 99 });
    assertConsistent(allocator);
    allocator.verify();
    assert.equal(allocator.statistics().blockCount, 1);
  });
});
