/**
 * The functions of kernel32.dll that Windows memory uses, and nothing else. Each method calls the function of its name
 * and returns its raw result. Tests put a fake of this interface in place of the system.
 */
import type { Address, Ffi, NativeFunction, NativeLibrary, NativeSignature } from "../../ffi/contract.ts";
import { JitError } from "../../base/errors.ts";
import { insisting } from "../attempts.ts";

/** `VirtualAlloc` and `VirtualFree`: what is to be done with the range. */
export const Memory = { COMMIT: 0x1000, RESERVE: 0x2000, RELEASE: 0x8000, LARGE_PAGES: 0x2000_0000 } as const;

/** `VirtualAlloc`, `VirtualProtect`, `CreateFileMappingW`: what may be done with a page. */
export const Page = {
  NOACCESS: 0x01,
  READONLY: 0x02,
  READWRITE: 0x04,
  EXECUTE: 0x10,
  EXECUTE_READ: 0x20,
  EXECUTE_READWRITE: 0x40,
} as const;

/** `CreateFileMappingW`: how the section is backed; added to the page's access. */
export const Section = { COMMIT: 0x0800_0000, LARGE_PAGES: 0x8000_0000 } as const;

/** `MapViewOfFile`: what the view is for. */
export const FileMap = { WRITE: 0x02, READ: 0x04, EXECUTE: 0x20, LARGE_PAGES: 0x2000_0000 } as const;

/** In place of a file: the section is backed by the page file. */
export const NO_FILE = -1;

/**
 * SYSTEM_INFO of a 64-bit process: its size and the offsets of the two fields that are read, in bytes.
 *
 *     0         4          8              40                         48
 *     ├ u32 … ──┼ pageSize ┼ pointers … ──┼ allocationGranularity ── ┤
 */
export const SystemInfo = { SIZE: 48, PAGE_SIZE: 4, ALLOCATION_GRANULARITY: 40 } as const;

/**
 * MEMORY_BASIC_INFORMATION of a 64-bit process: its size and the offsets of the three fields that are read, in bytes.
 *
 *     0        8                16         24           32          36       48
 *     ├ base … ┼ allocationBase ┼ u32 … ── ┼ regionSize ┼ state u32 ┼ u32 … ─┤
 */
export const RegionInfo = { SIZE: 48, ALLOCATION_BASE: 8, REGION_SIZE: 24, STATE: 32 } as const;

/** The state of a region. Of a free region only the state, the base and the size are defined. */
export const RegionState = { COMMIT: 0x1000, FREE: 0x10000 } as const;

/** `OpenThread`: the rights to wait for a thread's end, and to ask when it began. */
export const ThreadAccess = { SYNCHRONIZE: 0x0010_0000, QUERY_LIMITED_INFORMATION: 0x0800 } as const;

/** What `WaitForSingleObject` returns for a thread that has ended. */
export const WAIT_OBJECT_0 = 0;

/** A handle: opaque, and as wide as a pointer. */
export type Handle = number;

/**
 * The part of kernel32.dll that is needed here. Unless a method says otherwise, 0 means that the call failed and {@link
 * GetLastError} tells why; it must be read before anything else is called.
 */
export interface Kernel32 {
  GetLastError(): number;
  /** Fills a SYSTEM_INFO. Never fails. */
  GetSystemInfo(result: DataView): void;
  /** Bytes; 0 = the processor has no large pages. */
  GetLargePageMinimum(): number;
  /** A pseudo handle, which need not be closed. Never fails. */
  GetCurrentProcess(): Handle;
  VirtualAlloc(address: Address, sizeBytes: number, type: number, protection: number): Address;
  /** With RELEASE the size must be 0, which frees the whole range that VirtualAlloc reserved. */
  VirtualFree(address: Address, sizeBytes: number, type: number): number;
  /** Writes the earlier protection to `previous`, which has one element. */
  VirtualProtect(address: Address, sizeBytes: number, protection: number, previous: Uint32Array): number;
  /** Fills a MEMORY_BASIC_INFORMATION, and returns the number of bytes it filled. */
  VirtualQuery(address: Address, result: DataView, resultBytes: number): number;
  CreateFileMappingW(
    file: Handle,
    attributes: Address,
    protection: number,
    sizeHigh: number,
    sizeLow: number,
    name: Address,
  ): Handle;
  MapViewOfFile(
    section: Handle,
    access: number,
    offsetHigh: number,
    offsetLow: number,
    sizeBytes: number,
  ): Address;
  UnmapViewOfFile(address: Address): number;
  CloseHandle(handle: Handle): number;
  FlushInstructionCache(process: Handle, address: Address, sizeBytes: number): number;
  /** Looks up all functions that were not called yet, so that no thread is terminated while it looks one up. */
  prepare(): void;
  /** RtlMoveMemory, to an address and from one. Never fails. */
  moveIn(address: Address, bytes: Uint8Array, sizeBytes: number): void;
  moveOut(bytes: Uint8Array, address: Address, sizeBytes: number): void;
  /** Never fails. */
  GetCurrentThreadId(): number;
  OpenThread(access: number, isInherited: number, threadId: number): Handle;
  /** Each array receives one FILETIME: units of 100 ns since 1601. */
  GetThreadTimes(
    thread: Handle,
    creation: BigUint64Array,
    exit: BigUint64Array,
    kernel: BigUint64Array,
    user: BigUint64Array,
  ): number;
  /** With a timeout of 0 ms: looks whether a thread has ended. {@link WAIT_OBJECT_0} = it has. */
  WaitForSingleObject(handle: Handle, timeoutMs: number): number;
}

