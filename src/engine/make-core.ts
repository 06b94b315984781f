/** Sets up the core of an allocator. */
import { Core } from "../core/core.ts";
import { coreOptionsOf } from "./options.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfAddresses } from "./refusals.ts";
import { needMuchStack } from "../base/stack.ts";

/**
 * Makes the core of an allocator with these options, on another thread's buffer where one is given.
 * @throws JitError `ERR_OUT_OF_MEMORY` where the system has no addresses for all that the metadata may ever need, as under
 *   a tight RLIMIT_AS
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
