/**
 * Maps and unmaps virtual memory, with the functions that the allocator itself uses: asmjit's VirtMem.
 *
 * These functions keep no books. A program must release what it maps, once, and must not touch it afterwards: access
 * through a view of an FFI, or code that still runs there, crashes the process. JitAllocator is the safe way.
 *
 * All functions are thread-safe, as the system's calls are; each thread binds them anew.
 */
import { JitError, describe, formatAddress } from "../base/errors.ts";
import { isUint8Array, kindOfBytes, typedArrayLength } from "../base/intrinsics.ts";
import type { Address } from "../ffi/contract.ts";
import { stringAt } from "../link/c-memory.ts";
import type { DualMapping, HardenedRuntimeInfo, MemoryFlags, MemoryInfo } from "../vm/contract.ts";
import { systemMemory } from "../vm/select.ts";

export type { Address } from "../ffi/contract.ts";
export type { DualMapping, HardenedRuntimeInfo, MemoryFlags, MemoryInfo } from "../vm/contract.ts";

/**
 * The page sizes of this machine, in bytes: `pageSize` is the unit of protection, `pageGranularity` the unit and
 * alignment of a mapping (the same, except on Windows).
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where the system is not supported, or no native code can be called.
 * @example
 * ```ts
 * VirtMem.info(); // { pageSize: 4096, pageGranularity: 4096 }
 * ```
 */
export function info(): MemoryInfo {
  return systemMemory().info();
}

/**
 * The size of a large page in bytes (2 MiB on most machines), 0 where there are none.
 * A size above 0 does not promise that the system has such a page to give.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` as {@link info}.
 * @example
 * ```ts
 * const size = VirtMem.largePageSize() || VirtMem.info().pageSize;
 * ```
 */
export function largePageSize(): number {
  return systemMemory().largePageSize();
}

/**
 * Maps new memory, all zero, at an address of the system's choice.
 * Memory is writable and executable at once only if both flags are set.
 *
 * @param size bytes, above 0 and a multiple of the page granularity.
 * @param flags the access that is allowed. With none of `read`, `write` and `execute` the addresses are reserved and
 *   every access is a fault. `largePages` is a hint: without large pages the memory has regular ones.
 * @returns the address; unmap it with {@link release} and the same size.
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid size or invalid flags; `ERR_OUT_OF_MEMORY` where the system has
 *   no room; `ERR_PERMISSION` where it forbids such memory.
 * @example
 * ```ts
 * const { pageSize } = VirtMem.info();
 * const address = VirtMem.alloc(pageSize, { read: true, write: true });
 * VirtMem.protect(address, pageSize, { read: true, execute: true });
 * VirtMem.release(address, pageSize);
 * ```
 */
export function alloc(size: number, flags: MemoryFlags): Address {
  const memory = systemMemory();
  checkSize("map memory", size, memory.info().pageGranularity);
  return memory.alloc(size, readFlags("map memory", flags));
}

/**
 * Unmaps memory that {@link alloc} mapped, or whole pages of it. On Windows the range must be all that one call mapped.
 *
 * @param address the start of the range, a multiple of the page size.
 * @param size bytes, above 0 and a multiple of the page size. The range must be yours: the system unmaps whatever is
 *   there, JavaScript's heap included. (Windows refuses any size but the one that was mapped.)
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid address or size; `ERR_OUT_OF_MEMORY` where unmapping the middle
 *   of a mapping would make more mappings than the system allows; `ERR_PERMISSION` where the memory is sealed.
 * @example
 * ```ts
 * VirtMem.release(address, 65536);
 * ```
 */
export function release(address: Address, size: number): void {
  const memory = systemMemory();
  const { pageSize } = memory.info();
  checkRange("unmap memory", "address", address, size, pageSize);
  memory.release(address, size);
}

/**
 * Changes the access that mapped memory allows.
 *
 * @param address the start of the range, a multiple of the page size.
 * @param size bytes, above 0 and a multiple of the page size.
 * @param flags `read`, `write` and `execute`: those not set are taken away. The other flags have no effect.
 * @throws JitError `ERR_INVALID_ARGUMENT` for invalid arguments; `ERR_OUT_OF_MEMORY` where part of the range is not
 *   mapped, or the change would make more mappings than the system allows; `ERR_PERMISSION` where the system forbids
 *   it: on Linux, for example, the executable view of a dual mapping can never be made writable.
 * @example
 * ```ts
 * VirtMem.protect(address, 4096, { read: true, execute: true });
 * ```
 */
export function protect(address: Address, size: number, flags: MemoryFlags): void {
  const memory = systemMemory();
  checkRange("change the protection", "address", address, size, memory.info().pageSize);
  memory.protect(address, size, readFlags("change the protection", flags));
}

