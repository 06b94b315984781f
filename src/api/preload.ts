import { checkStackSize } from "../base/stack.ts";
import { systemMemory } from "../vm/select.ts";

/**
 * Loads all that native calls need, which is otherwise loaded when the first allocator is made: koffi in Node, and the
 * functions of the system's library. For programs that can load nothing later: because they change their root (chroot),
 * give up rights, or remove or replace their own files.
 *
 * Takes some tens of milliseconds at most, and hardly anything where it was called before. Each thread loads for itself: a
 * worker calls it too.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where this system or runtime offers no executable memory, or native code cannot
 *   be called; `ERR_OUT_OF_MEMORY` where there is not a page for a moment. The call can be repeated.
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
  // Which routine flushes is found out at the first flush, and on some processors it needs a page of its own.
  const address = memory.alloc(pageGranularity, { read: true, write: true });
  try {
    memory.flushInstructionCache(address, pageGranularity);
  } finally {
    memory.release(address, pageGranularity);
  }
}