/** The name by which every Windows finds the library. */
export const KERNEL32_NAMES = ["kernel32.dll"];

/**
 * Binds kernel32.dll through `ffi`. Each function but GetLastError is looked up when it is first called.
 * `SIZE_T` and handles are passed as `pointer`, the only integer type of their width whose values are numbers. Windows
 * has a single calling convention for 64-bit programs, so none is named.
 */
export function bindKernel32(ffi: Pick<Ffi, "open">): Kernel32 {
  let kernel32: NativeLibrary | undefined;
  const lookUps: (() => void)[] = [];
  const bind = (
    symbol: keyof Kernel32 | "RtlMoveMemory",
    parameters: NativeSignature["parameters"],
    result: NativeSignature["result"] = "i32",
  ): ((...args: readonly unknown[]) => number) => {
    let bound: NativeFunction | undefined;
    const lookUp = (): void => {
      bound ??= (kernel32 ??= ffi.open(KERNEL32_NAMES)).find(symbol, { parameters, result });
    };
    lookUps.push(lookUp);
    return (...args) => {
      lookUp();
      if (bound === undefined) {
        throw new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot call Windows: kernel32.dll has no ${symbol}`);
      }
      return bound(...args) as number;
    };
  };

  const GetLastError = bind("GetLastError", [], "u32");
  // GetLastError is looked up now. A look-up after a failed call could load a library, and so change the code.
  for (const lookUp of lookUps) lookUp();

  const GetSystemInfo = bind("GetSystemInfo", ["buffer"], "void");
  const GetLargePageMinimum = bind("GetLargePageMinimum", [], "pointer");
  const GetCurrentProcess = bind("GetCurrentProcess", [], "pointer");
  const VirtualAlloc = bind("VirtualAlloc", ["pointer", "pointer", "u32", "u32"], "pointer");
  const VirtualFree = insisting(bind("VirtualFree", ["pointer", "pointer", "u32"]));
  const VirtualProtect = bind("VirtualProtect", ["pointer", "pointer", "u32", "buffer"]);
  const VirtualQuery = insisting(bind("VirtualQuery", ["pointer", "buffer", "pointer"], "pointer"));
  const CreateFileMappingW = bind(
    "CreateFileMappingW",
    ["pointer", "pointer", "u32", "u32", "u32", "pointer"],
    "pointer",
  );
  const MapViewOfFile = bind("MapViewOfFile", ["pointer", "u32", "u32", "u32", "pointer"], "pointer");
  const UnmapViewOfFile = insisting(bind("UnmapViewOfFile", ["pointer"]));
  const CloseHandle = insisting(bind("CloseHandle", ["pointer"]));
  const FlushInstructionCache = bind("FlushInstructionCache", ["pointer", "pointer", "pointer"]);
  const moveIn = bind("RtlMoveMemory", ["pointer", "buffer", "pointer"], "void");
  const moveOut = bind("RtlMoveMemory", ["buffer", "pointer", "pointer"], "void");
  const GetCurrentThreadId = bind("GetCurrentThreadId", [], "u32");
  const OpenThread = bind("OpenThread", ["u32", "i32", "u32"], "pointer");
  const GetThreadTimes = bind("GetThreadTimes", ["pointer", "buffer", "buffer", "buffer", "buffer"]);
  const WaitForSingleObject = bind("WaitForSingleObject", ["pointer", "u32"], "u32");

  return {
    GetLastError: () => GetLastError(),
    GetSystemInfo: (result) => void GetSystemInfo(result),
    GetLargePageMinimum: () => GetLargePageMinimum(),
    GetCurrentProcess: () => GetCurrentProcess(),
    VirtualAlloc: (address, sizeBytes, type, protection) =>
      VirtualAlloc(address, sizeBytes, type, protection),
    VirtualFree: (address, sizeBytes, type) => VirtualFree(address, sizeBytes, type),
    VirtualProtect: (address, sizeBytes, protection, previous) =>
      VirtualProtect(address, sizeBytes, protection, previous),
    VirtualQuery: (address, result, resultBytes) => VirtualQuery(address, result, resultBytes),
    CreateFileMappingW: (file, attributes, protection, sizeHigh, sizeLow, name) =>
      CreateFileMappingW(file, attributes, protection, sizeHigh, sizeLow, name),
    MapViewOfFile: (section, access, offsetHigh, offsetLow, sizeBytes) =>
      MapViewOfFile(section, access, offsetHigh, offsetLow, sizeBytes),
    UnmapViewOfFile: (address) => UnmapViewOfFile(address),
    CloseHandle: (handle) => CloseHandle(handle),
    FlushInstructionCache: (process, address, sizeBytes) =>
      FlushInstructionCache(process, address, sizeBytes),
    prepare: () => {
      for (const lookUp of lookUps) lookUp();
    },
    moveIn: (address, bytes, sizeBytes) => void moveIn(address, bytes, sizeBytes),
    moveOut: (bytes, address, sizeBytes) => void moveOut(bytes, address, sizeBytes),
    GetCurrentThreadId: () => GetCurrentThreadId(),
    OpenThread: (access, isInherited, threadId) => OpenThread(access, isInherited, threadId),
    GetThreadTimes: (thread, creation, exit, kernel, user) =>
      GetThreadTimes(thread, creation, exit, kernel, user),
    WaitForSingleObject: (handle, timeoutMs) => WaitForSingleObject(handle, timeoutMs),
  };
}
