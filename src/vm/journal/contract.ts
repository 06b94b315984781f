/** How a mapping is told from all others, and where it is noted while it is nobody's. */
import type { Address } from "../../ffi/contract.ts";

/** A range of addresses that is in use. */
export interface MappedRange {
  readonly address: Address;
  readonly sizeBytes: number;
}

/**
 * The journal of a shared allocator: what a thread has mapped and not registered, so that another thread can give it back
 * when the first dies. There is one for each allocator; the thread that holds the lock writes it.
 */
export interface MappingJournal {
  /** The start of the block that is being given back; 0 = none. Set by {@link take}, cleared by {@link drop}. */
  readonly leaving: Address;
  /** The ranges that are mapped, and neither registered nor given back. */
  heldRanges(): MappedRange[];
  heldHandles(): number[];
  /** A block is about to be given back: from now on the journal holds its ranges. */
  take(ranges: readonly MappedRange[], leaving: Address): void;
  /**
   * The journal no longer holds these ranges: they belong to a registered block, or are unmapped. No block is being given
   * back.
   */
  drop(ranges: readonly MappedRange[]): void;
}

/** A mapping's tag: by it a thread that did not make the mapping can find it. */
export interface MappingTag {
  /** Letters, digits and hyphens, at most 32 of them. */
  readonly name: string;
  /** Whether the mapping must carry the tag from its first instant on, because the thread that makes it may die at any. */
  readonly isGuarded: boolean;
  /** The journal in which each call that maps or unmaps the mapping is noted. */
  readonly journal?: MappingJournal | undefined;
}
