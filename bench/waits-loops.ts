/** Operations that hold the lock while the main thread wants it: long ones, each made for one thread. */
import type { JitAllocator, Span } from "../src/index.ts";

/** Each makes an operation from this thread's allocator and the span that all threads read. */
export const loops = {
  /** Copies 64 KiB: 10 to 20 µs. */
  read: (_: JitAllocator, span: Span) => () => void span.read(),
  /** Describes all blocks. */
  blocks: (allocator: JitAllocator) => () => void allocator.blocks(),
  /** Walks the whole structure: milliseconds. */
  verify: (allocator: JitAllocator) => () => allocator.verify(),
} as const;

/** The name of a loop. */
export type LoopName = keyof typeof loops;