/**
 * Maps new memory twice: `rx` can be read and executed, `rw` read and written. What is written through `rw` appears at
 * `rx`, so code can be changed and run though no page is both writable and executable.
 *
 * @param size bytes of each view, above 0 and a multiple of the page granularity.
 * @param flags `largePages` (a hint) and `preferTmp`. The access of each view is fixed; `read`, `write` and `execute`
 *   change nothing.
 * @returns both addresses; unmap them with {@link releaseDualMapping} and the same size.
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid size or invalid flags; `ERR_OUT_OF_MEMORY` where there is no
 *   room; `ERR_TOO_MANY_HANDLES` where the process has no file descriptor left; `ERR_PERMISSION` or
 *   `ERR_FEATURE_NOT_ENABLED` where every way was refused: the message lists each with its reason.
 * @example
 * ```ts
 * const { rx, rw } = VirtMem.allocDualMapping(65536, {});
 * VirtMem.releaseDualMapping({ rx, rw }, 65536);
 * ```
 */
export function allocDualMapping(size: number, flags: MemoryFlags): DualMapping {
  const memory = systemMemory();
  checkSize("map memory twice", size, memory.info().pageGranularity);
  return memory.allocDualMapping(size, readFlags("map memory twice", flags));
}

/**
 * Unmaps both views of a dual mapping.
 *
 * @param mapping the addresses that {@link allocDualMapping} returned.
 * @param size the size it was made with, in bytes.
 * @throws JitError `ERR_INVALID_ARGUMENT` for invalid addresses or an invalid size, also for views that overlap;
 *   `ERR_PERMISSION` where the views are sealed.
 * @example
 * ```ts
 * VirtMem.releaseDualMapping(mapping, 65536);
 * ```
 */
export function releaseDualMapping(mapping: DualMapping, size: number): void {
  const memory = systemMemory();
  const { pageSize } = memory.info();
  const asked = "unmap a dual mapping";
  // A program without types may pass anything.
  const given: unknown = mapping;
  if (typeof given !== "object" || given === null) {
    throw invalid(asked, `the mapping must be an object with rx and rw, but is ${describe(given)}`);
  }
  // Read once: a getter must not be able to give another address after the checks.
  const { rx, rw } = mapping;
  checkRange(asked, "rx", rx, size, pageSize);
  checkRange(asked, "rw", rw, size, pageSize);
  if (Math.abs(rx - rw) < size) {
    throw invalid(
      asked,
      `the views at ${formatAddress(rx)} and ${formatAddress(rw)} of ${size} bytes overlap; ` +
        "a mapping with one address is given back with release",
    );
  }
  memory.releaseDualMapping({ rx, rw }, size);
}

/**
 * Makes written code safe to run, on every core. x86-64 needs no flush; on AArch64 a core may otherwise run the code
 * that was there before.
 *
 * @param address the executable address (rx) where the changed code begins; any alignment.
 * @param size bytes, 0 or more.
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid address or size; `ERR_FEATURE_NOT_ENABLED` where the processor
 *   needs a flush that the system does not offer.
 * @example
 * ```ts
 * VirtMem.flushInstructionCache(rx, code.length);
 * ```
 */
export function flushInstructionCache(address: Address, size: number): void {
  const asked = "flush the instruction cache";
  if (!Number.isSafeInteger(size) || size < 0) {
    throw invalid(asked, `the size must be an integer of 0 or more bytes, but is ${describe(size)}`);
  }
  checkAddress(asked, "address", address, size, 1);
  if (size !== 0) systemMemory().flushInstructionCache(address, size);
}

/**
 * Finds out what this process may do with executable memory, by doing it and undoing it.
 * `enabled`: memory cannot be writable and executable at once. `mapJit`: MAP_JIT can be used (macOS).
 * `dualMapping`: {@link allocDualMapping} works.
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` as {@link info}.
 * @example
 * ```ts
 * const { enabled, dualMapping } = VirtMem.hardenedRuntimeInfo();
 * ```
 */
export function hardenedRuntimeInfo(): HardenedRuntimeInfo {
  return systemMemory().hardenedRuntimeInfo();
}

/**
 * Switches the calling thread's access to MAP_JIT memory. Does nothing where there is no such memory, which is everywhere
 * but on macOS on AArch64. There the access always is "read-execute", and "read-write" is refused: JavaScript's own code
 * lies in such memory, and could not go on.
 *
 * @throws JitError `ERR_INVALID_ARGUMENT` for any other word; `ERR_FEATURE_NOT_ENABLED` for "read-write" on macOS on
 *   AArch64.
 * @example
 * ```ts
 * VirtMem.protectJitMemory("read-execute");
 * ```
 */
export function protectJitMemory(access: "read-write" | "read-execute"): void {
  if (access !== "read-write" && access !== "read-execute") {
    throw invalid(
      "switch JIT memory",
      `the access must be "read-write" or "read-execute", but is ${describe(access)}`,
    );
  }
  systemMemory().protectJitMemory(access);
}

/**
 * Copies bytes from an address, whoever they belong to. Nothing checks that the memory is there and readable: the process
 * crashes where it is not. `Span.read` is the checked way.
 *
 * @param length bytes; of 0 the address alone is checked, and nothing is read.
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid address or length; `ERR_OUT_OF_MEMORY` where there is no memory for
 *   the copy.
 * @example
 * ```ts
 * const code = VirtMem.read(nativeSymbol("malloc"), 16);
 * ```
 */
