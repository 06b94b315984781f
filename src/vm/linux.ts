/** Linux's virtual memory. The files of `linux/` explain its peculiarities, each beside its cause. */
import { formatAddress, JitError } from "../base/errors.ts";
import type { Address, Ffi } from "../ffi/contract.ts";
import { describeAccess, probeStep, tryHardening, withWayOut } from "./attempts.ts";
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
  WriteKeySupport,
} from "./contract.ts";
import { DualMapper } from "./linux/dual-mapping.ts";
import { fileNameOf } from "./linux/ladder.ts";
import type { DualMappingRequest } from "./linux/dual-mapping.ts";
import { Errno, systemError } from "./linux/errno.ts";
import type { SystemFiles } from "./linux/files.ts";
import type { InstructionCache } from "./linux/instruction-cache.ts";
import {
  adviseLargePages,
  adviseLargePagesShared,
  largePageBits,
  largePageSizeRefusal,
  readLargePageSize,
} from "./linux/large-pages.ts";
import { MAP_FAILED, MapFlag, Memfd, Protection } from "./linux/libc.ts";
import type { LinuxLibc } from "./linux/libc.ts";
import { notedLibc } from "./linux/noted-libc.ts";
import type { NotedLibc } from "./linux/noted-libc.ts";
import type { Noting } from "./noter.ts";
import { exceededFileLimit, readLimits } from "./linux/limits.ts";
import { Placement } from "./linux/placement.ts";
import { probe } from "./linux/probe.ts";
import { LinuxRanges } from "./linux/range.ts";
import type { RangeMemory } from "./range/contract.ts";
import { reserve } from "./linux/reserve.ts";
import { LinuxSharing } from "./linux/sharing.ts";
import type { StoreBarrier } from "./linux/store-barrier.ts";
import type { WriteKeys } from "./linux/write-keys.ts";
import { ThreadMarks, type MarkCalls } from "./linux/thread-mark.ts";

/** The causes of ENOMEM from mprotect, the commonest first. */
const NOT_ALL_MAPPED =
  "part of the range is not mapped, or the process is at its limit of mappings (vm.max_map_count), or the system out of memory";

/** The parts that Linux memory is built from. */
export interface LinuxMemoryParts {
  readonly libc: LinuxLibc;
  readonly files: SystemFiles;
  /** Binds the calls that mark threads; called when a thread first shares an allocator. */
  readonly bindMarkCalls: () => MarkCalls;
  /** Orders the stores of all threads; absent where entries are to be fenced one by one. */
  readonly storeBarrier?: StoreBarrier;
  /** Makes the routine that notes results; used when a thread first shares an allocator. */
  readonly noting: Noting<LinuxLibc>;
  readonly ffi: Pick<Ffi, "view" | "detach" | "forget">;
  readonly instructionCache: InstructionCache;
  /** How bytes are stored in one access; absent where nothing is to be. */
  readonly stores?: AtomicStores;
  /** Makes what closes writable views; absent where nothing is to. */
  readonly makeKeys?: () => WriteKeys;
}

/** {@link VirtualMemory} on Linux. */
export class LinuxMemory implements VirtualMemory {
  readonly name = "linux";
  readonly sharing: SharingSupport;
  readonly ranges: RangeMemory;
  readonly isCoherent: boolean;
  readonly #instructionCache: InstructionCache;
  readonly #libc: NotedLibc;
  readonly #files: SystemFiles;
  readonly #ffi: Pick<Ffi, "view" | "detach" | "forget">;
  readonly #placement: Placement;
  readonly #dualMapper: DualMapper;
  #pageSize: number | undefined;
  #largePageSize: number | undefined;

  readonly #stores: AtomicStores | undefined;
  readonly writeKeys: WriteKeySupport | undefined;
  /** Set where the writable views of this memory's ranges are closed. */
  readonly #keys: WriteKeys | undefined;

  constructor(parts: LinuxMemoryParts, keys?: WriteKeys) {
    this.#stores = parts.stores;
    this.#keys = keys;
    this.writeKeys = keys === undefined ? keySupport(parts) : undefined;
    const libc = notedLibc(parts.libc);
    this.#libc = libc;
    this.#files = parts.files;
    this.#ffi = parts.ffi;
    this.#placement = new Placement(libc);
    this.#dualMapper = new DualMapper(libc, parts.files, this.#placement);
    this.ranges = new LinuxRanges(libc, parts.files, keys);
    const marks = new ThreadMarks(parts.bindMarkCalls);
    this.sharing = new LinuxSharing(libc, parts.files, marks, parts.noting, parts.storeBarrier);
    this.#instructionCache = parts.instructionCache;
    this.isCoherent = parts.instructionCache.isCoherent === true;
  }

