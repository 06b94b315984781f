/**
 * A virtual memory that exists in JavaScript alone: addresses are numbers, mappings are entries of a list, and every
 * operation can be told to fail. The core and the allocator are tested on it with millions of operations.
 *
 * It is stricter than a real system: what would corrupt memory there (a release of something that is not mapped,
 * a view still open when its memory goes) throws a plain Error here, because it is a bug of the caller. What a real
 * system may refuse throws a JitError.
 */
import { JitError, formatAddress } from "../base/errors.ts";
import type { JitErrorCode } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type {
  DualMapping,
  HardenedRuntimeInfo,
  MappedRange,
  MappingTag,
  MemoryFlags,
  MemoryInfo,
  MemoryLimit,
  ProbeStep,
  VirtualMemory,
  WriteKeySupport,
} from "./contract.ts";
import { AddressMap } from "./simulated/address-map.ts";
import { Faults } from "./simulated/faults.ts";
import { SimulatedRanges } from "./simulated/ranges.ts";
import type { RangeOperation } from "./simulated/ranges.ts";
import { withDefaults } from "./simulated/options.ts";
import type { SimulatedMemoryOptions } from "./simulated/options.ts";
import { makePlacer } from "./simulated/placement.ts";

export type { SimulatedMemoryOptions } from "./simulated/options.ts";

/** The operations that are counted, and that can be made to fail. */
export type SimulatedOperation =
  | "alloc"
  | "release"
  | "protect"
  | "allocDualMapping"
  | "releaseDualMapping"
  | "flushInstructionCache"
  | "protectJitMemory"
  | "openView"
  | "closeView"
  | "copyIn"
  | "copyOut"
  | "storeAtomically"
  | RangeOperation;

/** One live mapping. */
export interface SimulatedMapping {
  /** The only address of a plain mapping; the executable one of a dual mapping. */
  readonly rx: Address;
  /** Equal to `rx` for a plain mapping. */
  readonly rw: Address;
  readonly sizeBytes: number;
  /** The flags of its creation, or of the last {@link SimulatedMemory.protect}. */
  readonly flags: MemoryFlags;
}

interface Mapping {
  readonly rx: Address;
  readonly rw: Address;
  readonly sizeBytes: number;
  flags: MemoryFlags;
  readonly tagName: string | undefined;
  /** Made at the first access, so that a test can map gigabytes. A new page reads zero, like a real one. */
  bytes: Uint8Array | undefined;
  openViews: number;
}