export function read(address: Address, length: number): Uint8Array {
  const asked = "read memory";
  if (!Number.isSafeInteger(length) || length < 0) {
    throw invalid(asked, `the length must be an integer of 0 or more bytes, but is ${describe(length)}`);
  }
  checkAddress(asked, "address", address, length, 1);
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(length);
  } catch (cause) {
    throw new JitError(
      "ERR_OUT_OF_MEMORY",
      `Cannot ${asked}: there is no memory for a copy of ${length} bytes`,
      { cause },
    );
  }
  if (length > 0) systemMemory().copyOut(address, bytes);
  return bytes;
}

/**
 * Copies bytes to an address, whoever it belongs to. Nothing checks that the memory is there and writable: the process
 * crashes where it is not, or later, where it was another's. `Span.write` is the checked way. Code that is written this way
 * needs {@link flushInstructionCache}.
 *
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid address, or what is no Uint8Array with its memory.
 * @example
 * ```ts
 * VirtMem.write(address, new Uint8Array(8)); // a counter, set to zero
 * ```
 */
export function write(address: Address, bytes: Uint8Array): void {
  const asked = "write memory";
  if (!isUint8Array(bytes) || kindOfBytes(bytes) === "lost") {
    throw invalid(asked, `the bytes must be a Uint8Array that has its memory, but are ${describe(bytes)}`);
  }
  const length = typedArrayLength(bytes);
  checkAddress(asked, "address", address, length, 1);
  if (length > 0) systemMemory().copyIn(address, bytes, length);
}

/**
 * The string of C at an address: its bytes up to a zero, as UTF-8, where what is no UTF-8 becomes U+FFFD. Nothing checks
 * that the memory is there and readable: the process crashes where it is not.
 *
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid address.
 * @example
 * ```ts
 * VirtMem.write(address, Uint8Array.of(0x68, 0x69, 0));
 * VirtMem.cstring(address); // "hi"
 * ```
 */
export function cstring(address: Address): string {
  checkAddress("read a string", "address", address, 1, 1);
  return stringAt(systemMemory(), address);
}

// ---- Checks, all made before the system is asked ------------------------------------------------------------------

/** The end of AArch64's user-space addresses, unless a program asks for more; x86-64 has half as many. */
const ADDRESS_LIMIT = 2 ** 48;

const FLAG_NAMES = [
  "read",
  "write",
  "execute",
  "largePages",
  "preferTmp",
] as const satisfies (keyof MemoryFlags)[];

function invalid(asked: string, reason: string): JitError {
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot ${asked}: ${reason}`);
}

function checkSize(asked: string, size: number, unitBytes: number): void {
  if (!Number.isSafeInteger(size) || size <= 0 || size >= ADDRESS_LIMIT) {
    throw invalid(
      asked,
      `the size must be a positive integer of bytes below 2**48, but is ${describe(size)}`,
    );
  }
  if (size % unitBytes !== 0) {
    const rounded = Math.ceil(size / unitBytes) * unitBytes;
    throw invalid(
      asked,
      `the size must be a multiple of ${unitBytes} bytes, but is ${size}; round it up to ${rounded}`,
    );
  }
}

function checkAddress(asked: string, what: string, address: number, size: number, alignment: number): void {
  if (!Number.isSafeInteger(address) || address <= 0 || address + size > ADDRESS_LIMIT) {
    throw invalid(
      asked,
      `${what} must be an address (an integer above 0 and below 2**48), but is ${describe(address)}`,
    );
  }
  if (address % alignment !== 0) {
    throw invalid(asked, `${what} must be a multiple of ${alignment}, but is ${formatAddress(address)}`);
  }
}

function checkRange(asked: string, what: string, address: number, size: number, pageSize: number): void {
  checkSize(asked, size, pageSize);
  checkAddress(asked, what, address, size, pageSize);
}

/** Checks the flags and copies them. Each is read once: a getter must not give another value after the check. */
function readFlags(asked: string, flags: MemoryFlags): MemoryFlags {
  const given: unknown = flags;
  if (typeof given !== "object" || given === null) {
    throw invalid(asked, `the flags must be an object such as { read: true }, but are ${describe(given)}`);
  }
  const strange = Object.keys(given).find((name) => !FLAG_NAMES.some((known) => known === name));
  if (strange !== undefined) {
    throw invalid(
      asked,
      `there is no flag ${JSON.stringify(strange)}; the flags are ${FLAG_NAMES.join(", ")}`,
    );
  }
  const checked: { -readonly [name in keyof MemoryFlags]: boolean } = {};
  for (const name of FLAG_NAMES) {
    const value: unknown = flags[name];
    if (value === undefined) continue;
    if (typeof value !== "boolean") {
      throw invalid(asked, `the flag ${name} must be a boolean, but is ${describe(value)}`);
    }
    checked[name] = value;
  }
  return checked;
}
