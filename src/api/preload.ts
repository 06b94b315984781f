import { checkStackSize } from "../base/stack.ts";
import { systemMemory } from "../vm/select.ts";

/**
 * Loads everything that native calls need: koffi in Node, and the functions of the system's library. Without it, they are
 * loaded when the first allocator is made. For programs that cannot load files later, because they change their root
 * (chroot), give up rights, or remove or replace their own files.
 *
 * Takes some tens of milliseconds at most, and hardly anything when repeated. Each thread loads for itself, so a worker
 * must call it too.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where this system or runtime offers no executable memory, or native code cannot
 *   be called; `ERR_OUT_OF_MEMORY` where the system has no page to try a flush on, or the thread's stack is too small. The
 *   call can be repeated.
 * @example
 * ```ts
 * preload(); // and then the chroot
 * ```
 */
export function preload(): void {
  checkStackSize("load what native calls need");
  const memory = systemMemory();
  const { pageGranularity } = memory.info();
  memory.largePageSize();
  memory.sharing?.prepare();
  // The first flush finds the routine for it, which needs a page of its own on some processors.
  const address = memory.alloc(pageGranularity, { read: true, write: true });
  try {
    memory.flushInstructionCache(address, pageGranularity);
  } finally {
    memory.release(address, pageGranularity);
  }
}
