/**
 * The right to lock pages, without which Windows gives no process large pages. An administrator grants it to an account
 * ("Lock pages in memory"). A process of that account then has the right, but switched off. A program in JavaScript
 * cannot switch it on, so this file does when large pages are asked for.
 */
import type { Address, Ffi, NativeFunction, NativeLibrary, NativeSignature } from "../../ffi/contract.ts";
import { JitError } from "../../base/errors.ts";
import type { Handle, Kernel32 } from "./kernel32.ts";
import { LastError } from "./last-error.ts";

/** `OpenProcessToken`: the access that is needed to switch privileges on or off. */
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

/** The part of advapi32.dll that is needed here; results as in {@link Kernel32}. */
export interface Advapi32 {
  /** Writes the handle to `token`, which has one element. */
  OpenProcessToken(process: Handle, access: number, token: BigUint64Array): number;
  /** Writes the local number of the privilege to `luid`, two words. */
  LookupPrivilegeValueW(system: Address, name: Uint16Array, luid: Uint32Array): number;
  /** Succeeds even where the process does not have the privilege: GetLastError is ERROR_NOT_ALL_ASSIGNED then. */
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

/** Switches the right on for this process. False where the process does not have it, or a call fails. */
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
