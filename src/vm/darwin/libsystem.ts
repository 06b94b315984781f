/**
 * The calls of libSystem that macOS memory uses, and nothing else. Each method makes one call and returns its raw result.
 * Tests put a fake of this interface in place of the system.
 */
import type { Address, Ffi, NativeFunction, NativeLibrary, NativeSignature } from "../../ffi/contract.ts";
import { JitError } from "../../base/errors.ts";
import { insisting } from "../attempts.ts";

/** What may be done with a page: `mmap`, `mprotect` and the calls of Mach use the same bits. */
export const Protection = { NONE: 0, READ: 1, WRITE: 2, EXECUTE: 4 } as const;

/** `mmap` flags. JIT: memory for code made at run time, the only kind that a hardened process may both write and run. */
export const MapFlag = { PRIVATE: 0x0002, JIT: 0x0800, ANONYMOUS: 0x1000 } as const;

/** What `mmap` returns when it fails. */
export const MAP_FAILED = -1;

/** `mach_vm_remap` flags. OVERWRITE: replaces what is mapped at the fixed address. */
export const RemapFlag = { FIXED: 0x0, OVERWRITE: 0x4000 } as const;

/** `mach_vm_remap`: what a child process made by fork sees of the view. */
export const Inheritance = { NONE: 2 } as const;

/** A name of a Mach port. */
export type Port = number;

/** What the calls of Mach return when they succeed. */
export const KERN_SUCCESS = 0;

/**
 * The part of libSystem that is needed here. The calls of POSIX return −1 when they fail, and {@link errno} tells why;
 * errno must be read before anything else is called. The calls of Mach return {@link KERN_SUCCESS}, or the reason of
 * their failure.
 */
export interface LibSystem {
  errno(): number;
  /** Bytes: 4096 on Intel, 16384 on Apple silicon. Never fails. */
  getpagesize(): number;
  mmap(
    address: Address,
    sizeBytes: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): Address;
  munmap(address: Address, sizeBytes: number): number;
  mprotect(address: Address, sizeBytes: number, protection: number): number;
  /** This process. Never fails. Each call takes a reference of the port: ask once. */
  mach_task_self(): Port;
  /**
   * Maps the pages at `source` a second time.
   * @param target one element. In: the address asked for; out: the address that was chosen. `protection` and
   *   `maximumProtection` have one element each too, and receive protections.
   * @param copy 0 = the same memory; 1 = a copy.
   */
  mach_vm_remap(
    task: Port,
    target: BigUint64Array,
    sizeBytes: number,
    alignmentMask: number,
    flags: number,
    sourceTask: Port,
    source: Address,
    copy: number,
    protection: Int32Array,
    maximumProtection: Int32Array,
    inheritance: number,
  ): number;
  /** @param setMaximum 1 = sets the maximum protection, and cuts the current one down to it; 0 = sets the current one. */
  mach_vm_protect(
    task: Port,
    address: Address,
    sizeBytes: number,
    setMaximum: number,
    protection: number,
  ): number;
  /** Cleans the data cache and invalidates the instruction cache. Never fails. */
  sys_icache_invalidate(address: Address, sizeBytes: number): void;
  /** memcpy, to an address and from one. Never fails. */
  memcpyIn(address: Address, bytes: Uint8Array, sizeBytes: number): void;
  memcpyOut(bytes: Uint8Array, address: Address, sizeBytes: number): void;
}

/** The library that every program has. The file itself lies in the shared cache of dyld, which finds it by its name. */
const LIBSYSTEM_NAMES = ["/usr/lib/libSystem.B.dylib", "libSystem.B.dylib"];

/**
 * Binds libSystem through `ffi`. Each function is looked up when it is first called.
 * `size_t`, `off_t` and the `mach_vm_*_t` are passed as `pointer`, the only integer type of their width whose values are
 * numbers.
 */
export function bindLibSystem(ffi: Pick<Ffi, "open" | "errno">): LibSystem {
  let library: NativeLibrary | undefined;
  const bind = (
    symbol: Exclude<keyof LibSystem, "errno" | "memcpyIn" | "memcpyOut"> | "memcpy",
    parameters: NativeSignature["parameters"],
    result: NativeSignature["result"] = "i32",
  ): ((...args: readonly unknown[]) => number) => {
    let bound: NativeFunction | undefined;
    return (...args) => {
      bound ??= (library ??= ffi.open(LIBSYSTEM_NAMES)).find(symbol, { parameters, result });
      if (bound === undefined) {
        throw new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot make memory: libSystem has no ${symbol}`);
      }
      return bound(...args) as number;
    };
  };

  const getpagesize = bind("getpagesize", []);
  const mmap = bind("mmap", ["pointer", "pointer", "i32", "i32", "i32", "pointer"], "pointer");
  const munmap = insisting(bind("munmap", ["pointer", "pointer"]));
  const mprotect = bind("mprotect", ["pointer", "pointer", "i32"]);
  const machTaskSelf = bind("mach_task_self", [], "u32");
  const machVmRemap = bind("mach_vm_remap", [
    ...(["u32", "buffer", "pointer", "pointer", "i32"] as const),
    ...(["u32", "pointer", "i32", "buffer", "buffer", "u32"] as const),
  ]);
  const machVmProtect = bind("mach_vm_protect", ["u32", "pointer", "pointer", "i32", "i32"]);
  const sysIcacheInvalidate = bind("sys_icache_invalidate", ["pointer", "pointer"], "void");
  const memcpyIn = bind("memcpy", ["pointer", "buffer", "pointer"], "void");
  const memcpyOut = bind("memcpy", ["buffer", "pointer", "pointer"], "void");

  return {
    errno: () => ffi.errno(),
    getpagesize: () => getpagesize(),
    mmap: (address, sizeBytes, protection, flags, descriptor, offset) =>
      mmap(address, sizeBytes, protection, flags, descriptor, offset),
    munmap: (address, sizeBytes) => munmap(address, sizeBytes),
    mprotect: (address, sizeBytes, protection) => mprotect(address, sizeBytes, protection),
    mach_task_self: () => machTaskSelf(),
    mach_vm_remap: (...args) => machVmRemap(...args),
    mach_vm_protect: (task, address, sizeBytes, setMaximum, protection) =>
      machVmProtect(task, address, sizeBytes, setMaximum, protection),
    sys_icache_invalidate: (address, sizeBytes) => void sysIcacheInvalidate(address, sizeBytes),
    memcpyIn: (address, bytes, sizeBytes) => void memcpyIn(address, bytes, sizeBytes),
    memcpyOut: (bytes, address, sizeBytes) => void memcpyOut(bytes, address, sizeBytes),
  };
}