/** {@link VirtualMemory} without a system. Not thread-safe: each thread would have a machine of its own. */
export class SimulatedMemory implements VirtualMemory {
  readonly name = "simulated";
  readonly ranges?: SimulatedRanges;
  readonly #options: Required<SimulatedMemoryOptions>;
  /** Both addresses of a mapping lead to it. */
  readonly #byAddress = new AddressMap<Mapping>();
  readonly #place: (sizeBytes: number) => Address;
  readonly #viewOwners = new Map<Uint8Array, Mapping>();
  readonly #faults = new Faults<SimulatedOperation>({
    alloc: 0,
    release: 0,
    protect: 0,
    allocDualMapping: 0,
    releaseDualMapping: 0,
    flushInstructionCache: 0,
    protectJitMemory: 0,
    openView: 0,
    closeView: 0,
    copyIn: 0,
    copyOut: 0,
    storeAtomically: 0,
    ...{ reserveRange: 0, releaseRange: 0, commit: 0, decommit: 0, empty: 0, discard: 0, seal: 0 },
  });
  /** How often each operation was called, failed calls included. */
  readonly calls = this.#faults.calls;
  /** Where the processor has protection keys: once the memory was asked for, its writable views are closed. */
  readonly writeKeys: WriteKeySupport | undefined;
  #isClosed = false;
  #mappedBytes = 0;
  #peakMappedBytes = 0;

  constructor(options: SimulatedMemoryOptions = {}) {
    this.#options = withDefaults(options);
    if (this.#options.hasRanges) this.ranges = this.#makeRanges(this.#options.pageSize);
    this.writeKeys = this.#options.hasKeys
      ? {
          lack: () => undefined,
          refusal: () => undefined,
          memory: () => {
            this.#isClosed = true;
            return this;
          },
        }
      : undefined;
    this.#place = makePlacer({
      ...this.#options,
      isFree: (address, sizeBytes) => this.#byAddress.isFree(address, sizeBytes),
    });
  }

  // ---- What tests see and do ------------------------------------------------------------------------------------

  /** Every live mapping, by ascending rx. */
  get mappings(): readonly SimulatedMapping[] {
    return [...new Set(this.#byAddress.values())]
      .sort((a, b) => a.rx - b.rx)
      .map(({ rx, rw, sizeBytes, flags }) => ({ rx, rw, sizeBytes, flags }));
  }

  /** How many views are open now. */
  get openViewCount(): number {
    return this.#viewOwners.size;
  }

  /** Bytes mapped now; a dual mapping counts once. */
  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** The most bytes that were ever mapped at once. */
  get peakMappedBytes(): number {
    return this.#peakMappedBytes;
  }

  /**
   * Makes a call fail: `successes` calls of `operation` succeed, the next one throws, and later ones succeed again.
   * Several faults can be pending at once. A failed call changes nothing.
   *
   * @param code the code of the error; default `ERR_OUT_OF_MEMORY`.
   * @example
   * ```ts
   * memory.failAfter("allocDualMapping", 2);   // the third one throws
   * memory.failAfter("any", 0, "ERR_PERMISSION");   // whatever is called next
   * ```
   */
  failAfter(
    operation: SimulatedOperation | "any",
    successes: number,
    code: JitErrorCode = "ERR_OUT_OF_MEMORY",
  ): void {
    this.#faults.failAfter(operation, successes, code);
  }

  /** Removes the faults that have not happened yet, and returns their number. */
  clearFaults(): number {
    return this.#faults.clear();
  }

  /** A copy of the bytes at any mapped address, through rx or rw. */
  read(address: Address, sizeBytes: number): Uint8Array {
    const { mapping, offset } = this.#locate(address, sizeBytes);
    return bytesOf(mapping).slice(offset, offset + sizeBytes);
  }

  /** Changes the bytes at any mapped address, whatever its protection. */
  poke(address: Address, bytes: Uint8Array): void {
    const { mapping, offset } = this.#locate(address, bytes.length);
    bytesOf(mapping).set(bytes, offset);
  }

  /** The bytes at any mapped address, aliased, as a view of another thread would show them. Not counted as an open view. */
  alias(address: Address, sizeBytes: number): Uint8Array {
    const { mapping, offset } = this.#locate(address, sizeBytes);
    return bytesOf(mapping).subarray(offset, offset + sizeBytes);
  }

  /** Does what `SharingSupport.reclaim` does. */
  reclaim(tagName: string, kept: readonly MappedRange[]): void {
    const addresses = new Set(kept.map(({ address }) => address));
    for (const mapping of new Set(this.#byAddress.values())) {
      if (mapping.tagName === tagName && !addresses.has(mapping.rx)) this.#remove(mapping);
    }
    const { ranges } = this;
    for (const range of ranges?.all ?? []) {
      if (!addresses.has(range.rx) && ranges?.find(range.rx, tagName) !== undefined) ranges.abandon(range);
    }
  }

  // ---- VirtualMemory --------------------------------------------------------------------------------------------

  info(): MemoryInfo {
    return { pageSize: this.#options.pageSize, pageGranularity: this.#options.pageGranularity };
  }

  largePageSize(): number {
    return this.#options.largePageSize;
  }

  alloc(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): Address {
    this.#faults.enter("alloc", "mmap");
    if (this.#options.hardened && flags.write === true && flags.execute === true) {
      const refusal = "Cannot map memory writable and executable: the machine is hardened";
      throw new JitError("ERR_PERMISSION", refusal, { syscall: "mmap" });
    }
    this.#takeBytes(sizeBytes);
    const address = this.#place(sizeBytes);
    this.#byAddress.add(address, newMapping(address, address, sizeBytes, flags, tag));
    return address;
  }

  release(address: Address, sizeBytes: number): void {
    this.#faults.enter("release", "munmap");
    this.#remove(this.#exactly(address, address, sizeBytes));
  }

  protect(address: Address, sizeBytes: number, flags: MemoryFlags): void {
    this.#faults.enter("protect", "mprotect");
    this.#checkPages(address, "address");
    this.#checkPages(sizeBytes, "size");
    this.#locate(address, sizeBytes).mapping.flags = flags;
  }

  allocDualMapping(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): DualMapping {
    this.#faults.enter("allocDualMapping", "mmap");
    this.#takeBytes(sizeBytes);
    const rx = this.#place(2 * sizeBytes);
    const rw = rx + sizeBytes;
    const mapping = newMapping(rx, rw, sizeBytes, flags, tag);
    this.#byAddress.add(rx, mapping);
    this.#byAddress.add(rw, mapping);
    return { rx, rw };
  }

  releaseDualMapping({ rx, rw }: DualMapping, sizeBytes: number): void {
    this.#faults.enter("releaseDualMapping", "munmap");
    this.#remove(this.#exactly(rx, rw, sizeBytes));
  }

  flushInstructionCache(address: Address, sizeBytes: number): void {
    this.#faults.enter("flushInstructionCache", "__clear_cache");
    const { mapping } = this.#locate(address, sizeBytes);
    if (address < mapping.rx || address >= mapping.rx + mapping.sizeBytes) {
      throw new Error(`simulated memory: the flush of ${formatAddress(address)} names rw; code runs at rx`);
    }
  }

  hardenedRuntimeInfo(): HardenedRuntimeInfo {
    return { enabled: this.#options.hardened, mapJit: false, dualMapping: true };
  }

  protectJitMemory(): void {
    this.#faults.enter("protectJitMemory", "pthread_jit_write_protect_np");
  }

  openView(address: Address, sizeBytes: number): Uint8Array {
    this.#faults.enter("openView", "view");
    if (this.#options.refusesViews || this.#isClosed) {
      throw new JitError("ERR_FEATURE_NOT_ENABLED", "Cannot open a view: the simulated runtime has none");
    }
    const { mapping, offset } = this.#locate(address, sizeBytes);
    const view = bytesOf(mapping).subarray(offset, offset + sizeBytes);
    mapping.openViews++;
    this.#viewOwners.set(view, mapping);
    return view;
  }

  closeView(view: Uint8Array): void {
    this.#faults.enter("closeView", "detach");
    const mapping = this.#viewOwners.get(view);
    if (mapping === undefined)
      throw new Error("simulated memory: this view was not opened here, or was closed");
    this.#viewOwners.delete(view);
    mapping.openViews--;
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    this.#faults.enter("copyIn", "memcpy");
    this.alias(address, length).set(bytes.subarray(0, length));
  }

  storeAtomically(address: Address, bytes: Uint8Array): void {
    this.#faults.enter("storeAtomically", "store");
    const isAligned = [1, 2, 4, 8].includes(bytes.length) && address % bytes.length === 0;
    if (!isAligned)
      throw new Error(`simulated memory: no single store of ${bytes.length} bytes at ${address}`);
    this.alias(address, bytes.length).set(bytes);
  }

  copyOut(address: Address, copy: Uint8Array): void {
    this.#faults.enter("copyOut", "memcpy");
    copy.set(this.alias(address, copy.length));
  }

  probe(): readonly ProbeStep[] {
    return [{ name: "simulated memory", ok: true, detail: "no system was asked" }];
  }

  limits(): readonly MemoryLimit[] {
    const { totalBytes } = this.#options;
    const value = Number.isFinite(totalBytes) ? totalBytes : null;
    return [{ name: "totalBytes", value, unit: "bytes", meaning: "the memory of the simulated machine" }];
  }

  #makeRanges(pageSize: number): SimulatedRanges {
    return new SimulatedRanges({
      pageSize,
      enter: (operation, syscall) => {
        this.#faults.enter(operation, syscall);
      },
      place: (sizeBytes) => this.#place(sizeBytes),
      add: (rx, rw, sizeBytes, flags) => {
        this.#takeBytes(sizeBytes);
        const mapping = newMapping(rx, rw, sizeBytes, flags, undefined);
        this.#byAddress.add(rx, mapping);
        if (rw !== rx) this.#byAddress.add(rw, mapping);
      },
      remove: (rx, rw, sizeBytes) => {
        this.#remove(this.#exactly(rx, rw, sizeBytes));
      },
      bytesAt: (address, sizeBytes) => this.alias(address, sizeBytes),
    });
  }

  // ---- Inside ---------------------------------------------------------------------------------------------------

  #takeBytes(sizeBytes: number): void {
    this.#checkPages(sizeBytes, "size");
    if (this.#mappedBytes + sizeBytes > this.#options.totalBytes) {
      throw new JitError(
        "ERR_OUT_OF_MEMORY",
        `Cannot map ${sizeBytes} bytes: the simulated machine has ${this.#options.totalBytes}, ` +
          `and ${this.#mappedBytes} are mapped`,
        { syscall: "mmap", errno: 0 },
      );
    }
    this.#mappedBytes += sizeBytes;
    this.#peakMappedBytes = Math.max(this.#peakMappedBytes, this.#mappedBytes);
  }

  #checkPages(bytes: number, what: string): void {
    if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % this.#options.pageSize !== 0) {
      throw new Error(`simulated memory: the ${what} ${bytes} is not a positive multiple of the page size`);
    }
  }

  #exactly(rx: Address, rw: Address, sizeBytes: number): Mapping {
    const mapping = this.#byAddress.get(rx);
    if (mapping === undefined) throw new Error(`simulated memory: nothing is mapped at ${formatAddress(rx)}`);
    if (mapping.rx !== rx || mapping.rw !== rw || mapping.sizeBytes !== sizeBytes) {
      throw new Error(
        `simulated memory: released rx ${formatAddress(rx)}, rw ${formatAddress(rw)}, ${sizeBytes} bytes, but mapped is ` +
          `rx ${formatAddress(mapping.rx)}, rw ${formatAddress(mapping.rw)}, ${mapping.sizeBytes} bytes`,
      );
    }
    return mapping;
  }

  #remove(mapping: Mapping): void {
    if (mapping.openViews !== 0) {
      throw new Error(
        `simulated memory: ${mapping.openViews} views are open at the release of ${formatAddress(mapping.rx)}`,
      );
    }
    this.#byAddress.remove(mapping.rx);
    this.#byAddress.remove(mapping.rw);
    this.#mappedBytes -= mapping.sizeBytes;
  }

  /** The mapping that holds the whole range, and where in it the range begins. */
  #locate(address: Address, sizeBytes: number): { mapping: Mapping; offset: number } {
    const found = this.#byAddress.find(address);
    if (found !== undefined && address + sizeBytes <= found.start + found.value.sizeBytes) {
      return { mapping: found.value, offset: address - found.start };
    }
    throw new Error(
      `simulated memory: ${sizeBytes} bytes at ${formatAddress(address)} are not mapped as one`,
    );
  }
}

function bytesOf(mapping: Mapping): Uint8Array {
  return (mapping.bytes ??= new Uint8Array(mapping.sizeBytes));
}

function newMapping(
  rx: Address,
  rw: Address,
  sizeBytes: number,
  flags: MemoryFlags,
  tag: MappingTag | undefined,
): Mapping {
  return { rx, rw, sizeBytes, flags, tagName: tag?.name, bytes: undefined, openViews: 0 };
}
