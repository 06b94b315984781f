/**
 * The calls of libc that Linux memory uses, and nothing else. Each method makes one call and returns its raw result.
 * Tests put a fake of this interface in place of the system.
 */
import type { Address, Ffi, NativeFunction, NativeLibrary, NativeSignature } from "../../ffi/contract.ts";
import { cString, RememberedCString } from "../../ffi/c-string.ts";
import { LINUX_LIBC_NAMES } from "../../ffi/libc-names.ts";
import { insisting } from "../attempts.ts";
import { Errno } from "./errno.ts";

/** `mmap` and `mprotect`: what may be done with a page. */
export const Protection = { NONE: 0, READ: 1, WRITE: 2, EXEC: 4 } as const;
export const READ_WRITE = Protection.READ | Protection.WRITE;
export const READ_EXECUTE = Protection.READ | Protection.EXEC;

/** `mmap` flags. HUGE_SHIFT: the base-2 logarithm of a large page's size stands in the bits from 26 up. */
export const MapFlag = {
  SHARED: 0x01,
  PRIVATE: 0x02,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  NORESERVE: 0x4000,
  HUGETLB: 0x4_0000,
  HUGE_SHIFT: 26,
} as const;

/** What `mmap` returns when it fails. */
export const MAP_FAILED = -1;

/** `memfd_create` flags. EXEC and NOEXEC_SEAL exist from Linux 6.3, and older kernels refuse them with EINVAL. */
export const Memfd = {
  CLOEXEC: 0x1,
  ALLOW_SEALING: 0x2,
  HUGETLB: 0x4,
  NOEXEC_SEAL: 0x8,
  EXEC: 0x10,
} as const;

/** `fcntl`: the command that seals a memfd, and its seals. FUTURE_WRITE exists from Linux 5.1. */
export const Seal = { ADD_SEALS: 1033, SEAL: 0x1, SHRINK: 0x2, GROW: 0x4, FUTURE_WRITE: 0x10 } as const;

/** `open` and `shm_open` flags; without RDWR a file is opened for reading alone. */
export const Open = { RDWR: 0o2, CREAT: 0o100, EXCL: 0o200, CLOEXEC: 0o2000000 } as const;

/**
 * `madvise` advice. DONTNEED gives back the pages of anonymous memory, REMOVE those of a file, through a view that is shared and
 * writable. POPULATE_WRITE exists from Linux 5.14, COLLAPSE from 6.1.
 */
export const Advice = { DONTNEED: 4, REMOVE: 9, HUGEPAGE: 14, POPULATE_WRITE: 23, COLLAPSE: 25 } as const;

/** `getrlimit` resources (the same on every processor this library knows). */
export const Resource = { FSIZE: 1, NOFILE: 7, AS: 9 } as const;

/**
 * The part of libc that is needed here. Unless a method says otherwise, −1 means that the call failed and {@link errno}
 * tells why; errno must be read before anything else is called. A function that this libc does not have fails with
 * ENOSYS.
 */
export interface LinuxLibc {
  errno(): number;
  /** Bytes. Never fails. */
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
  madvise(address: Address, sizeBytes: number, advice: number): number;
  /** From Linux 6.10 on: no later call changes the access of the pages, unmaps them or maps over them. */
  mseal(address: Address, sizeBytes: number): number;
  /** Takes a protection key, with those rights for the calling thread. Returns its number. x86-64 alone: the numbers are its. */
  pkey_alloc(flags: number, rights: number): number;
  pkey_free(key: number): number;
  /** `mprotect`, which gives the pages that key too. */
  pkey_mprotect(address: Address, sizeBytes: number, protection: number, key: number): number;
  /** Writes one byte a page to `pages`, of which bit 0 says whether the page is in memory. */
  mincore(address: Address, sizeBytes: number, pages: Uint8Array): number;
  memfd_create(name: string, flags: number): number;
  shm_open(name: string, flags: number, mode: number): number;
  shm_unlink(name: string): number;
  open(path: string, flags: number, mode: number): number;
  unlink(path: string): number;
  ftruncate(descriptor: number, sizeBytes: number): number;
  /** Returns 0 or the error number itself, and leaves errno alone. */
  posix_fallocate(descriptor: number, offset: number, sizeBytes: number): number;
  fcntl(descriptor: number, command: number, argument: number): number;
  /** The descriptor is gone even when this fails (Linux). */
  close(descriptor: number): number;
  /** Looks up every function now; otherwise each is looked up at its first call. */
  prepare(): void;
  memcpyIn(address: Address, bytes: Uint8Array, sizeBytes: number): void;
  memcpyOut(bytes: Uint8Array, address: Address, sizeBytes: number): void;
  /** The native id of the calling thread. */
  gettid(): number;
  /** Signal 0 only asks whether the thread is there. */
  tgkill(process: number, thread: number, signal: number): number;
  /** Writes the soft and the hard limit to `result`; all bits set = unlimited. */
  getrlimit(resource: number, result: BigUint64Array): number;
}

/** The number of `mseal`, the same on every processor (include/uapi/asm-generic/unistd.h): few libcs have a function for it. */
const MSEAL = 462;

/** The numbers of the calls for protection keys on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl): musl has no functions for them. */
const PKEY_MPROTECT = 329;
const PKEY_ALLOC = 330;
const PKEY_FREE = 331;

/** Where glibc before 2.34 keeps `shm_open` and `shm_unlink`. */
const LIBRT_NAMES = ["librt.so.1"];

/**
 * Binds libc through `ffi`. Each function is looked up at its first call: a look-up costs as much as some hundred calls,
 * and a program that maps one block needs only six of these functions.
 *
 * `size_t` and `off_t` are passed as `pointer`, the only integer type of their width whose values are numbers.
 */
