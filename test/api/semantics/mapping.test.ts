/** How the memory under the blocks is made: dual mapping, large pages. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { refuses } from "../../support/expectations.ts";
import { bytesAt, row, rowOnRealMemory, someBytes, withAllocator } from "../../support/rows.ts";

const MiB = 1024 * 1024;

describe("dual mapping", () => {
  test("on unless switched off", () => {
    withAllocator({}, (allocator) => {
      const span = allocator.alloc(64);
      assert.notEqual(span.rx, span.rw);
    });
  });

  row(
    "only what was asked for is mapped: two views with it, one without",
    {},
    ({ allocator, memory, options }) => {
      allocator.alloc(64);
      assert.equal(memory.calls.allocDualMapping, options.useDualMapping ? 1 : 0);
      assert.equal(memory.calls.alloc, options.useDualMapping ? 0 : 1);
    },
  );

  row(
    // The way out is named by the system's own ladder (test/vm): the simulated machine has none.
    "never silently falls back to W+X: if it cannot be made, the error says what failed",
    { useDualMapping: [true] },
    ({ allocator, memory }) => {
      memory.failAfter("allocDualMapping", 0, "ERR_PERMISSION");
      const error = refuses(allocator, "ERR_PERMISSION", () => allocator.alloc(64));
      assert.match(error.message, /told to fail/, "what failed");
      assert.equal(error.syscall, "mmap");
      assert.equal(error.errno, 0);
      assert.equal(memory.calls.alloc, 0, "nothing was mapped writable and executable");
      assert.deepEqual(memory.mappings, []);
    },
  );

  rowOnRealMemory(
    "off: one view, and it is the one that runs",
    { useDualMapping: [false] },
    ({ allocator }) => {
      const span = allocator.alloc(64);
      assert.equal(span.rx, span.rw);
      span.write(0, someBytes(64));
      assert.deepEqual(span.read(0, 64), someBytes(64));
    },
  );
});

describe("large pages", () => {
  row(
    "honoured with dual mapping and without",
    { useLargePages: [false, true] },
    ({ allocator, memory, options }) => {
      allocator.alloc(64);
      assert.deepEqual(
        memory.mappings.map(({ flags }) => flags.largePages ?? false),
        [options.useLargePages],
      );
    },
  );

  row(
    "alignBlockSizeToLargePage: blocks are whole large pages",
    { alignBlockSizeToLargePage: [true], useLargePages: [false, true] },
    ({ allocator, memory, options }) => {
      const unit = Math.max(memory.largePageSize(), 1);
      allocator.alloc(64);
      allocator.alloc(3 * MiB + 64);
      for (const block of allocator.blocks()) assert.equal(block.size % unit, 0);
      assert.ok(allocator.blocks().every((block) => block.size >= options.blockSize));
    },
  );

  rowOnRealMemory(
    "asked for, they are used or silently not: the memory works",
    { useLargePages: [true], alignBlockSizeToLargePage: [false, true] },
    ({ allocator, memory }) => {
      const span = allocator.alloc(3 * MiB);
      span.write(0, someBytes(span.size));
      assert.deepEqual(Buffer.compare(bytesAt(memory, span.rx, span.size), someBytes(span.size)), 0);
    },
  );
});
