/** Pages for machine code of this library's own. */
import type { JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/**
 * Puts code into a page of its own, which stays until the process ends: other threads may be running it. The page is
 * written before it becomes executable, and is never writable and executable at once. No cache needs clearing: the kernel
 * does that for a page that becomes executable.
 *
 * @param refusal makes the error for a refused call (some systems refuse to make written memory executable); nothing is
 *   left behind then
 */
export function makeRoutinePage(
  libc: LinuxLibc,
  code: Uint8Array,
  refusal: (syscall: string, errno: number) => JitError,
): Address {
  const sizeBytes = libc.getpagesize();
  const access = Protection.READ | Protection.WRITE;
  const address = libc.mmap(0, sizeBytes, access, MapFlag.PRIVATE | MapFlag.ANONYMOUS, -1, 0);
  if (address === MAP_FAILED) throw refusal("mmap", libc.errno());
  try {
    libc.memcpyIn(address, code, code.length);
    if (libc.mprotect(address, sizeBytes, Protection.READ | Protection.EXEC) !== 0) {
      throw refusal("mprotect", libc.errno());
    }
  } catch (error) {
    libc.munmap(address, sizeBytes);
    throw error;
  }
  return address;
}
