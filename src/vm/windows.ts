/** Windows' virtual memory. The files of `windows/` explain its peculiarities, each beside its cause. */
import { formatAddress } from "../base/errors.ts";
import type { Address, Ffi } from "../ffi/contract.ts";
import { attempt, describeAccess, tryHardening, withWayOut } from "./attempts.ts";
import { cannotStore } from "./atomic-stores.ts";
import type { AtomicStores } from "./atomic-stores.ts";
import type {
  DualMapping,
  HardenedRuntimeInfo,
  MappingTag,
  MemoryFlags,
  MemoryInfo,
  MemoryLimit,
  ProbeStep,
  SharingSupport,
  VirtualMemory,
} from "./contract.ts";
import { mapTwice, unmapTwice } from "./windows/dual-mapping.ts";
import { Memory, Page, SystemInfo } from "./windows/kernel32.ts";
import type { Kernel32 } from "./windows/kernel32.ts";
import { notedKernel32 } from "./windows/noted-kernel32.ts";
import type { NotedKernel32 } from "./windows/noted-kernel32.ts";
import { lastError } from "./windows/last-error.ts";
import { mayLockPages } from "./windows/lock-pages.ts";
import type { Advapi32 } from "./windows/lock-pages.ts";
import { probe } from "./windows/probe.ts";
import type { Noting } from "./noter.ts";
import { checkWhole, mappedSize } from "./windows/regions.ts";
import { WindowsSharing } from "./windows/sharing.ts";

/** The cause of a refused change of protection, nearly always. */
const NO_SUCH_ACCESS =
  "the range must be mapped, and a view be made for such access (the executable view of a dual mapping is never writable)";

/** The parts that Windows memory is built from. */
export interface WindowsMemoryParts {
  readonly kernel32: Kernel32;
  readonly advapi32: Advapi32;
  /** Makes the routine that notes results; used when a thread first shares an allocator. */
  readonly noting: Noting<Kernel32>;
  readonly ffi: Pick<Ffi, "view" | "detach">;
  /** How bytes are stored in one access; absent where nothing is to be. */
  readonly stores?: AtomicStores;
}

/** {@link VirtualMemory} on Windows. */
export class WindowsMemory implements VirtualMemory {
  readonly name = "windows";
  /** Views of one section could only lie in a reservation made of placeholders (VirtualAlloc2, MapViewOfFile3). */
  readonly noRanges =
    "Windows unmaps a view as a whole or not at all, and this library makes no placeholders";
  readonly sharing: SharingSupport;
  readonly #kernel32: NotedKernel32;
  readonly #advapi32: Advapi32;
  readonly #ffi: Pick<Ffi, "view" | "detach">;
  #info: MemoryInfo | undefined;
  #largePageSize: number | undefined;
  #mayLockPages = false;

  readonly #stores: AtomicStores | undefined;

