/** release and shrink. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { JitAllocator, type JitAllocatorOptions } from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { changesNothing, refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import { poolGranularity, roundUp, row, someBytes } from "../../support/rows.ts";

/** What is neither a span nor an address. */
const NEITHER = [null, undefined, NaN, -1, -64, 0.5, Infinity, "0x1000", {}, [], true, 64n, () => 64];

describe("release", () => {
  row("release by span and by address give the memory back", {}, ({ allocator, options }) => {
    const granularity = poolGranularity(options, 300);
    const first = allocator.alloc(300);
    const second = allocator.allocAddress(300);
    const third = allocator.alloc(300);
    const rounded = roundUp(300, options.granularity);
    const padding = options.disableInitialPadding ? 0 : granularity;
    assert.equal(allocator.statistics().usedSize, 3 * rounded + padding);
    first.release();
    allocator.release(second);
    assert.equal(allocator.statistics().usedSize, rounded + padding);
    assert.equal(allocator.statistics().allocationCount, 1);
    allocator.release(third.rx);
    assert.equal(allocator.statistics().allocationCount, 0);
    assert.ok(first.isReleased && third.isReleased, "a span knows of a release by address");
  });

  row("release(null) and of what is no address: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    allocator.alloc(64);
    for (const target of NEITHER) {
      refuses(
        allocator,
        "ERR_INVALID_ARGUMENT",
        () => allocator.release(wrong(target)),
        `release(${String(target)})`,
      );
    }
  });

  row("release of an unknown address, or of rw: ERR_UNKNOWN_ADDRESS", {}, ({ allocator, options }) => {
    refuses(
      allocator,
      "ERR_UNKNOWN_ADDRESS",
      () => allocator.release(0x1000),
      "in an allocator without blocks",
    );
    const span = allocator.alloc(64);
    const [block] = allocator.blocks();
    assert.ok(block);
    for (const address of [
      0,
      1,
      0x1000,
      block.rx - 1,
      block.rx + block.size,
      2 ** 47,
      2 ** 52,
      Number.MAX_SAFE_INTEGER,
    ]) {
      refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.release(address), `release(${address})`);
    }
    if (options.useDualMapping)
      refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.release(span.rw), "rw");
  });

  row("double release: ERR_NOT_ALLOCATED by address, ERR_RELEASED through a Span", {}, ({ allocator }) => {
    const kept = allocator.alloc(64);
    const span = allocator.alloc(64);
    const address = span.rx;
    span.release();
    refuses(allocator, "ERR_RELEASED", () => span.release());
    refuses(allocator, "ERR_RELEASED", () => allocator.release(span));
    refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.release(address));
    assert.equal(kept.isReleased, false, "the neighbour lives");
  });

  row(
    "double release through a Span: ERR_RELEASED also when the place has been handed out again",
    {},
    ({ allocator }) => {
      const neighbour = allocator.alloc(64);
      const stale = allocator.alloc(64);
      const again = allocator.query(stale.rx);
      stale.release();
      assert.ok(stale.isReleased && again.isReleased, "every span of the place is released");
      let fresh = allocator.alloc(64);
      // A policy may place it elsewhere first; what matters is a stale span of a place in use.
      for (let tries = 0; fresh.rx !== stale.rx && tries < 2000; tries++) fresh = allocator.alloc(64);
      assert.equal(fresh.rx, stale.rx, "the place is handed out again at last");
      assert.deepEqual(
        [stale, again, fresh].map((span) => span.isReleased),
        [true, true, false],
      );
      for (const span of [stale, again]) {
        refuses(allocator, "ERR_RELEASED", () => span.release());
        refuses(allocator, "ERR_RELEASED", () => allocator.release(span));
        refuses(allocator, "ERR_RELEASED", () => span.shrink(1));
        refuses(allocator, "ERR_RELEASED", () => allocator.shrink(span, 1));
        refuses(allocator, "ERR_RELEASED", () => span.write(0, someBytes(8)));
        refuses(allocator, "ERR_RELEASED", () => allocator.write(span, 0, someBytes(8)));
        refuses(allocator, "ERR_RELEASED", () => allocator.write(span, () => undefined));
        refuses(allocator, "ERR_RELEASED", () => span.read());
      }
      changesNothing(allocator, () => stale[Symbol.dispose](), "dispose of a released span");
      assert.deepEqual([fresh.isReleased, neighbour.isReleased], [false, false]);
    },
  );

  row(
    "release of an interior address: ERR_INTERIOR_ADDRESS, and the message tells the start",
    {},
    ({ allocator, options }) => {
      const span = allocator.alloc(options.granularity * 4);
      for (const offset of [
        1,
        8,
        options.granularity - 1,
        options.granularity,
        3 * options.granularity,
        span.size - 1,
      ]) {
        refuses(allocator, "ERR_INTERIOR_ADDRESS", () => allocator.release(span.rx + offset), `+${offset}`);
      }
      const error = throwsJitError("ERR_INTERIOR_ADDRESS", () => allocator.release(span.rx + 16));
      assert.match(error.message, /0x[0-9a-f_]+.*0x[0-9a-f_]+/s, "the address asked and the address to pass");
      assert.ok(error.message.includes(String(span.size)), "the size of the allocation in the way");
    },
  );

  row("any address in what waits to be freed: ERR_NOT_ALLOCATED", {}, ({ allocator, options }) => {
    const span = allocator.alloc(options.granularity * 4);
    allocator.enter();
    span.release();
    for (const offset of [0, 1, options.granularity, options.granularity * 4 - 1]) {
      const address = span.rx + offset;
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.release(address), `release of +${offset}`);
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.shrink(address, 1), `shrink of +${offset}`);
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(address), `query of +${offset}`);
    }
    allocator.leave();
  });

  row(
    "release of the padding: ERR_NOT_ALLOCATED",
    { disableInitialPadding: [false] },
    ({ allocator, options }) => {
      const spans = [1, 2, 4].map((factor) => allocator.alloc(options.granularity * factor));
      for (const block of allocator.blocks()) {
        for (const offset of [0, 1, block.granularity - 1]) {
          refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.release(block.rx + offset));
          refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.shrink(block.rx + offset, 1));
        }
      }
      assert.ok(spans.every((span) => !span.isReleased));
    },
  );

  row("release of free memory: ERR_NOT_ALLOCATED", {}, ({ allocator, options }) => {
    allocator.alloc(64);
    const [block] = allocator.blocks();
    assert.ok(block);
    const firstFree = block.granules.indexOf(0);
    for (const address of [block.rx + firstFree * options.granularity, block.rx + block.size - 1]) {
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.release(address));
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.shrink(address, 1));
    }
  });

  row(
    "a span of another allocator is refused, and stays as it was",
    { useMultiplePools: [false], granularity: [64] },
    ({ allocator, options }) => {
      allocator.alloc(64);
      const other = new JitAllocator(copyOf(options), new SimulatedMemory());
      const foreign = other.alloc(64);
      const codes = ["ERR_INVALID_ARGUMENT", "ERR_UNKNOWN_ADDRESS"] as const;
      refuses(allocator, codes, () => allocator.release(foreign));
      refuses(allocator, codes, () => allocator.shrink(foreign, 1));
      refuses(allocator, codes, () => allocator.write(foreign, 0, someBytes(8)));
      refuses(allocator, codes, () => allocator.write(foreign, () => undefined));
      assert.equal(foreign.isReleased, false);
      assert.equal(other.statistics().allocationCount, 1);
      other[Symbol.dispose]();
    },
  );

  row("dispose of a span releases it, once", {}, ({ allocator }) => {
    const span = allocator.alloc(64);
    span[Symbol.dispose]();
    assert.ok(span.isReleased);
    assert.equal(allocator.statistics().allocationCount, 0);
    changesNothing(allocator, () => span[Symbol.dispose]());
  });
});

