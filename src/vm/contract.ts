/**
 * The virtual-memory contract: what an operating system must offer.
 * One file beside this one implements it per system, and `simulated.ts` implements it on plain arrays.
 * `vm/` never decides where code goes; it maps, protects and unmaps the ranges it is given.
 */
import type { Address } from "../ffi/contract.ts";
import type { MappedRange, MappingJournal, MappingTag } from "./journal/contract.ts";
import type { RangeMemory } from "./range/contract.ts";

export type { AddressRange, MemoryKind, RangeMemory, ReservedRange } from "./range/contract.ts";
export type { MappedRange, MappingJournal, MappingTag } from "./journal/contract.ts";

/** The access of a mapping and the way it is made (asmjit's MemoryFlags). All default to false. */
export interface MemoryFlags {
  /** Data may be read from it. */
  readonly read?: boolean;
  /** Data may be written to it. */
  readonly write?: boolean;
  /** Code may run in it. */
  readonly execute?: boolean;
  /** A hint: use large pages. Regular pages are used where there are none. */
  readonly largePages?: boolean;
  /** For dual mappings: prefer an unlinked file in TMPDIR or /tmp over a memfd (asmjit's kMappingPreferTmp). */
  readonly preferTmp?: boolean;
}

/** Two views of the same memory. */
export interface DualMapping {
  /** Read and execute. */
  readonly rx: Address;
  /** Read and write. */
  readonly rw: Address;
}

/** Page sizes, in bytes. */
export interface MemoryInfo {
  /** The smallest unit of protection. */
  readonly pageSize: number;
  /** The unit and alignment of a mapping: the page size, except on Windows (64 KiB). */
  readonly pageGranularity: number;
}

/** What a hardened runtime allows (asmjit's HardenedRuntimeInfo). */
export interface HardenedRuntimeInfo {
  /** True where memory cannot be mapped writable and executable at once. */
  readonly enabled: boolean;
  /** True where MAP_JIT can be used (macOS). */
  readonly mapJit: boolean;
  /** True where the same memory can be mapped twice with different protections. */
  readonly dualMapping: boolean;
}

/** One thing tried on this machine, and how it went; what `doctor` prints. */
export interface ProbeStep {
  /** For example `memfd_create (MFD_EXEC)`. */
  readonly name: string;
  /** Null: not known, because this process may not ask. */
  readonly ok: boolean | null;
  /** One line: what was found, why it failed (with the errno's name), or what would let this process ask. */
  readonly detail: string;
  readonly syscall?: string;
  readonly errno?: number;
}

/** A limit of the process that matters to an allocator of code. */
export interface MemoryLimit {
  /** For example `RLIMIT_FSIZE`, `vm.max_map_count`. */
  readonly name: string;
  /** The value in force, in `unit`; null = unlimited; a string = not known, and the string says why. */
  readonly value: number | null | string;
  readonly unit: "bytes" | "mappings" | "descriptors";
  /** What the limit restricts. */
  readonly meaning: string;
}

/** A thread as the system knows it. */
export interface ThreadIdentity {
  /** The native thread id: an integer from 1 to 2**31 − 1. */
  readonly id: number;
  /**
   * Tells this thread from a later one with the same id: an address that only this thread has, or the time it began. 0 =
   * not known.
   */
  readonly mark: number;
}

/**
 * Shared memory for a journal: `integers` integers of `words`, from index `start` on. Both numbers are multiples of 4;
 * the integers are 0 at first.
 */
export interface JournalStorage {
  readonly words: Int32Array;
  /** The bytes of `words`, from the same byte on. */
  readonly doubles: Float64Array;
  readonly start: number;
  readonly integers: number;
}

/** Finds the memory that a thread of a shared allocator was mapping or giving back when it died. */
export interface MappingJournals {
  /**
   * Opens the journal of an allocator. A routine in memory notes the results of its calls, where this system allows such
   * a routine. The thread that shares the allocator first (`isFirst`) makes the routine; the others find its address in
   * the journal.
   */
  openJournal(storage: JournalStorage, isFirst: boolean): MappingJournal;
  /**
   * Gives back what the journal holds and what carries a tag of that name, but for the ranges in `kept`. That includes
   * the descriptors and files that making a mapping needs for a moment. What the system refuses to give back is left.
   * Precondition: no thread is mapping or unmapping anything with that tag.
   * @throws Error where something else has written over the journal; nothing is given back then
   */
  reclaim(tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void;
}

/** What a shared allocator needs from the system, so that it survives a thread that dies at any instant. */
export interface SharingSupport extends MappingJournals {
  /** The calling thread; undefined where it cannot be told from others. */
  currentThread(): ThreadIdentity | undefined;
  /** Whether the thread still runs; undefined where this machine does not tell. */
  isAlive(thread: ThreadIdentity): boolean | undefined;
  /**
   * Makes every other thread of the process order its memory accesses: when this returns true, the stores that each has made
   * are seen here, and what this thread stored before is seen by each of their later loads. So threads that store often may
   * use plain stores, and the one that looks seldom pays. False, or absent: this system offers no such barrier.
   */
  orderStores?(): boolean;
  /**
   * Does now the one-time work that the first calls of this interface and of {@link VirtualMemory} would do. A thread
   * terminated in the middle of that work could corrupt the runtime's own state.
   */
  prepare(): void;
}

/** Memory whose writable views are closed to all threads, but inside of the functions of this contract that copy and store. */
export interface WriteKeySupport {
  /** Why this machine has none; undefined where it has. */
  lack(): string | undefined;
  /** Why this thread can close no range: what {@link lack} says, or there is no key left for it. Undefined where it can. */
  refusal(): string | undefined;
  /**
   * The memory; each thread has one. It has no views, and no writable view of its ranges can be written to by anything but its
   * `copyIn`, `copyOut` and `storeAtomically`. Precondition: {@link lack} returned undefined.
   */
  memory(): VirtualMemory;
}

/**
 * An operating system's virtual memory.
 * Every function either does the whole of what it says or throws a JitError (with `syscall` and `errno`)
 * and leaves no mapping, no descriptor and no file behind.
 * Sizes are bytes, above 0 and a multiple of the page size; addresses are page-aligned. The caller has checked both.
 */
export interface VirtualMemory {
  /** `linux`, `darwin`, `windows` or `simulated`. */
  readonly name: string;

