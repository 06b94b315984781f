/**
 * Virtual memory, as the allocator uses it and as a program can use it directly: asmjit's VirtMem.
 *
 * Here is no bookkeeping. Whoever maps memory must release it, once, and must not touch it afterwards: a view
 * through an FFI, or code that still runs there, takes the process down. JitAllocator is the safe way.
 *
 * All functions are thread-safe, as the calls of the system are; each thread binds them anew.
 */
import { JitError, describe, formatAddress } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
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
 * That it is not 0 does not mean that one is to be had.
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
 * @param flags what may be done with it. With none of `read`, `write` and `execute` the addresses are reserved and
 *   every access is a fault. `largePages` is a hint: without large pages the memory has regular ones.
 * @returns the address; give it back with {@link release} and the same size.
 * @throws JitError `ERR_INVALID_ARGUMENT` for a size or flags that can never be right; `ERR_OUT_OF_MEMORY` where the
 *   system has no room; `ERR_PERMISSION` where it forbids such memory.
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
 * Unmaps memory that {@link alloc} mapped, or whole pages of it. On Windows it must be all that one call mapped.
 *
 * @param address where it begins, a multiple of the page size.
 * @param size bytes, above 0 and a multiple of the page size. It must be memory of your own: the system unmaps
 *   whatever is there, JavaScript's heap included. (Windows refuses where it is not the size that was mapped.)
 * @throws JitError `ERR_INVALID_ARGUMENT` for an address or size that can never be right; `ERR_OUT_OF_MEMORY` where
 *   unmapping the middle of a mapping would make one mapping too many; `ERR_PERMISSION` where it is sealed.
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
 * Changes what may be done with mapped memory.
 *
 * @param address where it begins, a multiple of the page size.
 * @param size bytes, above 0 and a multiple of the page size.
 * @param flags `read`, `write` and `execute`; what is not set is taken away. The other flags mean nothing here.
 * @throws JitError `ERR_INVALID_ARGUMENT` for arguments that can never be right; `ERR_OUT_OF_MEMORY` where part of
 *   the range is not mapped, or the change would make one mapping too many; `ERR_PERMISSION` where the system
 *   forbids it: the executable view of a dual mapping, for one, can never be made writable on Linux.
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
 * Maps new memory twice: `rx` can be read and executed, `rw` read and written, and what is written through `rw` is
 * there at `rx`. So code can be changed and run without any page being writable and executable.
 *
 * @param size bytes of each view, above 0 and a multiple of the page granularity.
 * @param flags `largePages` (a hint) and `preferTmp`. The access of each view is fixed; `read`, `write` and `execute`
 *   change nothing.
 * @returns both addresses; give them back with {@link releaseDualMapping} and the same size.
 * @throws JitError `ERR_INVALID_ARGUMENT` for a size or flags that can never be right; `ERR_OUT_OF_MEMORY` where there
 *   is no room; `ERR_TOO_MANY_HANDLES` where no descriptor is left to make it with; `ERR_PERMISSION` or
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
 * @param mapping what {@link allocDualMapping} returned.
 * @param size the size it was made with, in bytes.
 * @throws JitError `ERR_INVALID_ARGUMENT` for addresses or a size that can never be right, also views that overlap;
 *   `ERR_PERMISSION` where they are sealed.
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
 * Makes code that was written safe to run, on every core. x86-64 needs nothing; on AArch64 code that was
 * not flushed may run as it was before.
 *
 * @param address the executable address (rx) where the changed code begins; any alignment.
 * @param size bytes, 0 or more.
 * @throws JitError `ERR_INVALID_ARGUMENT` for an address or size that can never be right; `ERR_FEATURE_NOT_ENABLED`
 *   where the processor needs a flush that the system does not offer.
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
 * What this process may do with executable memory, found out by doing it and undoing it.
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
 * Switches the calling thread's access to MAP_JIT memory. Where there is none (everywhere but macOS on AArch64) it
 * does nothing. There "read-execute" is how it always is, and the other is refused: JavaScript's own code is in such
 * memory, and could not go on.
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

// ---- Checks, all made before the system is asked ------------------------------------------------------------------

/** 2**48: what AArch64 has of addresses in user space (x86-64 has half of that), unless more are asked for. */
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

/** The flags, checked. Each is read once: a getter must not be able to give another value after the check. */
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
