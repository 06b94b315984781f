/** One call of libc, for tests that ask the system itself what it allows. Linux alone. */
import type { NativeType } from "../../src/ffi/contract.ts";
import { LINUX_LIBC_NAMES } from "../../src/ffi/libc-names.ts";
import { systemFfi } from "../../src/ffi/select.ts";

/** What `mmap`, `mprotect` and `mremap` are told. */
export const READ = 1;
export const WRITE = 2;
export const EXECUTE = 4;
export const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
export const MREMAP_MAYMOVE = 1;
export const MADV_REMOVE = 9;

/** What a call that failed comes back with: the error number, negative, as the kernel has it. */
export const Refused = { EPERM: -1, EIO: -5, EACCES: -13, EFAULT: -14, EINVAL: -22, ENOSYS: -38 } as const;

/**
 * Calls a function of libc.
 *
 * @param types those of its parameters; lengths and flags that are C's `long` travel as pointers
 * @returns its result, or the error number, negative
 */
export function callLibc(name: string, types: readonly NativeType[], ...args: readonly unknown[]): number {
  const ffi = systemFfi();
  const call = ffi.open(LINUX_LIBC_NAMES).find(name, { parameters: [...types], result: "pointer" });
  if (call === undefined) return Refused.ENOSYS;
  const result = Number(call(...args));
  // What gives an int back leaves the upper half of the register alone.
  return result === -1 || result === 0xffff_ffff ? -ffi.errno() : result;
}

/** `mprotect`. */
export function protect(address: number, sizeBytes: number, protection: number): number {
  return callLibc("mprotect", ["pointer", "pointer", "i32"], address, sizeBytes, protection);
}

/** `mremap` of no bytes, which maps what is mapped there, if it is shared, a second time. Returns where. */
export function mapAgain(address: number, sizeBytes: number): number {
  const types = ["pointer", "pointer", "pointer", "i32", "pointer"] as const;
  return callLibc("mremap", types, address, 0, sizeBytes, MREMAP_MAYMOVE, 0);
}

/** `memcpy` to an address: a store of the processor's, that nobody checks. */
export function store(address: number, bytes: Uint8Array): void {
  callLibc("memcpy", ["pointer", "buffer", "pointer"], address, bytes, bytes.length);
}

/** `munmap`. */
export function unmap(address: number, sizeBytes: number): number {
  return callLibc("munmap", ["pointer", "pointer"], address, sizeBytes);
}
