/** The codes by which Windows refuses, and the library's errors for them. */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";
import type { Kernel32 } from "./kernel32.ts";

/** The codes of GetLastError that the functions of {@link Kernel32} are known to leave (winerror.h). */
export const LastError = {
  ERROR_TOO_MANY_OPEN_FILES: 4,
  ERROR_ACCESS_DENIED: 5,
  ERROR_INVALID_HANDLE: 6,
  ERROR_NOT_ENOUGH_MEMORY: 8,
  ERROR_OUTOFMEMORY: 14,
  ERROR_NOT_SUPPORTED: 50,
  ERROR_INVALID_PARAMETER: 87,
  ERROR_DISK_FULL: 112,
  ERROR_CALL_NOT_IMPLEMENTED: 120,
  ERROR_INVALID_ADDRESS: 487,
  ERROR_NOACCESS: 998,
  ERROR_NOT_ALL_ASSIGNED: 1300,
  ERROR_PRIVILEGE_NOT_HELD: 1314,
  ERROR_NO_SYSTEM_RESOURCES: 1450,
  ERROR_NONPAGED_SYSTEM_RESOURCES: 1451,
  ERROR_PAGED_SYSTEM_RESOURCES: 1452,
  ERROR_WORKING_SET_QUOTA: 1453,
  ERROR_PAGEFILE_QUOTA: 1454,
  ERROR_COMMITMENT_LIMIT: 1455,
  ERROR_DYNAMIC_CODE_BLOCKED: 1655,
  ERROR_NOT_ENOUGH_QUOTA: 1816,
} as const;

/** `ERROR_ACCESS_DENIED` for 5; `error 999` for a code without a name here. */
function lastErrorName(code: number): string {
  return Object.entries(LastError).find(([, known]) => known === code)?.[0] ?? `error ${code}`;
}

const codes: ReadonlyMap<number, JitErrorCode> = new Map<number, JitErrorCode>([
  [LastError.ERROR_NOT_ENOUGH_MEMORY, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_OUTOFMEMORY, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_DISK_FULL, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_NO_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_NONPAGED_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_PAGED_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_WORKING_SET_QUOTA, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_PAGEFILE_QUOTA, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_COMMITMENT_LIMIT, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_NOT_ENOUGH_QUOTA, "ERR_OUT_OF_MEMORY"],
  [LastError.ERROR_ACCESS_DENIED, "ERR_PERMISSION"],
  [LastError.ERROR_PRIVILEGE_NOT_HELD, "ERR_PERMISSION"],
  [LastError.ERROR_DYNAMIC_CODE_BLOCKED, "ERR_PERMISSION"],
  [LastError.ERROR_TOO_MANY_OPEN_FILES, "ERR_TOO_MANY_HANDLES"],
  [LastError.ERROR_INVALID_PARAMETER, "ERR_INVALID_ARGUMENT"],
  [LastError.ERROR_INVALID_ADDRESS, "ERR_INVALID_ARGUMENT"],
  [LastError.ERROR_NOACCESS, "ERR_INVALID_ARGUMENT"],
]);

const NO_COMMIT = "the system is out of memory, or the job of this process at its limit of committed memory";
/** The most frequent cause of each code, and the way out. */
const wayOut: ReadonlyMap<number, string> = new Map<number, string>([
  [LastError.ERROR_NOT_ENOUGH_MEMORY, NO_COMMIT],
  [LastError.ERROR_COMMITMENT_LIMIT, `${NO_COMMIT}; enlarge the page file`],
  [LastError.ERROR_ACCESS_DENIED, "a security policy forbids it (arbitrary code guard, or the antivirus)"],
  [
    LastError.ERROR_DYNAMIC_CODE_BLOCKED,
    "the process forbids dynamic code (arbitrary code guard, ProcessDynamicCodePolicy)",
  ],
  [
    LastError.ERROR_PRIVILEGE_NOT_HELD,
    'large pages need the right "Lock pages in memory" (SeLockMemoryPrivilege), enabled in the process',
  ],
]);

/**
 * The error for a function that has just failed. Asks for its code first, before other calls change it.
 *
 * @param asked the request, worded to follow `Cannot`.
 * @param advice what the caller knows beyond the code.
 */
export function lastError(kernel32: Kernel32, asked: string, name: string, advice?: string): JitError {
  const code = kernel32.GetLastError();
  const why = [wayOut.get(code), advice].filter((text) => text !== undefined).join("; ");
  return new JitError(
    codes.get(code) ?? "ERR_FEATURE_NOT_ENABLED",
    `Cannot ${asked}: ${name} failed with ${lastErrorName(code)} (${code})${why === "" ? "" : `; ${why}`}`,
    { syscall: name, errno: code },
  );
}