  constructor(parts: WindowsMemoryParts) {
    this.#stores = parts.stores;
    this.#kernel32 = notedKernel32(parts.kernel32);
    this.#advapi32 = parts.advapi32;
    this.#ffi = parts.ffi;
    this.sharing = new WindowsSharing(this.#kernel32, parts.noting);
  }

  info(): MemoryInfo {
    return (this.#info ??= this.#readInfo());
  }

  largePageSize(): number {
    return (this.#largePageSize ??= this.#kernel32.GetLargePageMinimum());
  }

  alloc(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): Address {
    return this.#kernel32.noter.noting(tag?.journal, () => this.#alloc(sizeBytes, flags));
  }

  #alloc(sizeBytes: number, flags: MemoryFlags): Address {
    const protection = protectionOf(flags);
    const type = Memory.RESERVE | Memory.COMMIT;
    if (this.#hasLargePagesFor(sizeBytes, flags)) {
      // A hint: regular pages are used where no run of memory is long enough for large ones.
      const address = this.#kernel32.VirtualAlloc(0, sizeBytes, type | Memory.LARGE_PAGES, protection);
      if (address !== 0) return address;
    }
    const address = this.#kernel32.VirtualAlloc(0, sizeBytes, type, protection);
    if (address !== 0) return address;
    throw lastError(this.#kernel32, `map ${sizeBytes} bytes (${describeAccess(flags)})`, "VirtualAlloc");
  }

  release(address: Address, sizeBytes: number, tag?: MappingTag): void {
    this.#kernel32.noter.noting(tag?.journal, () => this.#release(address, sizeBytes));
  }

  #release(address: Address, sizeBytes: number): void {
    const asked = `unmap ${sizeBytes} bytes at ${formatAddress(address)}`;
    checkWhole(mappedSize(this.#kernel32, address, asked), sizeBytes, asked);
    if (this.#kernel32.VirtualFree(address, 0, Memory.RELEASE) === 0) {
      throw lastError(this.#kernel32, asked, "VirtualFree");
    }
  }

  protect(address: Address, sizeBytes: number, flags: MemoryFlags): void {
    const previous = new Uint32Array(1);
    if (this.#kernel32.VirtualProtect(address, sizeBytes, protectionOf(flags), previous) === 0) {
      const asked = `change ${sizeBytes} bytes at ${formatAddress(address)} to ${describeAccess(flags)}`;
      throw lastError(this.#kernel32, asked, "VirtualProtect", NO_SUCH_ACCESS);
    }
  }

  allocDualMapping(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): DualMapping {
    const hasLargePages = this.#hasLargePagesFor(sizeBytes, flags);
    return this.#kernel32.noter.noting(tag?.journal, () => this.#mapTwice(sizeBytes, hasLargePages));
  }

  #mapTwice(sizeBytes: number, hasLargePages: boolean): DualMapping {
    if (hasLargePages) {
      const mapping = attempt(() => mapTwice(this.#kernel32, sizeBytes, true));
      if (mapping !== undefined) return mapping;
    }
    return withWayOut(() => mapTwice(this.#kernel32, sizeBytes, false));
  }

  releaseDualMapping(mapping: DualMapping, sizeBytes: number, tag?: MappingTag): void {
    this.#kernel32.noter.noting(tag?.journal, () => {
      unmapTwice(this.#kernel32, mapping, sizeBytes);
    });
  }

  flushInstructionCache(address: Address, sizeBytes: number): void {
    const kernel32 = this.#kernel32;
    // x86 needs no flush, but Windows asks every program for this call, on every processor.
    if (kernel32.FlushInstructionCache(kernel32.GetCurrentProcess(), address, sizeBytes) === 0) {
      const asked = `flush the instruction cache at ${formatAddress(address)}`;
      throw lastError(kernel32, asked, "FlushInstructionCache");
    }
  }

  hardenedRuntimeInfo(): HardenedRuntimeInfo {
    return tryHardening(this);
  }

  protectJitMemory(): void {
    // Windows has no MAP_JIT memory: there is nothing to switch.
  }

  openView(address: Address, sizeBytes: number): Uint8Array {
    return new Uint8Array(this.#ffi.view(address, sizeBytes));
  }

  closeView(view: Uint8Array): void {
    const { buffer } = view;
    if (buffer instanceof ArrayBuffer) this.#ffi.detach(buffer);
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    this.#kernel32.moveIn(address, bytes, length);
  }

  storeAtomically(address: Address, bytes: Uint8Array): void {
    if (this.#stores === undefined) throw cannotStore();
    this.#stores.store(this, address, bytes);
  }

  copyOut(address: Address, copy: Uint8Array): void {
    this.#kernel32.moveOut(copy, address, copy.length);
  }

  probe(): readonly ProbeStep[] {
    return probe({
      kernel32: this.#kernel32,
      advapi32: this.#advapi32,
      sizeBytes: this.info().pageGranularity,
      largePageSize: this.largePageSize(),
    });
  }

  limits(): readonly MemoryLimit[] {
    // A job may limit the memory its processes commit; VirtualAlloc then reports it. No file or count is limited.
    return [];
  }

  #readInfo(): MemoryInfo {
    const result = new DataView(new ArrayBuffer(SystemInfo.SIZE));
    this.#kernel32.GetSystemInfo(result);
    return {
      pageSize: result.getUint32(SystemInfo.PAGE_SIZE, true),
      pageGranularity: result.getUint32(SystemInfo.ALLOCATION_GRANULARITY, true),
    };
  }

  #hasLargePagesFor(sizeBytes: number, flags: MemoryFlags): boolean {
    if (flags.largePages !== true) return false;
    const largePageSize = this.largePageSize();
    if (largePageSize === 0 || sizeBytes % largePageSize !== 0) return false;
    // Once switched on, the right stays on. A refusal is not remembered: the right may be granted later.
    this.#mayLockPages ||= attempt(() => mayLockPages(this.#kernel32, this.#advapi32)) === true;
    return this.#mayLockPages;
  }
}

/** The page protection for these flags. Windows has no pages that can be written and not read. */
function protectionOf({ read, write, execute }: MemoryFlags): number {
  if (execute === true) {
    if (write === true) return Page.EXECUTE_READWRITE;
    return read === true ? Page.EXECUTE_READ : Page.EXECUTE;
  }
  if (write === true) return Page.READWRITE;
  return read === true ? Page.READONLY : Page.NOACCESS;
}
