/** alloc and allocAddress: sizes, pools, padding, growth, limits. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JitAllocator } from "../../../src/index.ts";
import { refuses, sortedBlocks, throwsJitError, wrong } from "../../support/expectations.ts";
import { poolGranularity, roundUp, row, rowIn, rowOnRealMemory, withAllocator } from "../../support/rows.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const LIMIT = 2 ** 31;

/** The block that holds the address. */
function blockOf(allocator: JitAllocator, rx: number): ReturnType<JitAllocator["blocks"]>[number] {
  const block = allocator
    .blocks()
    .find((candidate) => rx >= candidate.rx && rx < candidate.rx + candidate.size);
  assert.ok(block, "every allocation lies in a block");
  return block;
}

/** Allocates small pieces of one pool, so that no request asks for a larger block, until there are so many blocks. */
function sizesOfGrowingPool(allocator: JitAllocator, pieceSize: number, blockCount: number): number[] {
  const known = new Set<number>();
  const sizes: number[] = [];
  while (sizes.length < blockCount) {
    allocator.allocAddress(pieceSize);
    for (const block of allocator.blocks()) {
      if (known.has(block.rx)) continue;
      known.add(block.rx);
      sizes.push(block.size);
    }
  }
  return sizes;
}

describe("alloc", () => {
  row("alloc(0), NaN, fractions, negative, not a number: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    allocator.alloc(100);
    for (const size of [
      0,
      -0,
      -1,
      -64,
      NaN,
      0.5,
      64.5,
      -Infinity,
      "64",
      null,
      undefined,
      {},
      [64],
      true,
      64n,
    ]) {
      refuses(
        allocator,
        "ERR_INVALID_ARGUMENT",
        () => allocator.alloc(wrong(size)),
        `alloc(${String(size)})`,
      );
      refuses(
        allocator,
        "ERR_INVALID_ARGUMENT",
        () => allocator.allocAddress(wrong(size)),
        `allocAddress(${String(size)})`,
      );
    }
  });

  row(
    "size: rounded up to the base granularity; span.size is the rounded size",
    {},
    ({ allocator, options }) => {
      const { granularity } = options;
      for (const size of [
        1,
        2,
        granularity - 1,
        granularity,
        granularity + 1,
        3 * granularity - 1,
        1000,
        4096,
        4097,
      ]) {
        const span = allocator.alloc(size);
        assert.equal(span.size, roundUp(size, granularity), `alloc(${size})`);
        const address = allocator.allocAddress(size);
        assert.equal(allocator.query(address).size, roundUp(size, granularity), `allocAddress(${size})`);
      }
    },
  );

  row("largest request: above 2^31 - granularity ERR_TOO_LARGE", {}, ({ allocator, options }) => {
    for (const size of [LIMIT - options.granularity + 1, LIMIT, LIMIT + 1, 2 ** 32, 2 ** 32 + 64, 2 ** 40]) {
      refuses(allocator, "ERR_TOO_LARGE", () => allocator.alloc(size), `alloc(${size})`);
      refuses(allocator, "ERR_TOO_LARGE", () => allocator.allocAddress(size), `allocAddress(${size})`);
    }
    const error = refuses(allocator, ["ERR_TOO_LARGE", "ERR_INVALID_ARGUMENT"], () =>
      allocator.alloc(Infinity),
    );
    assert.match(error.message, /Infinity/);
  });

  rowIn(
    "largest request: 2^31 - granularity itself is a matter of room, not of size",
    { granularity: [64, 128, 256], useDualMapping: [true, false] },
    ({ allocator, options }) => {
      // A limit below the request keeps this from reserving 2 GiB; what counts is which error it is.
      withAllocator({ ...options, maxReservedSize: MiB }, (small) => {
        refuses(small, "ERR_OUT_OF_MEMORY", () => small.alloc(LIMIT - options.granularity));
      });
      throwsJitError("ERR_TOO_LARGE", () => allocator.alloc(LIMIT - options.granularity + 1));
    },
  );

  row(
    "pools: the pool is the largest granularity that divides the rounded size (64 p0, 128 p1, 192 p0, 256 p2, 384 p1)",
    {},
    ({ allocator, options }) => {
      const { granularity } = options;
      const expectations = options.useMultiplePools
        ? [
            [1, 1],
            [2, 2],
            [3, 1],
            [4, 4],
            [5, 1],
            [6, 2],
            [8, 4],
            [12, 4],
          ]
        : [1, 2, 3, 4, 5, 6, 8, 12].map((units) => [units, 1]);
      for (const [units = 0, factor = 0] of expectations) {
        for (const size of [units * granularity, units * granularity - 1]) {
          const span = allocator.alloc(size);
          assert.equal(blockOf(allocator, span.rx).granularity, granularity * factor, `alloc(${size})`);
          assert.equal(
            span.rx % (granularity * factor),
            0,
            "allocations are aligned to their pool's granularity",
          );
          assert.equal(span.size, units * granularity);
        }
      }
      assert.equal(allocator.statistics().blockCount, options.useMultiplePools ? 3 : 1);
    },
  );

  row(
    "initial padding: one granule of the pool at the start of each block; counts as used",
    {},
    ({ allocator, options }) => {
      for (const size of [64, 128, 256, 512, 768, 1024]) allocator.alloc(size * (options.granularity / 64));
      for (const block of allocator.blocks()) {
        const padding = options.disableInitialPadding ? 0 : block.granularity;
        const live =
          block.granules.reduce((count, granule) => count + (granule === 0 ? 0 : 1), 0) * block.granularity;
        assert.equal(block.usedSize, live, "usedSize is what the granules say");
        if (options.disableInitialPadding) continue;
        assert.equal(block.granules[0], 2, "the padding is an allocation of one granule");
        refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(block.rx), "the padding is nobody's");
        assert.ok(block.usedSize > padding);
      }
    },
  );

  row(
    "no padding: the first byte of a block is handed out",
    { disableInitialPadding: [true] },
    ({ allocator, options }) => {
      const span = allocator.alloc(options.blockSize);
      const [block] = allocator.blocks();
      assert.equal(span.rx, block?.rx);
      assert.equal(block?.size, options.blockSize, "a request of a whole block fits a block");
      assert.equal(allocator.statistics().unusedSize, 0);
    },
  );

  row("first block: blockSize", { blockSize: [64 * KiB, 256 * KiB] }, ({ allocator, options }) => {
    allocator.alloc(1);
    assert.deepEqual(
      allocator.blocks().map((block) => block.size),
      [options.blockSize],
    );
    assert.equal(allocator.statistics().reservedSize, options.blockSize);
  });

  row(
    "first block: each pool begins with its own",
    { useMultiplePools: [true] },
    ({ allocator, options }) => {
      for (const factor of [1, 2, 4]) allocator.alloc(options.granularity * factor);
      assert.deepEqual(
        allocator
          .blocks()
          .map((block) => [block.granularity, block.size])
          .sort(([a = 0], [b = 0]) => a - b),
        [1, 2, 4].map((factor) => [options.granularity * factor, options.blockSize]),
      );
    },
  );

  // Otherwise than the reference, on purpose (docs/differences.md): doubling at once from half of asmjit's first block
  // would always reserve more than asmjit does.
  row(
    "next blocks of a pool: asmjit's, the first and the larger ones in halves",
    {},
    ({ allocator, options }) => {
      assert.deepEqual(
        sizesOfGrowingPool(allocator, options.blockSize / 8, 9),
        [1, 1, 4, 8, 16, 32, 32, 32, 64].map((factor) => factor * options.blockSize),
      );
    },
  );

  rowIn(
    "next blocks of a pool: up to 64 MiB",
    { blockSize: [16 * MiB], useDualMapping: [true, false] },
    ({ allocator }) => {
      assert.deepEqual(
        sizesOfGrowingPool(allocator, 4 * MiB, 7),
        [16, 16, 64, 64, 64, 64, 64].map((size) => size * MiB),
      );
    },
  );

  row(
    "next blocks of a pool: a small one where the pool has room, but no hole that is long enough",
    {},
    ({ allocator, options }) => {
      const { blockSize } = options;
      const eighth = blockSize / 8;
      // All that five blocks hold, each with or without padding.
      const count = 30 * 8 - (options.disableInitialPadding ? 0 : 5);
      const spans = Array.from({ length: count }, () => allocator.alloc(eighth));
      const { reservedSize } = allocator.statistics();
      assert.equal(reservedSize, 30 * blockSize);
      for (const [index, span] of spans.entries()) if (index % 4 === 0) span.release();
      allocator.alloc(2 * eighth);
      assert.equal(allocator.statistics().reservedSize, reservedSize + blockSize);
    },
  );

  row(
    "a request that does not fit gets align_up(size + padding, blockSize)",
    {},
    ({ allocator, options }) => {
      const { blockSize, granularity } = options;
      // An odd number of granules: the first pool, with its padding.
      const size = 5 * blockSize + granularity;
      const span = allocator.alloc(size);
      assert.equal(span.size, size);
      assert.deepEqual(
        allocator.blocks().map((block) => block.size),
        [6 * blockSize],
      );
    },
  );

  row(
    "the padding counts when a request is fitted",
    { disableInitialPadding: [false] },
    ({ allocator, options }) => {
      const pool = poolGranularity(options, options.blockSize);
      allocator.alloc(options.blockSize);
      assert.equal(blockOf(allocator, sortedBlocks(allocator)[0]?.rx ?? 0).size, 2 * options.blockSize);
      assert.equal(allocator.statistics().usedSize, options.blockSize + pool);
    },
  );

  row(
    "never past maxReservedSize: the last block may be smaller",
    { maxReservedSize: [5 * 64 * KiB] },
    ({ allocator, options }) => {
      const { granularity, maxReservedSize, blockSize } = options;
      const held: number[] = [];
      let refused = false;
      while (!refused) {
        try {
          held.push(allocator.allocAddress(granularity * 3));
        } catch {
          refused = true;
        }
        assert.ok(allocator.statistics().reservedSize <= maxReservedSize);
        assert.ok(held.length <= maxReservedSize / granularity, "the limit was never reached");
      }
      const error = refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(granularity * 3));
      assert.match(error.message, /maxReservedSize/, "the message says which limit");
      // 1 + 1 grew as always; the third would be 4 and takes the 3 that are left.
      assert.deepEqual(
        allocator
          .blocks()
          .map((block) => block.size)
          .sort((a, b) => a - b),
        [blockSize, blockSize, 3 * blockSize],
      );
      const [first] = held;
      assert.ok(first !== undefined);
      allocator.release(first);
      assert.equal(allocator.allocAddress(granularity * 3), first, "room that was made is room");
    },
  );

  row(
    "maxReservedSize holds over all pools together",
    { useMultiplePools: [true], maxReservedSize: [2 * 64 * KiB] },
    ({ allocator, options }) => {
      allocator.alloc(options.granularity);
      allocator.alloc(options.granularity * 2);
      refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(options.granularity * 4));
      allocator.alloc(options.granularity);
    },
  );

  row(
    "a request larger than maxReservedSize: ERR_OUT_OF_MEMORY",
    { maxReservedSize: [4 * 64 * KiB] },
    ({ allocator, options }) => {
      refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(options.maxReservedSize + 1));
      if (!options.disableInitialPadding) {
        refuses(
          allocator,
          "ERR_OUT_OF_MEMORY",
          () => allocator.alloc(options.maxReservedSize),
          "no room for the padding",
        );
      } else {
        assert.equal(allocator.alloc(options.maxReservedSize).size, options.maxReservedSize);
      }
    },
  );

  row(
    "placement: a hole that fits exactly is used before a new block is mapped",
    {},
    ({ allocator, options }) => {
      const size = options.granularity;
      const capacity = options.blockSize / size - (options.disableInitialPadding ? 0 : 1);
      const addresses = Array.from({ length: capacity }, () => allocator.allocAddress(size));
      assert.equal(allocator.statistics().blockCount, 1);
      const holes = addresses.filter((_, index) => index % 3 === 1);
      for (const address of holes) allocator.release(address);
      const refilled = holes.map(() => allocator.allocAddress(size));
      assert.deepEqual(
        refilled.sort((a, b) => a - b),
        holes.sort((a, b) => a - b),
      );
      assert.equal(allocator.statistics().blockCount, 1);
    },
  );

  row("neighbouring holes are one hole, in every order of release", {}, ({ allocator, options }) => {
    const size = options.granularity;
    const capacity = options.blockSize / size - (options.disableInitialPadding ? 0 : 1);
    const addresses = Array.from({ length: capacity }, () => allocator.allocAddress(size)).sort(
      (a, b) => a - b,
    );
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    for (const [index, order] of orders.entries()) {
      // At both ends of the block, and across the boundaries of 32 granules in between.
      const start = Math.min(index * 31, capacity - 3);
      for (const step of order) allocator.release(addresses[start + step] ?? 0);
      // Three granules belong to the first pool whatever the options.
      assert.equal(
        allocator.allocAddress(3 * size),
        addresses[start],
        `released in the order ${order.join(", ")}`,
      );
      allocator.release(addresses[start] ?? 0);
      const refill = [0, 1, 2].map(() => allocator.allocAddress(size)).sort((a, b) => a - b);
      assert.deepEqual(refill, addresses.slice(start, start + 3));
    }
  });

  rowIn(
    "a hole that fits is found before ERR_OUT_OF_MEMORY, however many that do not fit lie about",
    { maxReservedSize: [256 * KiB], blockSize: [256 * KiB], disableInitialPadding: [false, true] },
    ({ options }) => {
      const decoyCount = 60;
      // The hole that fits is released first, in the middle, or last; indexes look at them in some order.
      for (const position of [0, 1, decoyCount >> 1, decoyCount - 1, decoyCount]) {
        withAllocator({ ...options }, (allocator) => {
          const unit = options.granularity;
          const holes: number[] = [];
          for (let index = 0; index <= decoyCount; index++) {
            holes.push(allocator.allocAddress((index === position ? 36 : 33) * unit));
            allocator.allocAddress(unit);
          }
          // Nothing else is left: the tail of the block is taken as well.
          const rest = allocator.statistics().unusedSize;
          if (rest > 0) allocator.allocAddress(rest);
          for (const hole of holes) allocator.release(hole);
          assert.equal(
            allocator.allocAddress(36 * unit),
            holes[position],
            `hole ${position} of ${decoyCount}`,
          );
          refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(34 * unit));
        });
      }
    },
  );

  row(
    "a refusal for want of room leaves the empty blocks that are kept",
    { maxReservedSize: [4 * 64 * KiB], immediateRelease: [false] },
    ({ allocator, options }) => {
      const live = allocator.alloc(options.granularity);
      allocator.alloc(2 * options.blockSize).release();
      const empty = allocator.statistics().blockCount;
      assert.equal(empty, 2);
      refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(4 * options.blockSize));
      refuses(allocator, "ERR_OUT_OF_MEMORY", () =>
        allocator.allocAddress(4 * options.blockSize + options.granularity),
      );
      assert.equal(live.isReleased, false);
    },
  );

  test("the largest request fits the default maxReservedSize, and all of it can be used", () => {
    withAllocator({}, (allocator) => {
      const largest = LIMIT - allocator.granularity;
      const address = allocator.allocAddress(largest);
      assert.deepEqual(
        allocator.blocks().map(({ size }) => size),
        [LIMIT],
      );
      throwsJitError("ERR_INTERIOR_ADDRESS", () => allocator.release(address + largest - 1));
      throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(1));
      allocator.shrink(address, 1);
      const quarter = LIMIT / 4;
      const others = [1, 2, 3].map(() => allocator.allocAddress(quarter));
      for (const other of others) assert.ok(other > address && other + quarter <= address + largest);
      assert.equal(allocator.statistics().usedSize, 3 * quarter + 2 * allocator.granularity);
      allocator.verify();
      for (const other of others) allocator.release(other);
      allocator.release(address);
      assert.equal(allocator.statistics().allocationCount, 0);
    });
  });

  row("alloc and allocAddress hand out of the same memory", {}, ({ allocator }) => {
    const addresses = new Set<number>();
    for (let index = 0; index < 50; index++) {
      addresses.add(allocator.alloc(100).rx);
      addresses.add(allocator.allocAddress(100));
    }
    assert.equal(addresses.size, 100);
    assert.equal(allocator.statistics().allocationCount, 100);
  });

  rowOnRealMemory("rx and rw: two views of the same memory, or one", {}, ({ allocator, options }) => {
    const span = allocator.alloc(1000);
    assert.equal(span.rw !== span.rx, options.useDualMapping);
    assert.ok(Number.isSafeInteger(span.rx) && Number.isSafeInteger(span.rw));
    const [block] = allocator.blocks();
    assert.ok(block);
    assert.equal(span.rw - block.rw, span.rx - block.rx, "both views have the same layout");
  });

  test("an allocator is as good with a block of 256 MiB as with one of 64 KiB", () => {
    withAllocator({ blockSize: 256 * MiB }, (allocator) => {
      const spans = Array.from({ length: 100 }, (_, index) => allocator.alloc(index * 1000 + 1));
      assert.equal(allocator.statistics().reservedSize, 256 * MiB);
      allocator.verify();
      for (const span of spans) span.release();
      assert.equal(allocator.statistics().allocationCount, 0);
    });
  });
});
