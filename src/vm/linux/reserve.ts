/** Reserves address ranges before anything is mapped into them. */
import type { Address } from "../../ffi/contract.ts";
import { systemError } from "./errno.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import type { Placement } from "./placement.ts";

/**
 * Reserves `sizeBytes` of addresses, the first a multiple of `alignment` (a power of two, at least a page).
 * Nothing can be read or written there, and no memory is used. The caller maps over the range with MAP_FIXED, which then
 * cannot replace a mapping of somebody else's.
 *
 * @param asked for the error: the request, worded to follow `Cannot`.
 * @param placement gives the address to hint; undefined = anywhere
 * @param descriptor a file whose name the range is to bear in /proc/self/maps; -1 = none
 */
export function reserve(
  libc: LinuxLibc,
  sizeBytes: number,
  alignment: number,
  pageSize: number,
  asked: string,
  placement?: Placement,
  descriptor = -1,
): Address {
  // mmap aligns to pages alone. So a longer range is mapped, and the ends outside the aligned part are unmapped.
  const slackBytes = alignment - pageSize;
  const totalBytes = sizeBytes + slackBytes;
  const hint = placement?.hintFor(totalBytes, descriptor) ?? 0;
  const start = libc.mmap(
    hint,
    totalBytes,
    Protection.NONE,
    MapFlag.PRIVATE | MapFlag.NORESERVE | (descriptor === -1 ? MapFlag.ANONYMOUS : 0),
    descriptor,
    0,
  );
  if (start === MAP_FAILED) throw systemError(asked, "mmap", libc.errno());
  placement?.noteMapped(start, hint);
  const headBytes = (alignment - (start % alignment)) % alignment;
  const aligned = start + headBytes;
  const tailBytes = slackBytes - headBytes;
  if (headBytes !== 0 && libc.munmap(start, headBytes) !== 0) {
    const errno = libc.errno();
    libc.munmap(start, totalBytes);
    throw systemError(asked, "munmap", errno);
  }
  if (tailBytes !== 0 && libc.munmap(aligned + sizeBytes, tailBytes) !== 0) {
    const errno = libc.errno();
    libc.munmap(aligned, sizeBytes + tailBytes);
    throw systemError(asked, "munmap", errno);
  }
  return aligned;
}
