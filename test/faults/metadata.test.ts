/** The system has no memory for the allocator's own records: a refusal like any other. */
import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { refuses } from "../support/expectations.ts";
import { someBytes } from "../support/rows.ts";

const KiB = 1024;

/** Runs `action` while shared buffers cannot grow, and returns how often one was asked to. */
function withoutGrowth(action: () => void): number {
  const grow = mock.method(SharedArrayBuffer.prototype, "grow", () => {
    throw new RangeError("no memory");
  });
  try {
    action();
    return grow.mock.callCount();
  } finally {
    grow.mock.restore();
  }
}

describe("no memory for metadata", () => {
  test("a block whose records find no room: nothing stays mapped, and it works the next time", () => {
    const memory = new SimulatedMemory();
    const allocator = new JitAllocator({}, memory);
    const live = allocator.alloc(64);
    live.write(0, someBytes(64));
    const mapped = memory.mappings.length;
    const attempts = withoutGrowth(() => {
      const error = refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.allocAddress(32 * 1024 * KiB));
      assert.match(error.message, /metadata/, "the message says whose memory it is");
      assert.equal(memory.mappings.length, mapped);
    });
    assert.ok(attempts > 0, "the buffer was asked to grow");
    assert.deepEqual(live.read(), someBytes(64));
    allocator.allocAddress(32 * 1024 * KiB);
    allocator.verify();
    allocator[Symbol.dispose]();
    assert.deepEqual(memory.mappings, []);
  });

  test("a span whose generation finds no room: the allocation is given back; an address needs none", () => {
    const memory = new SimulatedMemory();
    // Blocks so large that their generations never fit what the buffer has left.
    const allocator = new JitAllocator({ blockSize: 8 * 1024 * KiB }, memory);
    const address = allocator.allocAddress(300);
    const attempts = withoutGrowth(() => {
      refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.alloc(100));
      refuses(allocator, "ERR_OUT_OF_MEMORY", () => allocator.query(address));
      allocator.release(allocator.allocAddress(100));
    });
    assert.ok(attempts >= 2);
    const span = allocator.query(address);
    span.write(0, someBytes(300));
    assert.deepEqual(span.read(0, 300), someBytes(300));
    allocator.verify();
    allocator[Symbol.dispose]();
  });

  test("the same for the first span of a new block: the block goes again", () => {
    const memory = new SimulatedMemory();
    // The first one may have a buffer of an earlier test's allocator, long enough not to grow.
    const [, allocator] = [new JitAllocator({}, memory), new JitAllocator({}, memory)];
    allocator.alloc(64);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called on a buffer below
    const { grow } = SharedArrayBuffer.prototype;
    let calls = 0;
    // The block's records may grow the buffer; its generations may not.
    const limited = mock.method(
      SharedArrayBuffer.prototype,
      "grow",
      function (this: SharedArrayBuffer, size: number) {
        calls += 1;
        if (calls > 1) throw new RangeError("no memory");
        grow.call(this, size);
      },
    );
    const blocks = allocator.blocks();
    try {
      assert.throws(() => allocator.alloc(32 * 1024 * KiB), { code: "ERR_OUT_OF_MEMORY" });
    } finally {
      limited.mock.restore();
    }
    assert.equal(calls, 2);
    allocator.verify();
    assert.deepEqual(allocator.blocks(), blocks);
    allocator[Symbol.dispose]();
    assert.deepEqual(memory.mappings, []);
  });
});
