/** What the parts of the engine, and whoever stands before it, know of each other without importing each other. */
import type { Address } from "../ffi/contract.ts";

/** A span as its owner is handed it: by what users see of it. The owner alone knows more (`spanAccess`). */
export interface SpanHandle {
  readonly rx: Address;
  readonly rw: Address;
  readonly size: number;
}

/** What a span asks of the allocator it is from. */
export interface SpanOwner {
  /** Whether the processor can run what is written there; not so in simulated memory. */
  readonly isExecutable: boolean;
  /** Changes whenever a span may have ended; NaN where that cannot be said. */
  readonly releaseCount: number;
  isLive(span: SpanHandle): boolean;
  sizeOf(span: SpanHandle): number;
  read(span: SpanHandle, offset: number, length: number | undefined): Uint8Array;
  write(span: SpanHandle, offset: number, bytes: Uint8Array): void;
  tokenOf(span: SpanHandle): SpanToken;
  shrink(target: SpanHandle | Address, newSize: number): void;
  release(target: SpanHandle | Address): void;
  /** Nothing where it was released before. */
  releaseIfLive(span: SpanHandle): void;
}

/**
 * A span as a message to another thread: plain data. `JitAllocator.spanOf` makes a span of it there, as long as the
 * allocation is live; a place that was handed out again is told apart, as an address alone could not do.
 */
export interface SpanToken {
  /** Where the allocation begins. */
  readonly rx: Address;
  /** A number that no other allocation has (modulo 2**31). */
  readonly generation: number;
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
  /** No other block ever had it (modulo 2**31): tells a thread that what it keeps of the entry is stale. */
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
  /** Notes that a block is about to be unmapped, for all threads: from now on it is gone, whoever finishes that. */
  markLeaving(entry: number): void;
  /** The system refused: it stays. */
  markStaying(entry: number): void;
  /** Forgets a block that has been unmapped. */
  remove(entry: number): void;
}
