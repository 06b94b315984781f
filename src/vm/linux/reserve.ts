/** Address ranges, taken before anything is put into them. */
import type { Address } from "../../ffi/contract.ts";
import { systemError } from "./errno.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import type { Placement } from "./placement.ts";

/**
 * Reserves `sizeBytes` of addresses, the first a multiple of `alignment` (a power of two, at least a page).
 * Nothing can be read or written there, and no memory is used. Whoever calls maps over it with MAP_FIXED,
 * which then cannot hit a mapping of somebody else.
 *
 * @param asked for the error: what the caller was asked, as it follows `Cannot`.
 * @param placement where it is asked to lie; undefined = anywhere
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
  // mmap aligns to pages alone. An aligned range lies somewhere in one that is longer by what may be skipped.
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
