/** Sets up the core of an allocator, and keeps a buffer for the next one. */
import { Core } from "../core/core.ts";
import { coreOptionsOf } from "./options.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfAddresses } from "./refusals.ts";
import { needMuchStack } from "../base/stack.ts";

/**
 * Bytes: the longest buffer that is kept. It has the metadata of some 200 MiB of code, and clearing it takes as long as
 * making some four new ones.
 */
const LONGEST_SPARE_BYTES = 2 ** 20;

/**
 * The buffer of an allocator that is disposed of, for the next one of this thread. A new one costs 14 to 40 µs, because it
 * reserves addresses for all that the metadata may ever need, and another microsecond for each of its pages.
 */
let spare: SharedArrayBuffer | undefined;

/**
 * Keeps the buffer of a core for the next allocator of this thread. The core is one without blocks from then on.
 * Precondition: it has no blocks, and no other thread has its buffer.
 */
export function keepBuffer(core: Core, options: Readonly<ResolvedJitAllocatorOptions>): void {
  if (spare !== undefined || core.overheadBytes > LONGEST_SPARE_BYTES) return;
  spare = core.giveBuffer(coreOptionsOf(options));
}

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
    const core = new Core(coreOptionsOf(options), shared, spare);
    if (core.buffer === spare) spare = undefined;
    core.needRoom = needMuchStack;
    return core;
  } catch (cause) {
    if (cause instanceof RangeError)
      throw outOfAddresses("make an allocator", options.maxReservedSize, cause);
    throw cause;
  }
}
