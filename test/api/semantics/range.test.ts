/** One range: where code lies, how far calls reach, and which options go together. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions } from "../../../src/index.ts";
import { reaches } from "../../../src/engine/reach.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { addressAmid, ownUsedLines } from "../../support/process-state.ts";
import { needs } from "../../support/requirements.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const withRanges = (options: JitAllocatorOptions = {}): JitAllocator =>
  new JitAllocator(options, new SimulatedMemory({ hasRanges: true }));

describe("the options of a range", () => {
  for (const [options, message] of [
    [{ maxReservedSize: 2 ** 31 + 1 }, /maxReservedSize.*useRange/],
    [{ near: -1 }, /near/],
    [{ near: 0.5 }, /near/],
    [{ near: 2 ** 53 }, /near/],
    [{ near: 4096, useRange: false }, /near.*useRange/],
  ] as const) {
    test(`${JSON.stringify(options)}: ERR_INVALID_ARGUMENT`, () => {
      const error = throwsJitError("ERR_INVALID_ARGUMENT", () => withRanges(options));
      assert.match(error.message, message);
    });
  }

  test("more than 2 GiB goes without a range", () => {
    assert.equal(withRanges({ useRange: false, maxReservedSize: 2 ** 33 }).options.maxReservedSize, 2 ** 33);
  });

  test("a system without ranges: blocks lie anywhere, and near is refused, not forgotten", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    allocator.alloc(64);
    assert.equal(allocator.range, undefined);
    const near = new JitAllocator({ near: 4096 }, new SimulatedMemory());
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => near.alloc(64));
    near.verify();
  });
});

describe("reaches", () => {
  test("on x86-64 a call of 5 bytes, 2 GiB in both directions", () => {
    const from = 0x7000_0000_0000;
    const next = from + 5;
    assert.ok(reaches(from, next + 2 ** 31 - 1, "x64"));
    assert.ok(!reaches(from, next + 2 ** 31, "x64"));
    assert.ok(reaches(from, next - 2 ** 31, "x64"));
    assert.ok(!reaches(from, next - 2 ** 31 - 1, "x64"));
  });

  test("on AArch64 128 MiB", () => {
    const from = 0x7000_0000_0000;
    assert.ok(reaches(from, from + 2 ** 27 - 4, "arm64"));
    assert.ok(!reaches(from, from + 2 ** 27, "arm64"));
    assert.ok(reaches(from, from - 2 ** 27, "arm64"));
    assert.ok(!reaches(from, from - 2 ** 27 - 4, "arm64"));
  });

  test("what is no address: ERR_INVALID_ARGUMENT", () => {
    const allocator = withRanges();
    for (const value of [-1, 0.5, NaN, "4096", null, 1n]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.reaches(wrong(value), 0));
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.reaches(0, wrong(value)));
    }
  });
});

describe("where code lies", () => {
  test("every block of every pool in one range, the lowest free stretch first", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    const allocator = new JitAllocator({ useMultiplePools: true, immediateRelease: true }, memory);
    const spans = [64, 128, 256, 200_000, 64, 300_000].map((size) => allocator.alloc(size));
    const { range } = allocator;
    assert.ok(range);
    assert.equal(memory.ranges?.all.length, 1);
    const places = allocator.blocks().map(({ rx, size }) => [rx - range.start, size]);
    let next = 0;
    for (const [offset = 0, size = 0] of places) {
      assert.equal(offset, next, "side by side");
      next = offset + size;
    }
    const hole = allocator.query(spans[3]?.rx ?? 0);
    const place = allocator.blocks().find(({ rx, size }) => rx <= hole.rx && hole.rx < rx + size)?.rx;
    hole.release();
    allocator.alloc(200_000);
    assert.ok(
      allocator.blocks().some(({ rx }) => rx === place),
      "the hole is used again",
    );
    allocator.verify();
    allocator.dispose();
    assert.equal(allocator.range, undefined);
    assert.deepEqual(memory.ranges.all, []);
  });

  test("a full range: the new block takes the addresses of the empty ones that it replaces", () => {
    const options = { maxReservedSize: 2 * GiB, blockSize: 256 * MiB };
    const allocator = withRanges({ ...options, useMultiplePools: true });
    const full = Array.from({ length: 7 }, () => allocator.allocAddress(256 * MiB - 64));
    allocator.release(allocator.allocAddress(128));
    assert.equal(allocator.statistics().reservedSize, 2 * GiB);
    allocator.release(allocator.allocAddress(64));
    allocator.verify();
    assert.equal(full.length, 7);
  });
});

describe("where code really lies", { skip: needs("linux") }, () => {
  test("1.9 GiB reach each other, in as few mappings as there are views", () => {
    const earlier = Array.from({ length: 10 }, () => new JitAllocator());
    for (const other of earlier) other.alloc(2 * MiB);
    const before = ownUsedLines().length;
    using allocator = new JitAllocator();
    const addresses: number[] = [];
    for (let size = 0; size < 1900; size++) {
      addresses.push(allocator.allocAddress(MiB));
      if (size % 300 === 0) earlier.push(new JitAllocator());
    }
    const lowest = Math.min(...addresses);
    const highest = Math.max(...addresses);
    assert.ok(allocator.reaches(lowest, highest) && allocator.reaches(highest, lowest));
    assert.ok(highest - lowest < 2 * GiB);
    assert.ok(allocator.blocks().length > 30);
    assert.equal(ownUsedLines().length - before, 2);
    for (const other of earlier) other.dispose();
  });

  test("near an address: calls from anywhere in the range reach it", () => {
    using far = new JitAllocator();
    far.alloc(64);
    const near = addressAmid(16 * GiB);
    using allocator = new JitAllocator({ near });
    allocator.alloc(64);
    const { range, options } = allocator;
    assert.ok(range);
    for (const from of [range.start, range.start + range.size - 5])
      assert.ok(allocator.reaches(from, near), `${from} and ${near}`);
    assert.ok(options.maxReservedSize <= range.size);
    assert.notEqual(range.start, far.range?.start);
  });

  test("large pages are asked for by blocks that begin where one can", () => {
    using allocator = new JitAllocator({ useLargePages: true });
    allocator.alloc(64);
    const span = allocator.alloc(4 * MiB);
    const block = allocator.blocks().find(({ rx, size }) => rx <= span.rx && span.rx < rx + size);
    assert.equal((block?.rx ?? 1) % (2 * MiB), 0);
  });
});
