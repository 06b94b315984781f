/**
 * The right to lock pages, without which Windows gives nobody large ones. An administrator grants it to an account
 * ("Lock pages in memory"); a process of that account then has it, switched off, and must switch it on. A program in
 * JavaScript cannot do that by itself, so it is done here, when large pages are asked for.
 */
import type { Address, Ffi, NativeFunction, NativeLibrary, NativeSignature } from "../../ffi/contract.ts";
import { JitError } from "../../base/errors.ts";
import type { Handle, Kernel32 } from "./kernel32.ts";
import { LastError } from "./last-error.ts";

/** `OpenProcessToken`: to change which of its privileges are switched on. */
const TOKEN_ADJUST_PRIVILEGES = 0x20;

/** SeLockMemoryPrivilege, as UTF-16 with a zero after it. */
const PRIVILEGE_NAME = Uint16Array.from("SeLockMemoryPrivilege\0", (letter) => letter.charCodeAt(0));

/**
 * TOKEN_PRIVILEGES with one privilege, in 32-bit words:
 *
 *     0       1                  3
 *     ├ count ┼ LUID (2 words) ──┼ attributes ┤
 */
const TokenPrivileges = { WORDS: 4, COUNT: 0, LUID: 1, ATTRIBUTES: 3, ENABLED: 2 } as const;

/** advapi32.dll, as far as it is needed here; results as in {@link Kernel32}. */
export interface Advapi32 {
  /** Leaves the handle in `token`, one element. */
  OpenProcessToken(process: Handle, access: number, token: BigUint64Array): number;
  /** Leaves the local number of the privilege in `luid`, two words. */
  LookupPrivilegeValueW(system: Address, name: Uint16Array, luid: Uint32Array): number;
  /** Succeeds too where the process has not got the privilege: then GetLastError is ERROR_NOT_ALL_ASSIGNED. */
  AdjustTokenPrivileges(
    token: Handle,
    disableAll: number,
    privileges: Uint32Array,
    previousBytes: number,
    previous: Address,
    neededBytes: Address,
  ): number;
}

/** Binds advapi32.dll through `ffi`. Each function is looked up when it is first called. */
export function bindAdvapi32(ffi: Pick<Ffi, "open">): Advapi32 {
  let advapi32: NativeLibrary | undefined;
  const bind = (symbol: keyof Advapi32, parameters: NativeSignature["parameters"]) => {
    let bound: NativeFunction | undefined;
    return (...args: readonly unknown[]): number => {
      bound ??= (advapi32 ??= ffi.open(["advapi32.dll"])).find(symbol, { parameters, result: "i32" });
      if (bound === undefined) {
        throw new JitError(
          "ERR_FEATURE_NOT_ENABLED",
          `Cannot use large pages: advapi32.dll has no ${symbol}`,
        );
      }
      return bound(...args) as number;
    };
  };
  const OpenProcessToken = bind("OpenProcessToken", ["pointer", "u32", "buffer"]);
  const LookupPrivilegeValueW = bind("LookupPrivilegeValueW", ["pointer", "buffer", "buffer"]);
  const AdjustTokenPrivileges = bind("AdjustTokenPrivileges", [
    ...(["pointer", "i32", "buffer", "u32", "pointer", "pointer"] as const),
  ]);
  return {
    OpenProcessToken: (process, access, token) => OpenProcessToken(process, access, token),
    LookupPrivilegeValueW: (system, name, luid) => LookupPrivilegeValueW(system, name, luid),
    AdjustTokenPrivileges: (...args) => AdjustTokenPrivileges(...args),
  };
}

/** Switches the right on for this process. False where it has not got it, or anything else is in the way. */
export function mayLockPages(kernel32: Kernel32, advapi32: Advapi32): boolean {
  const token = new BigUint64Array(1);
  if (advapi32.OpenProcessToken(kernel32.GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, token) === 0) {
    return false;
  }
  const handle = Number(token[0]);
  try {
    const privileges = new Uint32Array(TokenPrivileges.WORDS);
    privileges[TokenPrivileges.COUNT] = 1;
    privileges[TokenPrivileges.ATTRIBUTES] = TokenPrivileges.ENABLED;
    const luid = privileges.subarray(TokenPrivileges.LUID, TokenPrivileges.ATTRIBUTES);
    if (advapi32.LookupPrivilegeValueW(0, PRIVILEGE_NAME, luid) === 0) return false;
    const isDone = advapi32.AdjustTokenPrivileges(handle, 0, privileges, 0, 0, 0) !== 0;
    return isDone && kernel32.GetLastError() !== LastError.ERROR_NOT_ALL_ASSIGNED;
  } finally {
    kernel32.CloseHandle(handle);
  }
}