export function bindLibc(ffi: Ffi): LinuxLibc {
  let libc: NativeLibrary | undefined;
  let lastCallMissing = false;
  const lookUps: (() => void)[] = [];
  const memfdName = new RememberedCString(); // all memfds of an allocator have the same name

  const find = (symbol: string, signature: NativeSignature): NativeFunction | undefined => {
    libc ??= ffi.open(LINUX_LIBC_NAMES);
    const found = libc.find(symbol, signature);
    if (found !== undefined || !symbol.startsWith("shm_")) return found;
    try {
      return ffi.open(LIBRT_NAMES).find(symbol, signature);
    } catch {
      // Android has neither the functions nor the library.
      return undefined;
    }
  };

  const bind = (
    symbol: string,
    parameters: NativeSignature["parameters"],
    result: NativeSignature["result"] = "i32",
    fixedParameters?: number,
  ): ((...args: readonly unknown[]) => number) => {
    let bound: NativeFunction | undefined;
    let missing = false;
    const lookUp = (): void => {
      if (bound !== undefined || missing) return;
      const signature = { parameters, result };
      bound = find(symbol, fixedParameters === undefined ? signature : { ...signature, fixedParameters });
      missing = bound === undefined;
    };
    lookUps.push(lookUp);
    return (...args) => {
      lookUp();
      lastCallMissing = missing;
      return bound === undefined ? -1 : (bound(...args) as number);
    };
  };

  const getpagesize = bind("getpagesize", []);
  const mmap = bind("mmap", ["pointer", "pointer", "i32", "i32", "i32", "pointer"], "pointer");
  const munmap = insisting(bind("munmap", ["pointer", "pointer"]));
  const mprotect = bind("mprotect", ["pointer", "pointer", "i32"]);
  const madvise = bind("madvise", ["pointer", "pointer", "i32"]);
  // The number and the flags are of C's type long; `pointer` has the same width.
  const syscall = bind("syscall", ["pointer", "pointer", "pointer", "pointer"], "i32", 1);
  const longSyscall = bind("syscall", ["pointer", "pointer", "pointer", "pointer", "pointer"], "i32", 1);
  const mincore = bind("mincore", ["pointer", "pointer", "buffer"]);
  const memfdCreate = bind("memfd_create", ["buffer", "u32"]);
  const shmOpen = bind("shm_open", ["buffer", "i32", "u32"]);
  const shmUnlink = insisting(bind("shm_unlink", ["buffer"]));
  const open = bind("open", ["buffer", "i32", "u32"], "i32", 2);
  const unlink = insisting(bind("unlink", ["buffer"]));
  const ftruncate = bind("ftruncate", ["i32", "pointer"]);
  const posixFallocate = bind("posix_fallocate", ["i32", "pointer", "pointer"]);
  const fcntl = bind("fcntl", ["i32", "i32", "i32"], "i32", 2);
  const close = insisting(bind("close", ["i32"]));
  const memcpyIn = bind("memcpy", ["pointer", "buffer", "pointer"], "void");
  const memcpyOut = bind("memcpy", ["buffer", "pointer", "pointer"], "void");
  const gettid = bind("gettid", []);
  const tgkill = bind("tgkill", ["i32", "i32", "i32"]);
  const getrlimit = bind("getrlimit", ["i32", "buffer"]);

  return {
    errno: () => (lastCallMissing ? Errno.ENOSYS : ffi.errno()),
    getpagesize: () => getpagesize(),
    mmap: (address, sizeBytes, protection, flags, descriptor, offset) =>
      mmap(address, sizeBytes, protection, flags, descriptor, offset),
    munmap: (address, sizeBytes) => munmap(address, sizeBytes),
    mprotect: (address, sizeBytes, protection) => mprotect(address, sizeBytes, protection),
    madvise: (address, sizeBytes, advice) => madvise(address, sizeBytes, advice),
    mseal: (address, sizeBytes) => syscall(MSEAL, address, sizeBytes, 0),
    pkey_alloc: (flags, rights) => syscall(PKEY_ALLOC, flags, rights, 0),
    pkey_free: (key) => syscall(PKEY_FREE, key, 0, 0),
    pkey_mprotect: (address, sizeBytes, protection, key) =>
      longSyscall(PKEY_MPROTECT, address, sizeBytes, protection, key),
    mincore: (address, sizeBytes, pages) => mincore(address, sizeBytes, pages),
    memfd_create: (name, flags) => memfdCreate(memfdName.of(name), flags),
    shm_open: (name, flags, mode) => shmOpen(cString(name), flags, mode),
    shm_unlink: (name) => shmUnlink(cString(name)),
    open: (path, flags, mode) => open(cString(path), flags, mode),
    unlink: (path) => unlink(cString(path)),
    ftruncate: (descriptor, sizeBytes) => ftruncate(descriptor, sizeBytes),
    posix_fallocate: (descriptor, offset, sizeBytes) => {
      const result = posixFallocate(descriptor, offset, sizeBytes);
      return lastCallMissing ? Errno.ENOSYS : result;
    },
    fcntl: (descriptor, command, argument) => fcntl(descriptor, command, argument),
    close: (descriptor) => close(descriptor),
    prepare: () => {
      for (const lookUp of lookUps) lookUp();
    },
    memcpyIn: (address, bytes, sizeBytes) => void memcpyIn(address, bytes, sizeBytes),
    memcpyOut: (bytes, address, sizeBytes) => void memcpyOut(bytes, address, sizeBytes),
    gettid: () => gettid(),
    tgkill: (process, thread, signal) => tgkill(process, thread, signal),
    getrlimit: (resource, result) => getrlimit(resource, result),
  };
}

/** The text as C wants it: UTF-8 with a zero after it. A path cannot hold a zero itself. */
