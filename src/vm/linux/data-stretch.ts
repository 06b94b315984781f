/**
 * Data in a range. The executable view of a range is of a file opened for reading alone, and never becomes writable. So data
 * has anonymous memory, which is mapped over the stretch: all threads of the process have it, a child after a fork gets a
 * copy. Whoever maps nothing but what lies in the range replaces nobody's memory.
 *
 * Each step may be repeated, in whatever state a thread that died left the stretch.
 */
import type { Address } from "../../ffi/contract.ts";
import { formatAddress } from "../../base/errors.ts";
import { attempt, insisting } from "../attempts.ts";
import { systemError } from "./errno.ts";
import { Advice, MAP_FAILED, MapFlag, Protection, READ_WRITE } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/**
 * Maps nothing over a stretch: addresses without memory and without access. Never throws. The system accounts for no memory
 * here, so that it cannot refuse after it has taken away what was mapped before.
 * @returns whether it is so now
 */
export function makeNothing(libc: LinuxLibc, address: Address, sizeBytes: number): boolean {
  const flags = MapFlag.PRIVATE | MapFlag.ANONYMOUS | MapFlag.NORESERVE | MapFlag.FIXED;
  const map = (): Address => libc.mmap(address, sizeBytes, Protection.NONE, flags, -1, 0);
  const mapped = attempt(insisting(map)) ?? MAP_FAILED;
  return mapped !== MAP_FAILED;
}

/** Makes a stretch readable and writable memory, which reads as zero. @throws JitError; the stretch is nothing then */
export function openData(libc: LinuxLibc, address: Address, sizeBytes: number): void {
  const asked = `make ${sizeBytes} bytes at ${formatAddress(address)} usable for data`;
  if (!makeNothing(libc, address, sizeBytes)) throw systemError(asked, "mmap", libc.errno());
  if (libc.mprotect(address, sizeBytes, READ_WRITE) !== 0) throw systemError(asked, "mprotect", libc.errno());
}

/** Gives back the memory of a stretch to which nobody has access any more. Never throws. @returns whether it has none now */
export function closeData(libc: LinuxLibc, address: Address, sizeBytes: number): boolean {
  return attempt(insisting(() => libc.madvise(address, sizeBytes, Advice.DONTNEED))) === 0;
}

/** Gives back the memory of a part of a stretch that stays usable; it reads as zero from then on. */
export function discardData(libc: LinuxLibc, address: Address, sizeBytes: number): boolean {
  return libc.madvise(address, sizeBytes, Advice.DONTNEED) === 0;
}
