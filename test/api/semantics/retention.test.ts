/** What is kept when it empties: empty blocks, reset, dispose. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import type { JitAllocator, Span } from "../../../src/index.ts";
import { refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import { Random } from "../../support/random.ts";
import { assertFilled, bytesAt, row, rowIn, rowOnRealMemory, someBytes } from "../../support/rows.ts";

/** The orders in which a shelf of allocations may be released. */
const ORDERS: Record<string, <T>(items: T[]) => T[]> = {
  "first to last": (items) => items,
  "last to first": (items) => items.reverse(),
  shuffled: (items) => new Random(7).shuffle(items),
  "from the middle out": (items) => {
    const middle = items.length >> 1;
    return items
      .map((item, index) => ({ item, distance: Math.abs(index - middle) }))
      .sort((a, b) => a.distance - b.distance)
      .map(({ item }) => item);
  },
};

/** Spans of one, two and four granules until each pool has at least `blockCount` blocks. */
function fillBlocks(allocator: JitAllocator, blockCount: number): Span[] {
  const spans: Span[] = [];
  for (const units of [1, 2, 4]) {
    const granularity = allocator.granularity * (allocator.hasOption("useMultiplePools") ? units : 1);
    const reached = (): boolean =>
      allocator.blocks().filter((block) => block.granularity === granularity).length >= blockCount;
    while (!reached()) {
      for (let count = 0; count < 64; count++) spans.push(allocator.alloc(units * allocator.granularity));
    }
  }
  return spans;
}

describe("empty blocks", () => {
  for (const [name, order] of Object.entries(ORDERS)) {
    row(`one kept per pool, none with immediateRelease: released ${name}`, {}, ({ allocator, options }) => {
      const spans = order(fillBlocks(allocator, 2));
      for (const [index, span] of spans.entries()) {
        span.release();
        // Every block that empties passes this; looking at every release would cost the square.
        if (index % 61 === 0) assertRetention(allocator);
      }
      assertRetention(allocator);
      const kept = options.immediateRelease ? 0 : options.useMultiplePools ? 3 : 1;
      const statistics = allocator.statistics();
      assert.equal(statistics.blockCount, kept);
      assert.equal(statistics.allocationCount, 0);
      if (options.immediateRelease) assert.equal(statistics.reservedSize, 0);
    });
  }

  rowIn(
    "one kept, none with immediateRelease: 100,000 x 64 B released last to first",
    { immediateRelease: [false, true], disableInitialPadding: [false, true] },
    ({ allocator, options }) => {
      const addresses = Array.from({ length: 100_000 }, () => allocator.allocAddress(64));
      assert.ok(allocator.statistics().blockCount > 1);
      for (const address of addresses.reverse()) allocator.release(address);
      assert.equal(allocator.statistics().blockCount, options.immediateRelease ? 0 : 1);
    },
  );

  row("the block kept is used again", { immediateRelease: [false] }, ({ allocator }) => {
    allocator.alloc(64).release();
    const [block] = allocator.blocks();
    allocator.alloc(64);
    assert.deepEqual(
      allocator.blocks().map(({ rx }) => rx),
      [block?.rx],
    );
  });

  row("a shrink to 0 empties a block as a release does", {}, ({ allocator, options }) => {
    allocator.alloc(64).shrink(0);
    assert.equal(allocator.statistics().blockCount, options.immediateRelease ? 0 : 1);
  });
});

/** Asserts that no pool keeps more empty blocks than it may. */
function assertRetention(allocator: JitAllocator): void {
  const emptyBlocks = new Map<number, number>();
  for (const block of allocator.blocks()) {
    if (block.allocationCount === 0)
      emptyBlocks.set(block.granularity, (emptyBlocks.get(block.granularity) ?? 0) + 1);
  }
  const limit = allocator.hasOption("immediateRelease") ? 0 : 1;
  for (const [granularity, count] of emptyBlocks) {
    assert.ok(count <= limit, `${count} empty blocks in the pool of ${granularity} B`);
  }
}

