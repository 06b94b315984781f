/** The numbers by which macOS refuses, and the library's errors for them. */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";

/** The meaning of a number: its name, the library's code for it, and its most frequent cause. */
interface Meaning {
  readonly name: string;
  readonly code: JitErrorCode;
  readonly why?: string;
}

const NO_ROOM = "the system is out of memory, or the process of addresses";
const FORBIDDEN =
  "the process is hardened: it must be signed with the entitlement com.apple.security.cs.allow-unsigned-executable-memory";
const NOT_THERE = "the range is not page-aligned, or not one that was mapped so";

/** The error numbers that `mmap`, `munmap` and `mprotect` of macOS leave (sys/errno.h). */
const errnos: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [1, { name: "EPERM", code: "ERR_PERMISSION", why: FORBIDDEN }],
  [12, { name: "ENOMEM", code: "ERR_OUT_OF_MEMORY", why: NO_ROOM }],
  [13, { name: "EACCES", code: "ERR_PERMISSION", why: FORBIDDEN }],
  [22, { name: "EINVAL", code: "ERR_INVALID_ARGUMENT", why: NOT_THERE }],
  [35, { name: "EAGAIN", code: "ERR_OUT_OF_MEMORY", why: NO_ROOM }],
  [45, { name: "ENOTSUP", code: "ERR_FEATURE_NOT_ENABLED" }],
]);

/** What the calls of Mach return (mach/kern_return.h). */
const kernReturns: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [1, { name: "KERN_INVALID_ADDRESS", code: "ERR_INVALID_ARGUMENT", why: NOT_THERE }],
  [2, { name: "KERN_PROTECTION_FAILURE", code: "ERR_PERMISSION", why: FORBIDDEN }],
  [3, { name: "KERN_NO_SPACE", code: "ERR_OUT_OF_MEMORY", why: NO_ROOM }],
  [4, { name: "KERN_INVALID_ARGUMENT", code: "ERR_INVALID_ARGUMENT", why: NOT_THERE }],
  [5, { name: "KERN_FAILURE", code: "ERR_FEATURE_NOT_ENABLED" }],
  [6, { name: "KERN_RESOURCE_SHORTAGE", code: "ERR_OUT_OF_MEMORY", why: NO_ROOM }],
  [8, { name: "KERN_NO_ACCESS", code: "ERR_PERMISSION", why: FORBIDDEN }],
  [46, { name: "KERN_NOT_SUPPORTED", code: "ERR_FEATURE_NOT_ENABLED" }],
  [53, { name: "KERN_DENIED", code: "ERR_PERMISSION", why: FORBIDDEN }],
]);

/**
 * The error for a call of POSIX that failed.
 *
 * @param asked the request, worded to follow `Cannot`.
 * @param advice the way out, where the caller knows a better one than the number suggests.
 */
export function posixError(asked: string, syscall: string, errno: number, advice?: string): JitError {
  return refusal(asked, syscall, errno, errnos.get(errno) ?? unknown(`errno ${errno}`), advice);
}

/** The error for a call of Mach that failed. The error's `errno` is the call's result. */
export function machError(asked: string, syscall: string, result: number, advice?: string): JitError {
  return refusal(asked, syscall, result, kernReturns.get(result) ?? unknown(`kern_return ${result}`), advice);
}

function unknown(name: string): Meaning {
  return { name, code: "ERR_FEATURE_NOT_ENABLED" };
}

function refusal(
  asked: string,
  syscall: string,
  errno: number,
  { name, code, why }: Meaning,
  advice: string | undefined,
): JitError {
  const remark = advice ?? why;
  return new JitError(
    code,
    `Cannot ${asked}: ${syscall} failed with ${name} (${errno})${remark === undefined ? "" : `; ${remark}`}`,
    { syscall, errno },
  );
}
