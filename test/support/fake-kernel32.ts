/**
 * A Windows machine in JavaScript, behind the interface of kernel32: it keeps account of mappings, sections and
 * handles, so that a test can ask what was left behind, and it fails where it is told to.
 * What would corrupt a real process throws a plain Error.
 */
import type { Address } from "../../src/ffi/contract.ts";
import { WindowsMemory } from "../../src/vm/windows.ts";
import {
  FileMap,
  Memory,
  NO_FILE,
  Page,
  RegionInfo,
  RegionState,
  Section,
  SystemInfo,
  ThreadAccess,
} from "../../src/vm/windows/kernel32.ts";
import type { Handle, Kernel32 } from "../../src/vm/windows/kernel32.ts";
import { LastError } from "../../src/vm/windows/last-error.ts";
import type { Advapi32 } from "../../src/vm/windows/lock-pages.ts";
import { FakeAddressSpace } from "./fake-address-space.ts";
import { FakeCalls } from "./fake-calls.ts";
import { WITHOUT_ROUTINE } from "./fake-noting.ts";
import type { FakeSystem } from "./fault-walk.ts";

export const PAGE = 4096;
export const GRANULARITY = 65536;
export const LARGE_PAGE = 2 * 1024 * 1024;

/** What the machine is like. */
export interface FakeWindows {
  /** Default 2 MiB; 0 = none. */
  readonly largePageSize?: number;
  /** Whether the account has the right to lock pages. Default false. */
  readonly mayLockPages?: boolean;
  /** The threads of the machine, by their numbers; the first is the one that calls. */
  readonly threads?: ReadonlyMap<number, FakeThread>;
}

/** A thread that somebody holds a handle of, or that still runs. */
export interface FakeThread {
  /** In units of 100 ns. */
  readonly began: bigint;
  readonly hasEnded?: boolean;
}

interface FakeSection {
  readonly sizeBytes: number;
  readonly largePages: boolean;
}

interface FakeMapping {
  /** Where the mapping begins that this is part of. */
  readonly base: Address;
  readonly start: Address;
  readonly sizeBytes: number;
  readonly protection: number;
  /** What is mapped, and the protections that this view may have; undefined for memory of VirtualAlloc. */
  readonly view: { readonly section: FakeSection; readonly allowed: readonly number[] } | undefined;
}

type WindowsCall = Exclude<
  keyof Kernel32 | keyof Advapi32,
  | "GetLastError"
  | "GetSystemInfo"
  | "GetLargePageMinimum"
  | "GetCurrentProcess"
  | "GetCurrentThreadId"
  | "prepare"
  | "moveIn"
  | "moveOut"
>;

/** The code after a call that went well: Windows need not clear it, so whoever reads it then gets this. */
const NOISE = 9999;
const THIS_PROCESS = -1;
/** The number of SeLockMemoryPrivilege, on this machine. */
const LOCK_MEMORY_LUID = [4, 7] as const;
const EXECUTABLE_VIEW: readonly number[] = [Page.EXECUTE_READ, Page.EXECUTE, Page.READONLY, Page.NOACCESS];
const WRITABLE_VIEW: readonly number[] = [Page.READWRITE, Page.READONLY, Page.NOACCESS];

export class FakeKernel32 implements Kernel32, Advapi32, FakeSystem {
  readonly calls = new FakeCalls<WindowsCall>();
  readonly memory = new WindowsMemory({
    kernel32: this,
    advapi32: this,
    noting: WITHOUT_ROUTINE,
    ffi: { view: (_address, sizeBytes) => new ArrayBuffer(sizeBytes), detach: () => undefined },
  });
  readonly writableCode: FakeMapping[] = [];
  /** Every flush: address and size. */
  readonly flushed: (readonly [Address, number])[] = [];
  readonly space = new FakeAddressSpace<FakeMapping>(0x1_0000_0000);
  /** What each open handle leads to. */
  readonly handles = new Map<Handle, FakeSection | FakeThread | "token">();
  readonly #machine: FakeWindows;
  readonly #threads: ReadonlyMap<number, FakeThread>;
  #lastError = NOISE;
  #nextHandle = 100;
  #locksPages = false;