describe("shrink", () => {
  row("shrink frees the granules behind the new size", {}, ({ allocator, options }) => {
    const size = options.granularity * 16;
    const pool = poolGranularity(options, size);
    const padding = options.disableInitialPadding ? 0 : pool;
    const span = allocator.alloc(size);
    const twin = allocator.query(span.rx);
    for (const newSize of [size - pool, size / 2 + 1, size / 2, pool + 1, pool, 1]) {
      const rounded = roundUp(newSize, pool);
      allocator.shrink(newSize % 2 === 0 ? span : span.rx, newSize);
      assert.equal(allocator.query(span.rx).size, rounded, `shrink to ${newSize}`);
      assert.equal(span.size, rounded, "the span knows");
      assert.equal(twin.size, rounded, "and so does every other span of it");
      assert.equal(allocator.statistics().usedSize, rounded + padding);
      if (rounded < size) refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.query(span.rx + rounded));
    }
    assert.equal(allocator.statistics().allocationCount, 1);
  });

  row(
    "what a shrink freed is handed out again, and the old span cannot write there",
    { useMultiplePools: [false] },
    ({ allocator, options }) => {
      const { granularity } = options;
      const long = allocator.alloc(options.blockSize - (options.disableInitialPadding ? 0 : granularity));
      const twin = allocator.query(long.rx);
      allocator.shrink(long.rx, granularity);
      const inserted = allocator.alloc(granularity);
      assert.ok(
        inserted.rx > long.rx && inserted.rx < long.rx + options.blockSize,
        "it lies where the long one was",
      );
      inserted.write(0, someBytes(granularity));
      for (const span of [long, twin]) {
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(granularity, someBytes(8)));
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(0, someBytes(granularity + 1)));
        refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.read(0, granularity + 1));
      }
      assert.deepEqual(inserted.read(), someBytes(granularity));
    },
  );

  row("shrink to 0: release", {}, ({ allocator }) => {
    allocator.alloc(200);
    const first = allocator.alloc(200);
    const second = allocator.alloc(200);
    const third = allocator.alloc(200);
    first.shrink(0);
    allocator.shrink(second, 0);
    allocator.shrink(third.rx, 0);
    for (const span of [first, second, third]) {
      assert.ok(span.isReleased);
      refuses(allocator, "ERR_RELEASED", () => span.shrink(0));
      refuses(allocator, "ERR_NOT_ALLOCATED", () => allocator.release(span.rx));
    }
    assert.equal(allocator.statistics().allocationCount, 1);
  });

  row("shrink to the same granules: nothing changes", {}, ({ allocator, options }) => {
    const span = allocator.alloc(options.granularity * 3);
    for (const size of [span.size, span.size - 1, span.size - options.granularity + 1]) {
      changesNothing(allocator, () => span.shrink(size));
      changesNothing(allocator, () => allocator.shrink(span, size));
      changesNothing(allocator, () => allocator.shrink(span.rx, size));
    }
  });

  row("shrink to more: ERR_INVALID_ARGUMENT", {}, ({ allocator, options }) => {
    const span = allocator.alloc(options.granularity);
    for (const size of [span.size + 1, span.size * 2, 2 ** 31, 2 ** 40]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.shrink(size));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.shrink(span.rx, size));
    }
  });

  row("shrink to what is no size: ERR_INVALID_ARGUMENT", {}, ({ allocator }) => {
    const span = allocator.alloc(200);
    for (const size of [-1, NaN, 0.5, Infinity, -Infinity, "1", null, undefined, {}, 1n, true]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.shrink(wrong(size)), String(size));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.shrink(span.rx, wrong(size)), String(size));
    }
    for (const target of NEITHER) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.shrink(wrong(target), 1), String(target));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.shrink(wrong(target), 0), String(target));
    }
  });

  row("shrink finds its target as release does", {}, ({ allocator, options }) => {
    const span = allocator.alloc(options.granularity * 2);
    for (const size of [0, 1, options.granularity]) {
      refuses(allocator, "ERR_INTERIOR_ADDRESS", () => allocator.shrink(span.rx + options.granularity, size));
      refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.shrink(0x1000, size));
      if (options.useDualMapping)
        refuses(allocator, "ERR_UNKNOWN_ADDRESS", () => allocator.shrink(span.rw, size));
    }
  });
});

/** The options of one allocator for another. */
function copyOf(options: JitAllocatorOptions): JitAllocatorOptions {
  return { ...options };
}