  info(): MemoryInfo {
    const pageSize = (this.#pageSize ??= this.#libc.getpagesize());
    return { pageSize, pageGranularity: pageSize };
  }

  largePageSize(): number {
    return (this.#largePageSize ??= readLargePageSize(this.#files));
  }

  largePageSizeRefusal(): string | undefined {
    return largePageSizeRefusal(this.#files);
  }

  alloc(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): Address {
    return this.#libc.noter.noting(tag?.journal, () => this.#alloc(sizeBytes, flags, tag));
  }

  #alloc(sizeBytes: number, flags: MemoryFlags, tag: MappingTag | undefined): Address {
    const libc = this.#libc;
    const asked = `map ${sizeBytes} bytes (${describeAccess(flags)})`;
    const protection = protectionOf(flags);
    if (tag?.isGuarded === true) {
      const named = this.#allocNamed(sizeBytes, protection, tag);
      if (named !== MAP_FAILED) return named;
    }
    const anonymous = MapFlag.PRIVATE | MapFlag.ANONYMOUS;
    const largePageSize = this.#largePageSizeFor(sizeBytes, flags);
    if (largePageSize !== 0 && sizeBytes % largePageSize === 0) {
      const hugetlb = anonymous | MapFlag.HUGETLB | largePageBits(largePageSize);
      const address = libc.mmap(0, sizeBytes, protection, hugetlb, -1, 0);
      if (address !== MAP_FAILED) return address;
    }
    if (largePageSize !== 0) {
      // A transparent page needs a range aligned to its size, which mmap alone does not promise.
      const reserved = reserve(libc, sizeBytes, largePageSize, this.info().pageSize, asked, this.#placement);
      try {
        const mapped = libc.mmap(reserved, sizeBytes, protection, anonymous | MapFlag.FIXED, -1, 0);
        if (mapped === MAP_FAILED) throw systemError(asked, "mmap", libc.errno());
      } catch (error) {
        libc.munmap(reserved, sizeBytes);
        throw error;
      }
      adviseLargePages(libc, reserved, sizeBytes);
      return reserved;
    }
    const hint = this.#placement.hintFor(sizeBytes);
    const address = libc.mmap(hint, sizeBytes, protection, anonymous, -1, 0);
    if (address === MAP_FAILED) throw systemError(asked, "mmap", libc.errno());
    this.#placement.noteMapped(address, hint);
    return address;
  }

  /**
   * Maps a memfd, because anonymous memory has no name to carry the tag. Returns MAP_FAILED where this machine has no
   * memfd that may be used so: a tag is a hint.
   */
  #allocNamed(sizeBytes: number, protection: number, tag: MappingTag): Address {
    const libc = this.#libc;
    if (exceededFileLimit(libc, sizeBytes) !== undefined) return MAP_FAILED;
    // The name shows in /proc/self/maps that this memory is writable and executable at once.
    const isExecutable = (protection & Protection.EXEC) !== 0;
    const name = fileNameOf(tag.name) + (isExecutable ? "-rwx" : "-rw");
    const kind = isExecutable ? Memfd.EXEC : Memfd.NOEXEC_SEAL;
    let descriptor = libc.memfd_create(name, Memfd.CLOEXEC | kind);
    if (descriptor === -1) descriptor = libc.memfd_create(name, Memfd.CLOEXEC);
    if (descriptor === -1) return MAP_FAILED;
    try {
      return libc.ftruncate(descriptor, sizeBytes) === 0
        ? libc.mmap(0, sizeBytes, protection, MapFlag.SHARED, descriptor, 0)
        : MAP_FAILED;
    } finally {
      libc.close(descriptor);
    }
  }

  release(address: Address, sizeBytes: number, tag?: MappingTag): void {
    this.#libc.noter.noting(tag?.journal, () => this.#release(address, sizeBytes));
  }

  #release(address: Address, sizeBytes: number): void {
    if (this.#libc.munmap(address, sizeBytes) !== 0) {
      throw systemError(
        `unmap ${sizeBytes} bytes at ${formatAddress(address)}`,
        "munmap",
        this.#libc.errno(),
      );
    }
    this.#placement.noteUnmapped(address, sizeBytes);
  }

  protect(address: Address, sizeBytes: number, flags: MemoryFlags): void {
    if (this.#libc.mprotect(address, sizeBytes, protectionOf(flags)) !== 0) {
      const asked = `change ${sizeBytes} bytes at ${formatAddress(address)} to ${describeAccess(flags)}`;
      const errno = this.#libc.errno();
      throw systemError(asked, "mprotect", errno, errno === Errno.ENOMEM ? NOT_ALL_MAPPED : undefined);
    }
  }

  allocDualMapping(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): DualMapping {
    const { pageSize } = this.info(); // asked now: if it threw after the mapping, the mapping would be left behind
    const largePageSize = this.#largePageSizeFor(sizeBytes, flags);
    const request: DualMappingRequest = {
      sizeBytes,
      alignment: largePageSize === 0 ? pageSize : largePageSize,
      hugetlbPageSize: largePageSize !== 0 && sizeBytes % largePageSize === 0 ? largePageSize : 0,
      preferTmp: flags.preferTmp === true,
      tag,
    };
    const mapping = withWayOut(() =>
      this.#libc.noter.noting(tag?.journal, () => this.#dualMapper.map(request)),
    );
    if (largePageSize !== 0) {
      adviseLargePagesShared(this.#libc, mapping, sizeBytes, pageSize, largePageSize);
    }
    return mapping;
  }

  releaseDualMapping({ rx, rw }: DualMapping, sizeBytes: number, tag?: MappingTag): void {
    if (rw === rx + sizeBytes) {
      this.release(rx, 2 * sizeBytes, tag);
      return;
    }
    this.release(rx, sizeBytes, tag);
    this.release(rw, sizeBytes, tag);
  }

  flushInstructionCache(address: Address, sizeBytes: number): void {
    this.#instructionCache.flush(address, sizeBytes);
  }

  hardenedRuntimeInfo(): HardenedRuntimeInfo {
    return tryHardening(this);
  }

  protectJitMemory(): void {
    // Linux has no MAP_JIT memory: there is nothing to switch.
  }

  openView(address: Address, sizeBytes: number): Uint8Array {
    if (this.#keys !== undefined) throw closedView(address);
    return new Uint8Array(this.#ffi.view(address, sizeBytes));
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    if (this.#keys !== undefined) this.#keys.copyIn(address, bytes, length);
    else this.#libc.memcpyIn(address, bytes, length);
  }

  storeAtomically(address: Address, bytes: Uint8Array): void {
    if (this.#keys !== undefined) {
      this.#keys.store(address, bytes);
      return;
    }
    if (this.#stores === undefined) throw cannotStore();
    this.#stores.store(this, address, bytes);
  }

  copyOut(address: Address, copy: Uint8Array): void {
    if (this.#keys !== undefined) this.#keys.copyOut(address, copy);
    else this.#libc.memcpyOut(copy, address, copy.length);
  }

  forgetCode(rx: Address, sizeBytes: number): void {
    this.#ffi.forget?.(rx, sizeBytes);
  }

  closeView(view: Uint8Array): void {
    const { buffer } = view;
    if (buffer instanceof ArrayBuffer) this.#ffi.detach(buffer);
  }

  probe(): readonly ProbeStep[] {
    const steps = probe({
      libc: this.#libc,
      files: this.#files,
      dualMapper: this.#dualMapper,
      pageSize: this.info().pageSize,
      largePageSize: this.largePageSize(),
    });
    return [...this.#instructionCache.probe(), ...steps, ...probeKeys(this.writeKeys)];
  }

  limits(): readonly MemoryLimit[] {
    return readLimits(this.#libc, this.#files);
  }

  /** 0 where large pages are not asked for, do not exist, or are larger than the memory. */
  #largePageSizeFor(sizeBytes: number, flags: MemoryFlags): number {
    if (flags.largePages !== true) return 0;
    const largePageSize = this.largePageSize();
    return sizeBytes >= largePageSize ? largePageSize : 0;
  }
}

function protectionOf({ read, write, execute }: MemoryFlags): number {
  return (
    (read === true ? Protection.READ : Protection.NONE) |
    (write === true ? Protection.WRITE : Protection.NONE) |
    (execute === true ? Protection.EXEC : Protection.NONE)
  );
}

/** Offers memory with closed writable views, made when it is first asked for. */
function keySupport(parts: LinuxMemoryParts): WriteKeySupport | undefined {
  const { makeKeys } = parts;
  if (makeKeys === undefined) return undefined;
  let keys: WriteKeys | undefined;
  let memory: LinuxMemory | undefined;
  return {
    lack: () => (keys ??= makeKeys()).lack(),
    refusal: () => (keys ??= makeKeys()).refusal(),
    memory: () => (memory ??= new LinuxMemory(parts, (keys ??= makeKeys()))),
  };
}

function closedView(address: Address): JitError {
  return new JitError(
    "ERR_PERMISSION",
    `Cannot open a view at ${formatAddress(address)}: writable views are closed (protectWrites)`,
  );
}

function probeKeys(support: WriteKeySupport | undefined): ProbeStep[] {
  if (support === undefined) return [];
  const step = probeStep("protection keys", () => {
    const refusal = support.refusal();
    if (refusal !== undefined) throw new Error(refusal);
    return 'writable views can be closed (the option `protectWrites: "keys"`)';
  });
  return [step];
}