  constructor(machine: FakeWindows = {}) {
    this.#machine = machine;
    this.#threads = machine.threads ?? new Map([[1, { began: 1n }]]);
  }

  leftovers(): string[] {
    return [...this.space.describe(), ...[...this.handles.keys()].map((handle) => `handle ${handle}`)];
  }

  GetLastError(): number {
    return this.#lastError;
  }

  GetSystemInfo(result: DataView): void {
    if (result.byteLength < SystemInfo.SIZE) throw new Error("SYSTEM_INFO is longer: memory is overwritten");
    result.setUint32(SystemInfo.PAGE_SIZE, PAGE, true);
    result.setUint32(SystemInfo.ALLOCATION_GRANULARITY, GRANULARITY, true);
  }

  GetLargePageMinimum(): number {
    return this.#machine.largePageSize ?? LARGE_PAGE;
  }

  GetCurrentProcess(): Handle {
    return THIS_PROCESS;
  }

  VirtualAlloc(address: Address, sizeBytes: number, type: number, protection: number): Address {
    if (!this.#begin("VirtualAlloc", address, sizeBytes, type, protection)) return 0;
    if (address !== 0) throw new Error("the address is the system's to choose");
    if ((type & Memory.RESERVE) === 0 || (type & Memory.COMMIT) === 0) {
      throw new Error("memory that is not committed faults when it is touched");
    }
    if ((type & Memory.LARGE_PAGES) !== 0 && !this.#takesLargePages(sizeBytes)) return 0;
    return this.#map(sizeBytes, protection, undefined);
  }

  VirtualFree(address: Address, sizeBytes: number, type: number): number {
    if (!this.#begin("VirtualFree", address, sizeBytes, type)) return 0;
    if (type !== Memory.RELEASE || sizeBytes !== 0) return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    if (this.space.at(address)?.view !== undefined) return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    return this.#unmap(address);
  }

  VirtualProtect(address: Address, sizeBytes: number, protection: number, previous: Uint32Array): number {
    if (!this.#begin("VirtualProtect", address, sizeBytes, protection)) return 0;
    const mapping = this.space.at(address);
    if (mapping === undefined || address + sizeBytes > mapping.start + mapping.sizeBytes) {
      return this.#fail(LastError.ERROR_INVALID_ADDRESS);
    }
    if (mapping.view !== undefined && !mapping.view.allowed.includes(protection)) {
      return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    }
    previous[0] = mapping.protection;
    this.space.cut(address, sizeBytes, "VirtualProtect");
    this.#add({ ...mapping, start: address, sizeBytes, protection });
    return 1;
  }

  VirtualQuery(address: Address, result: DataView, resultBytes: number): number {
    if (!this.#begin("VirtualQuery", address)) return 0;
    if (result.byteLength < resultBytes || resultBytes !== RegionInfo.SIZE) {
      throw new Error("MEMORY_BASIC_INFORMATION is longer: memory is overwritten");
    }
    const mapping = this.space.at(address);
    const end = mapping === undefined ? address + PAGE : mapping.start + mapping.sizeBytes;
    // Of free pages Windows leaves most fields undefined: here, what the caller had there.
    if (mapping !== undefined) result.setBigUint64(RegionInfo.ALLOCATION_BASE, BigInt(mapping.base), true);
    result.setBigUint64(RegionInfo.REGION_SIZE, BigInt(end - address), true);
    result.setUint32(RegionInfo.STATE, mapping === undefined ? RegionState.FREE : RegionState.COMMIT, true);
    return RegionInfo.SIZE;
  }

  CreateFileMappingW(
    file: Handle,
    attributes: Address,
    protection: number,
    sizeHigh: number,
    sizeLow: number,
    name: Address,
  ): Handle {
    if (!this.#begin("CreateFileMappingW", file, attributes, protection, sizeHigh, sizeLow, name)) return 0;
    if (name !== 0) throw new Error("a section with a name can be opened by other processes");
    if (attributes !== 0) throw new Error("a handle that a child process inherits");
    if (file !== NO_FILE || protection % Section.COMMIT !== Page.EXECUTE_READWRITE) {
      return this.#fail(LastError.ERROR_ACCESS_DENIED);
    }
    const sizeBytes = sizeHigh * 2 ** 32 + sizeLow;
    const largePages = protection >= Section.LARGE_PAGES;
    if (largePages && !this.#takesLargePages(sizeBytes)) return 0;
    const handle = this.#nextHandle++;
    this.handles.set(handle, { sizeBytes, largePages });
    return handle;
  }

  MapViewOfFile(
    handle: Handle,
    access: number,
    offsetHigh: number,
    offsetLow: number,
    sizeBytes: number,
  ): Address {
    if (!this.#begin("MapViewOfFile", handle, access, offsetHigh, offsetLow, sizeBytes)) return 0;
    const section = this.handles.get(handle);
    if (section === undefined || section === "token" || !("sizeBytes" in section))
      return this.#fail(LastError.ERROR_INVALID_HANDLE);
    if (offsetHigh !== 0 || offsetLow !== 0 || sizeBytes !== section.sizeBytes) {
      throw new Error("a view of another part of the section");
    }
    if (section.largePages !== (access & FileMap.LARGE_PAGES) > 0) {
      return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    }
    const isWritable = (access & FileMap.WRITE) !== 0;
    const isExecutable = (access & FileMap.EXECUTE) !== 0;
    if (isWritable && isExecutable) throw new Error("a view that is writable and executable");
    return this.#map(sizeBytes, isWritable ? Page.READWRITE : Page.EXECUTE_READ, {
      section,
      allowed: isWritable ? WRITABLE_VIEW : EXECUTABLE_VIEW,
    });
  }

  UnmapViewOfFile(address: Address): number {
    if (!this.#begin("UnmapViewOfFile", address)) return 0;
    if (this.space.at(address)?.view === undefined) return this.#fail(LastError.ERROR_INVALID_ADDRESS);
    return this.#unmap(address);
  }

  CloseHandle(handle: Handle): number {
    const isFine = this.#begin("CloseHandle", handle);
    // A handle that is open is closed by this, whatever it says: Windows refuses only what is no handle.
    if (!this.handles.delete(handle)) throw new Error(`handle ${handle} is not open: a double close`);
    return isFine ? 1 : 0;
  }

  FlushInstructionCache(process: Handle, address: Address, sizeBytes: number): number {
    if (!this.#begin("FlushInstructionCache", process, address, sizeBytes)) return 0;
    if (process !== THIS_PROCESS) return this.#fail(LastError.ERROR_INVALID_HANDLE);
    this.flushed.push([address, sizeBytes]);
    return 1;
  }

  prepare(): void {
    // Nothing is looked up here.
  }

  moveIn(): void {
    throw new Error("this memory holds nothing");
  }

  moveOut(): void {
    throw new Error("this memory holds nothing");
  }

  GetCurrentThreadId(): number {
    return [...this.#threads.keys()][0] ?? 0;
  }

  OpenThread(access: number, isInherited: number, threadId: number): Handle {
    if (!this.#begin("OpenThread", access, isInherited, threadId)) return 0;
    if (isInherited !== 0) throw new Error("a handle that a child process inherits");
    if (access !== (ThreadAccess.SYNCHRONIZE | ThreadAccess.QUERY_LIMITED_INFORMATION))
      throw new Error("more access than is needed, or less");
    const thread = this.#threads.get(threadId);
    if (thread === undefined) return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    const handle = this.#nextHandle++;
    this.handles.set(handle, thread);
    return handle;
  }

  GetThreadTimes(handle: Handle, creation: BigUint64Array): number {
    if (!this.#begin("GetThreadTimes", handle)) return 0;
    creation[0] = this.#threadOf(handle).began;
    return 1;
  }

  WaitForSingleObject(handle: Handle, timeoutMs: number): number {
    if (!this.#begin("WaitForSingleObject", handle, timeoutMs)) return 0xffff_ffff;
    if (timeoutMs !== 0) throw new Error("a wait that holds everybody up");
    return this.#threadOf(handle).hasEnded === true ? 0 : 258;
  }

  OpenProcessToken(process: Handle, access: number, token: BigUint64Array): number {
    if (!this.#begin("OpenProcessToken", process, access)) return 0;
    if (process !== THIS_PROCESS) return this.#fail(LastError.ERROR_INVALID_HANDLE);
    const handle = this.#nextHandle++;
    this.handles.set(handle, "token");
    token[0] = BigInt(handle);
    return 1;
  }

  LookupPrivilegeValueW(system: Address, name: Uint16Array, luid: Uint32Array): number {
    if (!this.#begin("LookupPrivilegeValueW", system, name)) return 0;
    if (String.fromCharCode(...name) !== "SeLockMemoryPrivilege\0") {
      return this.#fail(LastError.ERROR_INVALID_PARAMETER);
    }
    luid.set(LOCK_MEMORY_LUID);
    return 1;
  }

  AdjustTokenPrivileges(token: Handle, disableAll: number, privileges: Uint32Array): number {
    if (!this.#begin("AdjustTokenPrivileges", token, disableAll)) return 0;
    if (this.handles.get(token) !== "token") return this.#fail(LastError.ERROR_INVALID_HANDLE);
    // One privilege, its number, and SE_PRIVILEGE_ENABLED.
    if (disableAll !== 0 || privileges.join() !== [1, ...LOCK_MEMORY_LUID, 2].join()) {
      throw new Error("the privileges of the process are changed in another way than they were to be");
    }
    this.#locksPages = this.#machine.mayLockPages === true;
    this.#lastError = this.#locksPages ? 0 : LastError.ERROR_NOT_ALL_ASSIGNED;
    return 1;
  }

  // ---- Inside -----------------------------------------------------------------------------------------------------

  #begin(call: WindowsCall, ...args: readonly unknown[]): boolean {
    const code = this.calls.begin(call, ...args);
    this.#lastError = code ?? NOISE;
    return code === undefined;
  }

  #fail(code: number): 0 {
    this.#lastError = code;
    return 0;
  }

  #threadOf(handle: Handle): FakeThread {
    const thread = this.handles.get(handle);
    if (thread === undefined || thread === "token" || !("began" in thread))
      throw new Error(`handle ${handle} is no thread's`);
    return thread;
  }

  #takesLargePages(sizeBytes: number): boolean {
    if (sizeBytes % this.GetLargePageMinimum() !== 0) {
      this.#fail(LastError.ERROR_INVALID_PARAMETER);
      return false;
    }
    if (!this.#locksPages) this.#fail(LastError.ERROR_PRIVILEGE_NOT_HELD);
    return this.#locksPages;
  }

  #map(sizeBytes: number, protection: number, view: FakeMapping["view"]): Address {
    const base = this.space.place(sizeBytes, GRANULARITY);
    this.#add({ base, start: base, sizeBytes, protection, view });
    return base;
  }

  #add(mapping: FakeMapping): void {
    this.space.mappings.push(mapping);
    if (mapping.protection === Page.EXECUTE_READWRITE) this.writableCode.push(mapping);
  }

  #unmap(address: Address): number {
    if (this.space.at(address)?.base !== address) return this.#fail(LastError.ERROR_INVALID_ADDRESS);
    this.space.mappings = this.space.mappings.filter(({ base }) => base !== address);
    return 1;
  }
}
