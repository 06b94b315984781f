/** When a write asks for a flush of the instruction cache. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator } from "../../src/api/allocator.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { someBytes } from "../support/rows.ts";

/** How many flushes a program of writes asks for. */
function flushesOn(memory: SimulatedMemory): number {
  using allocator = new JitAllocator({}, memory);
  const span = allocator.alloc(256);
  const before = memory.calls.flushInstructionCache;
  allocator.write(span, 0, someBytes(64));
  allocator.write(span, () => 128);
  allocator.write(span, 0, someBytes(64), "never");
  {
    using scope = allocator.writeScope();
    scope.write(span, 0, someBytes(16));
    scope.write(span, 32, someBytes(16));
  }
  return memory.calls.flushInstructionCache - before;
}

describe("the flush of the instruction cache", () => {
  test("follows each write, and all writes of a scope", () => {
    assert.equal(flushesOn(new SimulatedMemory()), 3);
  });

  test("is not asked for where the processor keeps the cache coherent", () => {
    assert.equal(flushesOn(Object.assign(new SimulatedMemory(), { isCoherent: true })), 0);
  });
});