  info(): MemoryInfo;
  /** The large page size in bytes, 0 = none, or not known. */
  largePageSize(): number;
  /** Why the large page size is not known, and what would let this process ask. Absent or undefined: it is known. */
  largePageSizeRefusal?(): string | undefined;
  /** @param tag the mapping carries it where the system can do that; a hint */
  alloc(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): Address;
  /** @param tag as in {@link alloc} */
  release(address: Address, sizeBytes: number, tag?: MappingTag): void;
  protect(address: Address, sizeBytes: number, flags: MemoryFlags): void;
  /** @param tag as in {@link alloc} */
  allocDualMapping(sizeBytes: number, flags: MemoryFlags, tag?: MappingTag): DualMapping;
  /** @param tag as in {@link alloc} */
  releaseDualMapping(mapping: DualMapping, sizeBytes: number, tag?: MappingTag): void;
  /**
   * True where the processor keeps its instruction cache coherent with writes through either view, so that a flush does
   * nothing and need not be asked for. Absent: a write is followed by a flush.
   */
  readonly isCoherent?: boolean;
  /** Makes code written to `[address, address + sizeBytes)` (the rx view) safe to run on every core. Any alignment. */
  flushInstructionCache(address: Address, sizeBytes: number): void;
  hardenedRuntimeInfo(): HardenedRuntimeInfo;
  /** Switches the calling thread's access to MAP_JIT memory; does nothing on systems without such memory. */
  protectJitMemory(access: "read-write" | "read-execute"): void;

  /**
   * The bytes at `address`, aliased. Precondition: mapped and readable, and fewer than 2 GiB (ffi/contract.ts).
   * The caller drops it with {@link closeView} before the memory is unmapped, and never hands it out.
   *
   * @throws JitError where the runtime refuses views of native memory (V8 with its sandbox, as in Electron), or has no
   *   room for one; {@link copyIn} and {@link copyOut} still work there
   */
  openView(address: Address, sizeBytes: number): Uint8Array;
  closeView(view: Uint8Array): void;
  /**
   * Copies the first `length` bytes to `address` by a native call. Used where there is no view, and for shared
   * allocators: there a thread's view would outlive memory that another thread unmaps, and opening a view must not be
   * interrupted. Precondition: mapped and writable, and at least one byte.
   */
  copyIn(address: Address, bytes: Uint8Array, length: number): void;
  /**
   * Fills `copy` with the bytes at `address`, by a native call too. Precondition: mapped and readable, and at least one
   * byte.
   */
  copyOut(address: Address, copy: Uint8Array): void;
  /**
   * Stores all of `bytes`, 1, 2, 4 or 8 of them, in one access: whoever reads or runs them at the same time meets the old ones
   * or the new ones. Precondition: mapped and writable, and at a multiple of their number.
   *
   * @throws JitError `ERR_FEATURE_NOT_ENABLED` where this process can make no such store
   */
  storeAtomically(address: Address, bytes: Uint8Array): void;
  /** Called when code is gone: gives back what this thread needed to call it (`Ffi.forget`). Never throws. */
  forgetCode?(rx: Address, sizeBytes: number): void;

  /**
   * Absent where the system offers none of it. Threads can share an allocator there too, but a thread that holds the lock
   * for too long counts as dead.
   */
  readonly sharing?: SharingSupport;
  /**
   * Present where there is no `sharing`. If both are absent, what a thread was mapping or giving back when it died is
   * lost.
   */
  readonly journals?: MappingJournals;

  /** Absent where the system offers no ranges: blocks are then mapped one by one. */
  readonly ranges?: RangeMemory;
  /** Where it is absent: why, in a few words. */
  readonly noRanges?: string;
  /** Absent where the system offers none of it. */
  readonly writeKeys?: WriteKeySupport | undefined;

  /** Tries every way of making executable memory and undoes each. Never throws. */
  probe(): readonly ProbeStep[];
  /** The limits in force. Never throws. */
  limits(): readonly MemoryLimit[];
}
