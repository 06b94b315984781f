/** Attaches to a shared allocator as another thread would, on memory that the test gives. */
import { JitAllocator } from "../../src/api/allocator.ts";
import { attachEngine } from "../../src/sharing/handle.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";

/** What `JitAllocator.attach` does, on that memory. */
export function attachOn(handle: unknown, memory: VirtualMemory): JitAllocator {
  return new JitAllocator(undefined, memory, attachEngine(handle, memory));
}
