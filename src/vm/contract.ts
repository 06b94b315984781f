/**
 * The virtual-memory contract: what an operating system must offer.
 * One file beside this one implements it per system, and `simulated.ts` implements it on plain arrays.
 * `vm/` never decides where code goes; it maps, protects and unmaps what it is told to.
 */
import type { Address } from "../ffi/contract.ts";

/** What a mapping may be used for, and how it is to be made (asmjit's MemoryFlags). All default to false. */
export interface MemoryFlags {
  /** Data may be read from it. */
  readonly read?: boolean;
  /** Data may be written to it. */
  readonly write?: boolean;
  /** Code may run in it. */
  readonly execute?: boolean;
  /** Use large pages; falls back to regular pages where there are none (a hint). */
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
  /** Null where it is not known, because this process may not ask. */
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
  /** The value in force, in `unit`; null = unlimited; a text = not known, and why. */
  readonly value: number | null | string;
  readonly unit: "bytes" | "mappings" | "descriptors";
  /** What runs into it. */
  readonly meaning: string;
}

/** A thread as the system knows it. */
export interface ThreadIdentity {
  /** The native thread id: an integer from 1 to 2**31 − 1. */
  readonly id: number;
  /**
   * What no other thread of the process ever has together with this id: an address of its own, or when it began. So a later
   * thread with the same id is told apart. 0 = not known.
   */
  readonly mark: number;
}

/** A range of addresses that is in use. */
export interface MappedRange {
  readonly address: Address;
  readonly sizeBytes: number;
}

/** Shared memory for a journal: `integers` of them from `start` on, both multiples of 4, and 0 at first. */
export interface JournalStorage {
  readonly words: Int32Array;
  /** The same bytes, from the same one on. */
  readonly doubles: Float64Array;
  readonly start: number;
  readonly integers: number;
}

/**
 * What a thread of a shared allocator has mapped and not registered, so that it can be given back when the thread dies.
 * One for each allocator; whoever holds the lock writes it.
 */
export interface MappingJournal {
  /** Where the block begins that is being given back, since that was noted here; 0 = none. */
  readonly leaving: Address;
  /** What is mapped and open, and neither registered nor given back. */
  heldRanges(): MappedRange[];
  heldHandles(): number[];
  /** A block is about to be given back: from now on its ranges are held here. */
  take(ranges: readonly MappedRange[], leaving: Address): void;
  /** These ranges are a registered block's, or gone. Nothing is being given back. */
  drop(ranges: readonly MappedRange[]): void;
}

/** How a mapping is found again by somebody who did not make it. */
export interface MappingTag {
  /** Letters, digits and hyphens, at most 32 of them. */
  readonly name: string;
  /** Whether it must carry the tag from its first instant on, because whoever makes it may die at any. */
  readonly isGuarded: boolean;
  /** Where each call that maps or unmaps it is noted. */
  readonly journal?: MappingJournal | undefined;
}

/** How the memory that a thread of a shared allocator was just mapping or giving back is found when it has died. */
export interface MappingJournals {
  /**
   * The journal of an allocator. Its calls are noted by a routine that lies in memory, where this system lets one be made: the
   * thread that is first to share the allocator makes it, the others find it in the journal.
   */
  openJournal(storage: JournalStorage, isFirst: boolean): MappingJournal;
  /**
   * Gives back what the journal holds and what carries a tag of that name, and is not part of `kept`: mappings, and whatever
   * making them held for a moment (descriptors, files). What the system refuses is left.
   * Precondition: no thread is mapping or unmapping anything with that tag.
   * @throws Error where the journal was written over by somebody else: nothing is given back then
   */
  reclaim(tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void;
}

/** What an allocator that several threads share asks of the system, so that one of them may die at any instant. */
export interface SharingSupport extends MappingJournals {
  /** The thread that calls; undefined where it cannot be told from others. */
  currentThread(): ThreadIdentity | undefined;
  /** Whether that thread still runs; undefined where this machine does not tell. */
  isAlive(thread: ThreadIdentity): boolean | undefined;
  /**
   * Does now whatever the first call of anything here or in {@link VirtualMemory} would do once, so that a thread is
   * not ended in the middle of it: a runtime's own books may not survive that.
   */
  prepare(): void;
}

/**
 * An operating system's virtual memory.
 * Every function either does the whole of what it says or throws a JitError (with `syscall` and `errno`)
 * and leaves no mapping, no descriptor and no file behind.
 * Sizes are bytes, above 0 and a multiple of the page size; addresses are page-aligned: whoever calls has checked.
 */
export interface VirtualMemory {
  /** `linux`, `darwin`, `windows` or `simulated`. */
  readonly name: string;

  info(): MemoryInfo;
  /** The large page size in bytes, 0 = none, or not known. */
  largePageSize(): number;
  /** Why the large page size is not known, and what would let this process ask. Absent, or undefined, where it is. */
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
  /** Makes code written to `[address, address + sizeBytes)` (the rx view) safe to run on every core. Any alignment. */
  flushInstructionCache(address: Address, sizeBytes: number): void;
  hardenedRuntimeInfo(): HardenedRuntimeInfo;
  /** Switches the calling thread's access to MAP_JIT memory; does nothing where that does not exist. */
  protectJitMemory(access: "read-write" | "read-execute"): void;

  /**
   * The bytes at `address`, aliased. Precondition: mapped and readable, and fewer than 2 GiB (ffi/contract.ts).
   * Drop it with {@link closeView} before the memory is unmapped; never hand it out.
   *
   * @throws JitError where the runtime refuses views of native memory (V8 with its sandbox, as in Electron), or has no room
   *   for one; {@link copyIn} and {@link copyOut} work there all the same
   */
  openView(address: Address, sizeBytes: number): Uint8Array;
  closeView(view: Uint8Array): void;
  /**
   * Copies the first `length` bytes to `address` by a native call. For where there is no view; and for shared memory, where a
   * view that one thread keeps would outlive the memory that another one unmaps, and the making of one must not be
   * interrupted. Precondition: mapped and writable, and at least one byte.
   */
  copyIn(address: Address, bytes: Uint8Array, length: number): void;
  /** Fills `copy` with the bytes at `address`, likewise. Precondition: mapped and readable, and at least one byte. */
  copyOut(address: Address, copy: Uint8Array): void;
  /** Code is gone: gives back what this thread's calls of it have needed (`Ffi.forget`). Never throws. */
  forgetCode?(rx: Address, sizeBytes: number): void;

  /**
   * Absent where nothing of it can be had: threads can share an allocator there too, but one that holds the lock for
   * too long counts as dead.
   */
  readonly sharing?: SharingSupport;
  /** Where there is no `sharing`. Absent: what a thread that died was just mapping or giving back is lost. */
  readonly journals?: MappingJournals;

  /** Tries every way of making executable memory and undoes each. Never throws. */
  probe(): readonly ProbeStep[];
  /** The limits in force. Never throws. */
  limits(): readonly MemoryLimit[];
}