describe("reset", () => {
  row("reset soft: keeps one block per pool; every count is zero", {}, ({ allocator, options }) => {
    const known = new Set<number>();
    const spans = fillBlocks(allocator, 3);
    for (const block of allocator.blocks()) known.add(block.rx);
    allocator.reset("soft");
    const statistics = allocator.statistics();
    // With immediateRelease no empty block is ever kept.
    assert.equal(statistics.blockCount, options.immediateRelease ? 0 : options.useMultiplePools ? 3 : 1);
    assert.equal(statistics.allocationCount, 0);
    for (const block of allocator.blocks()) {
      const padding = options.disableInitialPadding ? 0 : block.granularity;
      assert.ok(known.has(block.rx), "a block kept is one of those that were there");
      assert.equal(block.allocationCount, 0);
      assert.equal(block.usedSize, padding);
      assert.equal(
        block.granules.slice(padding === 0 ? 0 : 1).some((granule) => granule !== 0),
        false,
      );
    }
    assertRetention(allocator);
    assert.ok(spans.every((span) => span.isReleased));
  });

  row("reset soft is the default", {}, ({ allocator, options }) => {
    allocator.alloc(64);
    allocator.reset();
    assert.equal(allocator.statistics().blockCount, options.immediateRelease ? 0 : 1);
    assert.equal(allocator.statistics().allocationCount, 0);
  });

  rowOnRealMemory(
    "reset soft: all of a block that is kept is filled with fillUnusedMemory",
    { fillUnusedMemory: [true], fillPattern: [0xcccccccc, 0x12345678] },
    ({ allocator, memory, options }) => {
      for (const span of fillBlocks(allocator, 2)) span.write(0, someBytes(span.size));
      allocator.reset("soft");
      for (const block of allocator.blocks()) {
        const bytes = bytesAt(memory, block.rx, block.size);
        assertFilled(bytes, options.fillPattern, `block at ${block.rx}`);
      }
      assert.ok(allocator.blocks().length > 0);
    },
  );

  row("reset hard: unmaps all", {}, ({ allocator }) => {
    const spans = fillBlocks(allocator, 2);
    allocator.reset("hard");
    const { blockCount, allocationCount, usedSize, reservedSize } = allocator.statistics();
    assert.deepEqual([blockCount, allocationCount, usedSize, reservedSize], [0, 0, 0, 0]);
    assert.deepEqual(allocator.blocks(), []);
    assert.ok(spans.every((span) => span.isReleased));
  });

  row("reset: growth begins anew", { immediateRelease: [false, true] }, ({ allocator, options }) => {
    fillBlocks(allocator, 3);
    allocator.reset("hard");
    allocator.alloc(options.granularity);
    assert.deepEqual(
      allocator.blocks().map((block) => block.size),
      [options.blockSize],
    );
  });

  for (const policy of ["soft", "hard"] as const) {
    row(
      `reset ${policy}: every span of before throws ERR_RELEASED, even where its place is in use again`,
      {},
      ({ allocator, options }) => {
        const old = [1, 2, 4].map((units) => allocator.alloc(units * options.granularity));
        allocator.reset(policy);
        const fresh = [1, 2, 4].map((units) => allocator.alloc(units * options.granularity));
        for (const span of old) {
          assert.ok(span.isReleased);
          refuses(allocator, "ERR_RELEASED", () => span.release());
          refuses(allocator, "ERR_RELEASED", () => allocator.release(span));
          refuses(allocator, "ERR_RELEASED", () => span.shrink(1));
          refuses(allocator, "ERR_RELEASED", () => span.write(0, someBytes(8)));
          refuses(allocator, "ERR_RELEASED", () => span.read());
        }
        assert.ok(fresh.every((span) => !span.isReleased));
        assert.equal(allocator.statistics().allocationCount, 3);
      },
    );

    row(`reset ${policy} of an empty allocator, twice, does no harm`, {}, ({ allocator }) => {
      allocator.reset(policy);
      allocator.reset(policy);
      assert.equal(allocator.statistics().blockCount, 0);
      allocator.alloc(64);
      allocator.reset(policy);
      allocator.reset(policy);
      assert.equal(allocator.statistics().allocationCount, 0);
    });
  }

  row("reset of another policy: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    allocator.alloc(64);
    for (const policy of ["Soft", "", "medium", 0, null, true, {}]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.reset(wrong(policy)), String(policy));
    }
  });
});

describe("dispose", () => {
  row("dispose: everything is unmapped, every later use is refused", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    const address = span.rx;
    const scope = allocator.writeScope();
    allocator[Symbol.dispose]();
    for (const [name, action] of Object.entries({
      alloc: () => allocator.alloc(64),
      allocAddress: () => allocator.allocAddress(64),
      release: () => allocator.release(address),
      shrink: () => allocator.shrink(address, 1),
      query: () => allocator.query(address),
      writeScope: () => allocator.writeScope(),
      reset: () => allocator.reset(),
      "reset hard": () => allocator.reset("hard"),
    })) {
      throwsJitError("ERR_DISPOSED", action, name);
    }
    assert.ok(span.isReleased);
    for (const [name, action] of Object.entries({
      "span.release": () => span.release(),
      "span.shrink": () => span.shrink(1),
      "span.write": () => span.write(0, someBytes(8)),
      "span.read": () => span.read(),
    })) {
      throwsJitError("ERR_RELEASED", action, name);
    }
    for (const [name, action] of Object.entries({
      "release(span)": () => allocator.release(span),
      "shrink(span)": () => allocator.shrink(span, 1),
      "write(span)": () => allocator.write(span, 0, someBytes(8)),
      "write(span, callback)": () => allocator.write(span, () => undefined),
      "scope.write": () => scope.write(span, 0, someBytes(8)),
    })) {
      throwsJitError(["ERR_RELEASED", "ERR_DISPOSED"], action, name);
    }
    span[Symbol.dispose]();
    scope[Symbol.dispose]();
  });

  row("dispose is idempotent", {}, ({ allocator }) => {
    allocator.alloc(64);
    allocator[Symbol.dispose]();
    allocator[Symbol.dispose]();
  });
});
