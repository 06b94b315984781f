/**
 * Where the memory of blocks comes from and goes to: a stretch of the range, or a mapping of its own for each block. What is
 * on its way is in the journal, so that other threads can give it back if this one dies.
 */
import type { Core } from "../core/core.ts";
import { BlockRange } from "./block-range.ts";
import type { Belonging } from "./block-range.ts";
import type { RangeRecord, RegisterEntry } from "./contract.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import type {
  DualMapping,
  JournalStorage,
  MappedRange,
  MappingJournal,
  MappingJournals,
  MappingTag,
  MemoryFlags,
  MemoryKind,
  VirtualMemory,
} from "../vm/contract.ts";

/** The addresses of a block. */
type MappedAddresses = DualMapping & { readonly sizeBytes: number };

/** A block, as it is given back. */
type MappedMemory = MappedAddresses & { readonly kind: MemoryKind };

/** The source of one allocator's blocks, as one thread sees it. */
export class BlockSource {
  /** The range in which the blocks lie, where there is one. */
  readonly range: BlockRange;
  readonly #memory: VirtualMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #flags: MemoryFlags;
  /** The journal of mappings that are not in the register. */
  #journal: MappingJournal | undefined;
  #tag: MappingTag;

  /** @param tagName the name by which the system tells this allocator's memory from all other */
  constructor(
    core: Core,
    memory: VirtualMemory,
    options: Readonly<ResolvedJitAllocatorOptions>,
    tagName: string,
  ) {
    this.#tag = { name: tagName, isGuarded: false };
    this.#memory = memory;
    this.#options = options;
    this.range = new BlockRange(memory, options, core);
    this.#flags = { read: true, write: true, execute: true, largePages: options.useLargePages };
  }

  get #journals(): MappingJournals | undefined {
    return this.#memory.sharing ?? this.#memory.journals;
  }

  get #belonging(): Belonging {
    return { tag: this.#tag, journal: this.#journal };
  }

  map(sizeBytes: number, kind: MemoryKind): DualMapping {
    const stretch = this.range.map(sizeBytes, kind, this.#belonging);
    if (stretch !== undefined) return stretch;
    if (this.#hasTwoViews(kind)) return this.#mapTwice(sizeBytes, kind);
    const flags = { ...this.#flags, execute: kind === "code" };
    const address = this.#memory.alloc(sizeBytes, flags, this.#tag);
    return { rx: address, rw: address };
  }

  /** Data is written where it is read. */
  #hasTwoViews(kind: MemoryKind): boolean {
    return this.#options.useDualMapping && kind !== "data";
  }

  /** The executable view of constants gets less access before anything is written: no gadget is ever executable in it. */
  #mapTwice(sizeBytes: number, kind: MemoryKind): DualMapping {
    const mapping = this.#memory.allocDualMapping(sizeBytes, this.#flags, this.#tag);
    if (kind === "code") return mapping;
    try {
      this.#memory.protect(mapping.rx, sizeBytes, { read: true });
      return mapping;
    } catch (error) {
      this.#memory.releaseDualMapping(mapping, sizeBytes, this.#tag);
      throw error;
    }
  }

  unmap(mapped: MappedMemory): void {
    const { range } = this.range;
    if (range !== undefined) {
      this.range.unmap(range, mapped);
      return;
    }
    const { rx, rw, sizeBytes, kind } = mapped;
    if (this.#hasTwoViews(kind)) this.#memory.releaseDualMapping({ rx, rw }, sizeBytes, this.#tag);
    else this.#memory.release(rx, sizeBytes, this.#tag);
  }

  /** Gives the range back. Precondition: there are no blocks. */
  releaseRange(): void {
    this.range.release(this.#belonging);
  }

  // --- for other threads --------------------------------------------------------------------------------------

  /**
   * Does what may fail of {@link share}, and changes nothing.
   * @returns the journal to pass to it
   * @throws JitError where the system refuses what sharing needs
   */
  prepare(journal: JournalStorage, isFirst: boolean): MappingJournal | undefined {
    this.#memory.sharing?.prepare();
    return this.#journals?.openJournal(journal, isFirst);
  }

  /**
   * Moves to a journal and a record of the range that other threads read and write too. Cannot fail.
   * @param isFirst whether this thread has had the allocator for itself so far
   */
  share(journal: MappingJournal | undefined, range: RangeRecord, isFirst: boolean): void {
    this.#journal = journal;
    this.#tag = { ...this.#tag, isGuarded: true, journal };
    this.range.share(range, isFirst);
  }

  /** Notes that a block which is marked as leaving is about to be unmapped. In the range nothing needs to be noted. */
  noteLeaving(block: MappedAddresses): void {
    if (this.range.range === undefined) this.#journal?.take(rangesOf(block), block.rx);
  }

  /** Notes that the register has a block: it is not on its way any more. */
  noteRegistered(block: MappedAddresses): void {
    this.#journal?.drop(rangesOf(block));
  }

  /** Notes that a block is unmapped, and that the register no longer has it. */
  noteGone(block: MappedAddresses): void {
    this.#journal?.drop(rangesOf(block));
  }

  /**
   * Gives back memory that a dead thread had mapped and not registered, or was about to unmap.
   * @param leaving the blocks registered as leaving: one at the most, since blocks are unmapped one after the other
   */
  reclaim(kept: readonly RegisterEntry[], [leaving]: readonly RegisterEntry[]): void {
    // If the journal does not name the leaving block, all of it is still mapped. If it does, it says what is left of it.
    // In a range nothing is ever left half unmapped: its stretches are wiped, as often as need be.
    const isInRange = this.range.range !== undefined;
    if (!isInRange && leaving !== undefined && this.#journal?.leaving !== leaving.rx)
      this.#journal?.take(rangesOf(leaving), leaving.rx);
    const keptRanges = [...kept.flatMap(rangesOf), ...this.range.views()];
    this.#journals?.reclaim(this.#tag.name, keptRanges, this.#journal);
  }

  /** Ends a {@link reclaim}: the register has no leaving block any more. */
  settle(kept: readonly RegisterEntry[]): void {
    this.#journal?.drop([...kept.flatMap(rangesOf), ...this.range.views()]);
    this.range.sweep();
  }

  /** @throws Error where the journal is in the middle of a call, or holds any of the `registered` ranges */
  verifyJournal(registered: readonly MappedRange[]): void {
    const journal = this.#journal;
    if (journal === undefined) return;
    if (journal.leaving !== 0 || journal.heldHandles().length > 0)
      throw new Error("invariant 19 is broken: the journal is in the middle of a call");
    for (const held of journal.heldRanges()) {
      const isOver = ({ address, sizeBytes }: MappedRange): boolean =>
        held.address < address + sizeBytes && address < held.address + held.sizeBytes;
      if (registered.some(isOver))
        throw new Error("invariant 19 is broken: the journal holds what is a block's");
    }
  }
}

/** The ranges of a block's two views; twice the same range where it has one view. */
export function rangesOf({ rx, rw, sizeBytes }: MappedAddresses): MappedRange[] {
  return [
    { address: rx, sizeBytes },
    { address: rw, sizeBytes },
  ];
}
