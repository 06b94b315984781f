/** Sets up the core of an allocator. */
import { Core } from "../core/core.ts";
import { coreOptionsOf } from "./options.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfAddresses } from "./refusals.ts";
import { needMuchStack } from "../base/stack.ts";

/**
 * The core of an allocator with these options, on the buffer of another thread's where one is given.
 * It reserves addresses for all that its metadata may ever become: under a tight RLIMIT_AS there are none.
 * @throws JitError `ERR_OUT_OF_MEMORY`
 */
export function makeCore(
  options: Readonly<ResolvedJitAllocatorOptions>,
  shared: SharedArrayBuffer | undefined,
): Core {
  try {
    const core = new Core(coreOptionsOf(options), shared);
    core.needRoom = needMuchStack;
    return core;
  } catch (cause) {
    if (cause instanceof RangeError)
      throw outOfAddresses("make an allocator", options.maxReservedSize, cause);
    throw cause;
  }
}
