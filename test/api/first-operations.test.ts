/** The first operations of a process, which look for more stack. This file has nothing that would make them later ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

test("what was retired comes back to the first operations as well", () => {
  using allocator = new JitAllocator({ maxReservedSize: 1 << 20 }, new SimulatedMemory());
  const span = allocator.alloc(600_000);
  allocator.enter();
  span.release();
  allocator.leave();
  assert.equal(allocator.alloc(600_000).size, 600_000);
});
