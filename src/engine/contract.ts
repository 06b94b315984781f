/** Contracts by which the parts of the engine, and the room above it, know each other without importing each other. */
import type { Address } from "../ffi/contract.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { SpanKind } from "./kinds.ts";

/** How written code is made safe to run: `default` and `flush` where the processor needs a flush, `never` not at all. */
export type CachePolicy = "default" | "flush" | "never";

/** A span as it is passed to its owner: the fields that users see. Only the owner knows more (`spanAccess`). */
export interface SpanHandle {
  readonly rx: Address;
  readonly rw: Address;
  readonly size: number;
}

/**
 * The door of machine code that other threads may release: whoever runs such code enters before, then checks that the code is
 * live, and leaves when it has returned. In this order: code that was live behind the entry stays where it is until the leave.
 */
export interface Door {
  /** May be called again before the leave, from a callback: each entry needs its leave. */
  enter(): void;
  leave(): void;
}

/** What was retired and is not free yet: still an allocation for the core, and for nobody else. */
export interface RetiredPlaces {
  readonly isEmpty: boolean;
  /** How many there are, and their bytes. */
  readonly count: number;
  readonly sizeBytes: number;
  /** Whether the allocation that begins at a granule of a block is one. */
  has(block: number, granule: number): boolean;
}

/** The operations that a span calls on its allocator. */
export interface SpanOwner {
  /** Whether the processor can run code in this memory; false for simulated memory. */
  readonly isExecutable: boolean;
  /** Changes whenever a span may have ended; NaN where that is unknown, because other threads can release. */
  readonly releaseCount: number;
  /** Undefined where no other thread can release, so that nobody has to know who is inside. */
  readonly door: Door | undefined;
  isLive(span: SpanHandle): boolean;
  sizeOf(span: SpanHandle): number;
  read(span: SpanHandle, offset: number, length: number | undefined): Uint8Array;
  /** Writes `bytes`. @throws JitError `ERR_INVALID_ARGUMENT` where they are no Uint8Array */
  writeBytes(span: SpanHandle, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void;
  patch(span: SpanHandle, offset: number, bytes: Uint8Array): void;
  tokenOf(span: SpanHandle): SpanToken;
  shrink(target: SpanHandle | Address, newSize: number): void;
  release(target: SpanHandle | Address): void;
  /** Does nothing where the span was released before. */
  releaseIfLive(span: SpanHandle): void;
  /** Tells an observer of the operations of this thread from now on. */
  observe(observer: Observer): void;
  /** Tells an observer nothing any more. */
  unobserve(observer: Observer): void;
}

/** How much of what an allocator may take is taken; sizes are bytes. */
export interface MemoryPressure {
  /** As `statistics().usedSize`: what is allocated, with what was released and may be running still. */
  readonly usedSize: number;
  /** All mapped blocks. */
  readonly reservedSize: number;
  /** What all blocks together may reserve. */
  readonly maxReservedSize: number;
}

/** Called when a part of `maxReservedSize` is in use. It may release and allocate. */
export type PressureListener = (pressure: MemoryPressure) => void;

/** Is told what the operations of an allocator do. Must not throw, nor use the allocator but to look. */
export interface Observer {
  /** An allocation has been made that begins at an address (rx). `size` is what was asked for, in bytes. */
  allocated?(rx: Address, size: number, kind: SpanKind): void;
  /** The allocation that begins at an address was shrunk to so many bytes, or is as long as it was. */
  shrunk?(rx: Address, newSize: number): void;
  /**
   * The live allocations that begin at these addresses are about to end; undefined: all. Told before another thread can have
   * their memory.
   */
  ending?(starts: readonly Address[] | undefined): void;
  /** What was to end has not, or not all of it. */
  failed?(starts: readonly Address[] | undefined): void;
  /** The allocation that began at an address has ended; undefined: many may have. @param how what has ended all */
  ended(rx: Address | undefined, how?: "reset" | "dispose"): void;
}

/**
 * A span as a message to another thread: plain data. `JitAllocator.spanOf` makes a span of it there, as long as the
 * allocation is live. Unlike an address, a token is not taken for a later allocation at the same place.
 */
export interface SpanToken {
  /** Where the allocation begins. */
  readonly rx: Address;
  /** A number that no other allocation has (modulo 2**31). */
  readonly generation: number;
}

/** The generations of the module that a builder makes in a shared allocator (sharing/modules.ts). */
export interface ModuleTicket {
  /** Their batch; -1 = none was needed yet. */
  batch: number;
  /** The generation that was given last. */
  last: number;
}

/** A block as the register knows it. Addresses and sizes in bytes. */
export interface RegisteredBlock {
  readonly pool: number;
  /** Its index in the core. */
  readonly block: number;
  /** The index of its generations. */
  readonly generations: number;
  readonly rx: Address;
  readonly rw: Address;
  readonly sizeBytes: number;
}

/** An entry that is in use. */
export interface RegisterEntry extends RegisteredBlock {
  readonly entry: number;
  /** A number that no other block ever had (modulo 2**31): by it a thread knows that its own copy of the entry is stale. */
  readonly serial: number;
}

/** Where the threads of a shared allocator look up its blocks. The lock is held. */
export interface BlockRegister {
  /** Enters a block. Returns its entry, or 0 where the register is full. */
  add(known: RegisteredBlock): number;
  /** The entry of the block with that index in the core. */
  find(block: number): RegisterEntry | undefined;
  /** 0 = free, below 0 = leaving. */
  serialOf(entry: number): number;
  /** Notes for all threads that a block is about to be unmapped: it is gone from now on, whichever thread finishes that. */
  markLeaving(entry: number): void;
  /** Undoes {@link markLeaving}: the system refused to unmap the block. */
  markStaying(entry: number): void;
  /** Forgets a block that has been unmapped. */
  remove(entry: number): void;
}

/**
 * What the threads of an allocator know of its range (block-range.ts). Each field is read and written with the lock held.
 */
export interface RangeRecord {
  /** The range; undefined = none was reserved yet. Written last, and in one step, by whoever reserves it. */
  range: AddressRange | undefined;
  /** Whether the system's policy allows no range: blocks are mapped one by one. */
  isRefused: boolean;
  /** Whether something in the range that is no block's may have memory, or access. */
  isUnclean: boolean;
  /** Whether pages of free memory were given back, which read as zero since. */
  isTrimmed: boolean;
  /** Bytes from the start of the range that are sealed (sealed-stretch.ts). Both are written before the range is. */
  sealedBytes: number;
  /** The same, with what is committed and about to be sealed. */
  sealingBytes: number;
  /** The lowest address in the range that was ever data's; 0 = none was. Written before it becomes data's. */
  dataStart: Address;
}

/** The most that an allocator was seen to use and to reserve, in bytes. */
export interface PeakRecord {
  usedSize: number;
  reservedSize: number;
}

/** What the threads of an allocator know of it, besides its blocks. */
export interface SharedRecords {
  readonly range: RangeRecord;
  readonly peaks: PeakRecord;
}

/** A range of addresses in which all code of an allocator lies: of the executable views. */
export interface CodeRange {
  /** The lowest address of the range. */
  readonly start: Address;
  /** Bytes. */
  readonly size: number;
}

/** The parts that an engine takes over where the allocator is another thread's. */
export interface SharedParts {
  /** The core's buffer. */
  readonly buffer: SharedArrayBuffer;
  readonly tagName: string;
}
