/** fillUnusedMemory: what is wiped, with what, and which view is flushed. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import type { JitAllocator, Span } from "../../../src/index.ts";
import type { VirtualMemory } from "../../../src/vm/contract.ts";
import { RecordingMemory } from "../../support/recording-memory.ts";
import { assertFilled, bytesAt, row, rowOnRealMemory, someBytes, withAllocator } from "../../support/rows.ts";

const FILL = { fillUnusedMemory: [true], fillPattern: [0xcccccccc, 0x12345678, 0] };

/** Calls `look` with what the processor would read at `[rx, rx + sizeBytes)`. */
function through(
  memory: VirtualMemory,
  rx: number,
  sizeBytes: number,
  look: (bytes: Uint8Array) => void,
): void {
  look(bytesAt(memory, rx, sizeBytes));
}

/** Three spans of 20 granules side by side, written full. */
function shelf(allocator: JitAllocator): readonly [Span, Span, Span] {
  const make = (): Span => {
    const span = allocator.alloc(20 * allocator.granularity);
    span.write(0, someBytes(span.size));
    return span;
  };
  return [make(), make(), make()];
}

describe("fill pattern", () => {
  rowOnRealMemory("new blocks are filled, the padding too", FILL, ({ allocator, memory, options }) => {
    const span = allocator.alloc(100);
    assertFilled(span.read(), options.fillPattern, "a fresh allocation");
    const [block] = allocator.blocks();
    assert.ok(block);
    through(memory, block.rx, block.size, (bytes) =>
      assertFilled(bytes, options.fillPattern, "a fresh block"),
    );
  });

  rowOnRealMemory(
    "released ranges are filled, their neighbours are not",
    FILL,
    ({ allocator, memory, options }) => {
      const [first, second, third] = shelf(allocator);
      const { rx, size } = second;
      second.release();
      through(memory, rx, size, (bytes) => assertFilled(bytes, options.fillPattern, "released"));
      assert.deepEqual(first.read(), someBytes(first.size));
      assert.deepEqual(third.read(), someBytes(third.size));
    },
  );

  rowOnRealMemory("shrunk ranges are filled, what is kept is not", FILL, ({ allocator, memory, options }) => {
    const [, second, third] = shelf(allocator);
    const { rx, size } = second;
    second.shrink(options.granularity * 7 + 1);
    assert.ok(second.size < size);
    assert.deepEqual(second.read(), someBytes(size).slice(0, second.size));
    through(memory, rx + second.size, size - second.size, (bytes) =>
      assertFilled(bytes, options.fillPattern, "shrunk"),
    );
    assert.deepEqual(third.read(), someBytes(third.size));
    allocator.write(third, (code) => {
      code.fill(0x55);
      return 1;
    });
    through(memory, third.rx + third.size, size - third.size, (bytes) =>
      assertFilled(bytes, options.fillPattern, "shrunk by a write callback"),
    );
  });

  rowOnRealMemory(
    "a block kept when it empties holds nothing of before",
    { ...FILL, immediateRelease: [false] },
    ({ allocator, memory, options }) => {
      for (const span of shelf(allocator)) span.release();
      const [block] = allocator.blocks();
      assert.ok(block);
      through(memory, block.rx, block.size, (bytes) =>
        assertFilled(bytes, options.fillPattern, "an emptied block"),
      );
    },
  );

  row(
    "without fillUnusedMemory what was there stays",
    { fillUnusedMemory: [false] },
    ({ allocator, memory }) => {
      const [, second] = shelf(allocator);
      const { rx, size } = second;
      second.release();
      through(memory, rx, size, (bytes) => assert.deepEqual(Uint8Array.from(bytes), someBytes(size)));
    },
  );

  row("the instruction cache is flushed on rx, not on rw", { fillUnusedMemory: [true] }, ({ options }) => {
    const memory = new RecordingMemory();
    withAllocator(
      options,
      (allocator) => {
        const [first, second] = shelf(allocator);
        const [block] = allocator.blocks();
        assert.ok(block);
        memory.flushes.length = 0;
        const released = { address: second.rx, sizeBytes: second.size };
        second.release();
        assertFlushed(memory, released.address, released.sizeBytes);
        const whole = first.size;
        first.shrink(options.granularity * 8);
        assertFlushed(memory, first.rx + first.size, whole - first.size);
        first.write(5, someBytes(9));
        assertFlushed(memory, first.rx + 5, 9);
        allocator.write(first, (code) => void code.fill(1), "flush");
        assertFlushed(memory, first.rx, first.size);
        for (const flush of memory.flushes) {
          assert.ok(
            flush.address >= block.rx && flush.address + flush.sizeBytes <= block.rx + block.size,
            "every flush is of the rx view",
          );
        }
      },
      memory,
    );
  });

  row('policy "never" leaves the flush to the caller; a scope does it once', {}, ({ options }) => {
    const memory = new RecordingMemory();
    withAllocator(
      options,
      (allocator) => {
        const [first, second] = shelf(allocator);
        memory.flushes.length = 0;
        allocator.write(first, 0, someBytes(100), "never");
        allocator.write(first, (code) => void code.fill(2), "never");
        assert.deepEqual(memory.flushes, []);
        const scope = allocator.writeScope();
        scope.write(first, 0, someBytes(64));
        scope.write(second, 16, someBytes(64));
        assert.deepEqual(memory.flushes, [], "nothing before flush()");
        scope.flush();
        assertFlushed(memory, first.rx, 64);
        assertFlushed(memory, second.rx + 16, 64);
        memory.flushes.length = 0;
        scope.flush();
        assert.deepEqual(memory.flushes, [], "nothing was written since");
        scope.write(second, 0, someBytes(8));
        scope[Symbol.dispose]();
        assertFlushed(memory, second.rx, 8);
      },
      memory,
    );
  });

  row(
    "a scope flushes what was written: what lies near as one, what lies far apart by itself",
    {},
    ({ options }) => {
      const memory = new RecordingMemory();
      withAllocator(
        options,
        (allocator) => {
          const [span, far] = [allocator.alloc(16384), allocator.alloc(256)];
          memory.flushes.length = 0;
          const scope = allocator.writeScope();
          scope.write(span, 64, someBytes(16));
          scope.write(span, 192, someBytes(16));
          scope.write(span, 0, someBytes(8));
          scope.write(span, 5, new Uint8Array());
          scope.write(far, (code) => void code.fill(1));
          scope.flush();
          assert.deepEqual(memory.flushes, [
            { address: span.rx, sizeBytes: 208 },
            { address: far.rx, sizeBytes: far.size },
          ]);
        },
        memory,
      );
    },
  );
});

/** Asserts that the flushes seen so far cover the range. */
function assertFlushed(memory: RecordingMemory, address: number, sizeBytes: number): void {
  const covered = new Uint8Array(sizeBytes);
  for (const flush of memory.flushes) {
    const start = Math.max(flush.address - address, 0);
    const end = Math.min(flush.address + flush.sizeBytes - address, sizeBytes);
    if (start < end) covered.fill(1, start, end);
  }
  assert.ok(
    !covered.includes(0),
    `[${address}, +${sizeBytes}) is flushed; seen: ${JSON.stringify(memory.flushes)}`,
  );
}
