/** Blocks of more than 256 MiB, of which no view is kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockMemory } from "../../../src/engine/block-memory.ts";
import { Engine } from "../../../src/engine/engine.ts";
import { JitAllocator } from "../../../src/index.ts";
import { makeCore } from "../../../src/engine/make-core.ts";
import { MappedBlock } from "../../../src/engine/mapped-block.ts";
import { resolveOptions } from "../../../src/engine/options.ts";
import { Field } from "../../../src/sharing/layout.ts";
import type { VirtualMemory } from "../../../src/vm/contract.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { Fate, memoryOf } from "../../support/mortal-thread.ts";
import { assertFilled, someBytes } from "../../support/rows.ts";

const SIZE = 257 * 2 ** 20;

test("a block of more than 256 MiB is read and written through views that do not last", () => {
  const memory = new SimulatedMemory();
  const allocator = new JitAllocator({}, memory);
  const address = allocator.allocAddress(SIZE);
  const span = allocator.query(address);
  const end = span.size - 100;
  span.write(0, someBytes(100));
  span.write(end, someBytes(100, 50));
  assert.equal(memory.openViewCount, 0, "no view is left open");
  assert.deepEqual(span.read(0, 100), someBytes(100));
  assert.deepEqual(span.read(end), someBytes(100, 50));
  assert.deepEqual(span.read(end, 0), new Uint8Array(0));
  allocator[Symbol.dispose]();
  assert.equal(memory.openViewCount, 0);
  assert.deepEqual(memory.mappings, []);
});

test("where the metadata has its limit, the message says so", () => {
  using allocator = new JitAllocator({ useRange: false, maxReservedSize: 2 ** 34 }, new SimulatedMemory());
  const allocate = (): never => {
    for (;;) allocator.alloc(2 ** 28);
  };
  assert.throws(allocate, {
    code: "ERR_OUT_OF_MEMORY",
    message: /metadata has its limit at 536870912 bytes/,
  });
  const { allocationCount } = allocator.statistics();
  assert.ok(allocationCount > 20);
  allocator.verify();
});

test("what is shrunk away of it is filled", () => {
  const memory = new SimulatedMemory();
  const allocator = new JitAllocator({ fillUnusedMemory: true, fillPattern: 0x1234_5678 }, memory);
  const span = allocator.alloc(SIZE);
  span.write(span.size - 64, someBytes(64));
  const tail = span.rx + span.size - 64;
  span.shrink(span.size - 64);
  assertFilled(memory.read(tail, 64), 0x1234_5678, "the tail");
  assert.equal(memory.openViewCount, 0);
  allocator[Symbol.dispose]();
});

test("an empty block of 2 GiB is filled by a repair, whole and in no piece that no view can have", () => {
  const simulated = new SimulatedMemory();
  const memory = memoryOf(simulated, new Fate(() => assert.fail("nobody dies")));
  let filled = 0;
  const counting: VirtualMemory = { ...memory, copyIn: (_address, _bytes, length) => (filled += length) };
  const allocator = new JitAllocator(
    {
      granularity: 256,
      fillUnusedMemory: true,
      disableInitialPadding: true,
      useRange: false,
      maxReservedSize: 2 ** 32,
    },
    counting,
  );
  const words = new Int32Array(allocator.share().state);
  allocator.release(allocator.allocAddress(2 ** 31 - 256));
  assert.deepEqual(
    allocator.blocks().map(({ size, allocationCount }) => [size, allocationCount]),
    [[2 ** 31, 0]],
  );
  filled = 0;
  words[Field.isTorn] = 1;
  allocator.statistics();
  assert.equal(filled, 2 ** 31);
  allocator.dispose();
});

test("a block is filled in pieces of which there can be a view", () => {
  const memory = new SimulatedMemory();
  const options = resolveOptions({}, memory);
  const core = makeCore(options, undefined);
  const blocks = new BlockMemory(new Engine(options, memory), core, memory, options, "x");
  const pieces: number[][] = [];
  class Recorded extends MappedBlock {
    override fill(offset: number, length: number): void {
      pieces.push([offset, length]);
    }
  }
  const { rx, rw } = memory.allocDualMapping(2 ** 31, {});
  const block = new Recorded(new Engine(options, memory), memory, rx, rw, 2 ** 31, 6, false);
  blocks.fill(block, 0, 2 ** 31);
  blocks.fill(block, 64, 2 ** 30 + 64);
  assert.deepEqual(pieces, [
    [0, 2 ** 30],
    [2 ** 30, 2 ** 30],
    [64, 2 ** 30],
    [64 + 2 ** 30, 64],
  ]);
});
