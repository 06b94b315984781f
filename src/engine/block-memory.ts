/** Maps and unmaps blocks, and keeps the object through which the bytes of each mapped block are reached. */
import { tell, type DiagnosticBlock } from "../base/diagnostics.ts";
import { admitSpans, clearBlock, ledgerOf } from "../core/blocks.ts";
import { addBlock, removeBlock } from "../core/run-index.ts";
import { totalUsedBytes } from "../core/survey.ts";
import type { Core } from "../core/core.ts";
import { BlockSource, rangesOf } from "./block-source.ts";
import type { BlockRegister, PeakRecord, SharedRecords, SpanOwner } from "./contract.ts";
import { kindName } from "./kinds.ts";
import { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfMetadata } from "./refusals.ts";
import { needMuchStack } from "../base/stack.ts";
import type { DualMapping, MappingJournal, VirtualMemory } from "../vm/contract.ts";

/** The most blocks there can be: each takes at least one of the 2**21 units that the buffer can have. */
const MOST_BLOCKS = 2 ** 21;

/** Bytes filled through one view: a view is shorter than 2 GiB (ffi/contract.ts), a block may be as long. */
const FILLED_AT_ONCE_BYTES = 2 ** 30;

/** The blocks of one allocator, as one thread sees them. */
export class BlockMemory {
  /** Where the memory of the blocks comes from. */
  readonly source: BlockSource;
  /** The most that was seen. */
  peaks: PeakRecord = { usedSize: 0, reservedSize: 0 };
  #owner: SpanOwner;
  readonly #core: Core;
  readonly #memory: VirtualMemory;
  readonly isCoherent: boolean;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  /** By the core's number of the block. */
  readonly #mapped: (MappedBlock | undefined)[] = [];
  /** The register in which the threads of a shared allocator look up its blocks. */
  #register: BlockRegister | undefined;

  /** @param tagName the name by which the system tells this allocator's memory from all other */
  constructor(
    owner: SpanOwner,
    core: Core,
    memory: VirtualMemory,
    options: Readonly<ResolvedJitAllocatorOptions>,
    tagName: string,
  ) {
    this.#owner = owner;
    this.#core = core;
    this.#memory = memory;
    this.isCoherent = memory.isCoherent === true;
    this.#options = options;
    this.source = new BlockSource(core, memory, options, tagName);
  }

  /** The mapped block that has the index `block` in the core. */
  at(block: number): MappedBlock {
    const known = this.#mapped[this.#core.blockNumber(block)];
    return known?.block === block ? known : this.#adopt(block);
  }

  /** Makes the object for a block that another thread mapped, when this thread first meets it. */
  #adopt(block: number): MappedBlock {
    const found = this.#register?.find(block);
    if (found === undefined) throw notMapped();
    const shift = this.#core.granuleShiftOf(found.pool);
    const { rx, rw, sizeBytes } = found;
    const kind = kindName(this.#core.kindOfPool(found.pool));
    const mapped = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, true, kind);
    mapped.block = block;
    this.#enter(mapped, found.entry, found.serial);
    return mapped;
  }

  #enter(mapped: MappedBlock, entry: number, serial: number): void {
    mapped.entry = entry;
    mapped.serial = serial;
    this.#mapped[this.#numberOf(mapped)] = mapped;
  }

  /** The number under which a block is kept. @throws Error for an impossible number, which would make the list endless */
  #numberOf({ block }: MappedBlock): number {
    const number = this.#core.blockNumber(block);
    if (number < 0 || number > MOST_BLOCKS)
      throw new Error(`invariant 4 is broken: a block has the number ${number}`);
    return number;
  }

  /** All mapped blocks, in the order of their addresses. */
  all(): MappedBlock[] {
    const blocks: MappedBlock[] = [];
    for (let block = this.#core.firstBlock(); block !== 0; block = this.#core.nextBlock(block)) {
      blocks.push(this.at(block));
    }
    return blocks;
  }

  /** The oldest block of each pool that has any. */
  oldest(): MappedBlock[] {
    return Array.from({ length: this.#core.poolCount }, (_, pool) => pool)
      .map((pool) => this.#core.oldestBlock(pool))
      .flatMap((block) => (block === 0 ? [] : this.at(block)));
  }

  /** The blocks that a soft reset keeps: of each pool the oldest; with `immediateRelease` the reserve alone. */
  kept(): MappedBlock[] {
    const { immediateRelease } = this.#options;
    return this.oldest().filter(({ block }) => !immediateRelease || this.#core.isReserve(block));
  }

  /**
   * Counts what is in use, and keeps it if it is a peak. Called where counting is not felt: when a block is mapped, before
   * everything goes, and when somebody asks. Allocations and releases in between count nothing. Returns bytes.
   */
  notePeak(): number {
    const usedSize = totalUsedBytes(this.#core.words, this.#core.doubles);
    if (usedSize > this.peaks.usedSize) this.peaks.usedSize = usedSize;
    return usedSize;
  }

  verify(): void {
    for (const mapped of this.all()) {
      if (!mapped.isMapped) throw notMapped();
    }
    this.source.range.verify(this.all());
    this.source.verifyJournal(this.all().flatMap(rangesOf));
  }

  /**
   * Maps a block and adds it to its pool. `size` is the request that needs it, in bytes, for messages. The empty blocks of
   * `inPlaceOf` are removed once it is mapped: if the system has no room for it, nothing has changed. Where one of them
   * cannot be removed, new blocks replace those that are gone.
   */
  add(pool: number, sizeBytes: number, size: number, inPlaceOf: readonly MappedBlock[] = []): void {
    needMuchStack();
    const gone: { readonly pool: number; readonly sizeBytes: number }[] = [];
    const removeReplaced = (): void => {
      for (const replaced of inPlaceOf.slice(gone.length)) {
        const poolOfReplaced = this.#core.poolIndexOf(replaced.block);
        this.remove(replaced);
        gone.push({ pool: poolOfReplaced, sizeBytes: replaced.sizeBytes });
      }
    };
    const kind = kindName(this.#core.kindOfPool(pool));
    let mapping: DualMapping;
    try {
      // In a full range the new block may need the addresses of those that it replaces.
      if (this.source.range.isFullFor(sizeBytes, kind)) removeReplaced();
      mapping = this.source.map(sizeBytes, kind);
    } catch (error) {
      this.#addAll(gone);
      throw error;
    }
    const shift = this.#core.granuleShiftOf(pool);
    const isShared = this.#register !== undefined;
    const { rx, rw } = mapping;
    const mapped = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, isShared, kind);
    try {
      // The pages of the reserve are written at once: the system has given all of its memory from then on.
      const isReserve = pool === this.#core.reservePool;
      if (this.#options.fillUnusedMemory || isReserve) this.fill(mapped, 0, sizeBytes);
      removeReplaced();
      mapped.block = addBlock(this.#core, pool, mapping.rx, mapping.rw, sizeBytes);
      if (mapped.block === 0) throw outOfMetadata(size, this.#core.metadataLimit);
      if (isReserve && !admitSpans(this.#core, mapped.block)) {
        removeBlock(this.#core, mapped.block);
        throw outOfMetadata(size, this.#core.metadataLimit);
      }
      const entry = this.#register === undefined ? 0 : this.#registerBlock(this.#register, mapped, pool);
      if (entry < 0) {
        removeBlock(this.#core, mapped.block);
        throw outOfMetadata(size, this.#core.metadataLimit);
      }
      this.#enter(mapped, entry, this.#register?.serialOf(entry) ?? 0);
      this.source.noteRegistered(mapped);
    } catch (error) {
      mapped.close();
      this.source.unmap(mapped);
      this.#addAll(gone);
      throw error;
    }
    this.peaks.reservedSize = Math.max(this.peaks.reservedSize, this.#core.reservedBytes);
    tell("jit-allocator:block-mapped", () => told(mapped));
  }

  #addAll(gone: readonly { readonly pool: number; readonly sizeBytes: number }[]): void {
    for (const { pool, sizeBytes } of gone) this.#addEmpty(pool, sizeBytes);
  }

  /** Adds an empty block for the pool to keep. Does nothing where it cannot be mapped: nothing depends on it. */
  #addEmpty(pool: number, sizeBytes: number): void {
    try {
      this.add(pool, sizeBytes, sizeBytes);
    } catch {
      // The caller throws the failure that made this block necessary.
    }
  }

  /** Enters a block in the register. Returns its entry, or -1 where there is no room for its ledger or its entry. */
  #registerBlock(register: BlockRegister, mapped: MappedBlock, pool: number): number {
    const { block, rx, rw, sizeBytes } = mapped;
    const generations = ledgerOf(this.#core, block);
    if (generations === 0) return -1;
    return register.add({ pool, block, generations, rx, rw, sizeBytes }) || -1;
  }

  /**
   * Moves the blocks to a register that other threads read and write too; from now on the spans ask `owner`.
   * Precondition: each block has its ledger. Cannot fail: what can is in `BlockSource.prepare`.
   */
  share(
    register: BlockRegister,
    owner: SpanOwner,
    journal: MappingJournal | undefined,
    records: SharedRecords,
  ): void {
    this.#register = register;
    this.#owner = owner;
    this.source.share(journal, records.range, true);
    records.peaks.usedSize = this.peaks.usedSize;
    records.peaks.reservedSize = this.peaks.reservedSize;
    this.peaks = records.peaks;
    // A pool's oldest block comes first, since the register keeps this order and a reset keeps the oldest block.
    for (const mapped of new Set([...this.oldest(), ...this.all()])) {
      mapped.owner = owner;
      mapped.close();
      mapped.isShared = this.#memory.sharing !== undefined;
      const entry = this.#registerBlock(register, mapped, this.#core.poolIndexOf(mapped.block));
      this.#enter(mapped, entry, register.serialOf(entry));
    }
  }

  /** Does the same as {@link share} in a thread that attaches, and so has no block yet. */
  attach(
    register: BlockRegister,
    owner: SpanOwner,
    journal: MappingJournal | undefined,
    records: SharedRecords,
  ): void {
    this.#register = register;
    this.#owner = owner;
    this.source.share(journal, records.range, false);
    this.peaks = records.peaks;
  }

  /** Drops this thread's objects of blocks that another thread has unmapped, or of all blocks. */
  dropUnmapped(isAll: boolean): void {
    for (const mapped of this.#mapped.splice(0)) {
      if (mapped === undefined) continue;
      if (!isAll && this.#register?.serialOf(mapped.entry) === mapped.serial) {
        // Entered again, because a repair renumbers the blocks.
        this.#mapped[this.#numberOf(mapped)] = mapped;
      } else {
        this.#end(mapped);
      }
    }
  }

  /** Notes that a block is no longer mapped. */
  #end(mapped: MappedBlock): void {
    mapped.close();
    mapped.isMapped = false;
    this.#memory.forgetCode?.(mapped.rx, mapped.sizeBytes);
  }

  /** Removes all blocks in one step, if the source can do that; else returns false, and has changed nothing. */
  #removeAtOnce(): boolean {
    needMuchStack();
    const doomed = this.all();
    for (const mapped of doomed) mapped.close();
    if (!this.source.range.unmapAll(doomed)) return false;
    for (const mapped of doomed) this.#forget(mapped);
    return true;
  }

  /** Forgets a block that is no longer mapped. */
  #forget(mapped: MappedBlock): void {
    this.#end(mapped);
    this.#mapped[this.#core.blockNumber(mapped.block)] = undefined;
    removeBlock(this.#core, mapped.block);
    tell("jit-allocator:block-unmapped", () => told(mapped));
  }

  /** Removes all blocks but `kept`. One that the system refuses to unmap stays; the first error is thrown at the end. */
  removeAllBut(kept: readonly MappedBlock[]): void {
    if (kept.length === 0 && this.#register === undefined && this.#removeAtOnce()) return;
    const failures: unknown[] = [];
    for (const mapped of this.all()) {
      if (kept.includes(mapped)) continue;
      try {
        this.remove(mapped);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Releases everything in a block, fills it, and ends its spans. */
  clear(mapped: MappedBlock): void {
    if (this.#options.fillUnusedMemory) this.fill(mapped, 0, mapped.sizeBytes, true);
    clearBlock(this.#core, mapped.block);
    this.renew(mapped);
  }

  /** Replaces the object that stands for a block: earlier spans so learn that they have ended. Returns the new one. */
  renew(mapped: MappedBlock): MappedBlock {
    mapped.close();
    mapped.isMapped = false;
    const { block, rx, rw, sizeBytes, granuleShift, entry, serial, isShared, kind } = mapped;
    const shift = granuleShift;
    const renewed = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, isShared, kind);
    renewed.block = block;
    renewed.wasWritten = mapped.wasWritten;
    this.#enter(renewed, entry, serial);
    return renewed;
  }

  /** Ends all spans, of blocks that stay mapped for whoever is running them. */
  endSpans(): void {
    for (const mapped of this.all()) {
      mapped.close();
      mapped.isMapped = false;
    }
  }

  /**
   * Unmaps the blocks that have no allocations; the reserve only with the last other one, since the system could refuse it later.
   * @throws JitError where the system refuses one: those before it are gone
   */
  removeEmpty(): void {
    const core = this.#core;
    const remove = (isReserve: boolean): void => {
      for (const mapped of this.all())
        if (core.isReserve(mapped.block) === isReserve && core.isEmpty(mapped.block)) this.remove(mapped);
    };
    remove(false);
    if (this.all().every(({ block }) => core.isReserve(block))) remove(true);
  }

  /** Unmaps a block and removes it from the core, even if it has allocations. Where the system refuses, nothing changed. */
  remove(mapped: MappedBlock): void {
    needMuchStack();
    mapped.close();
    this.#register?.markLeaving(mapped.entry);
    this.source.noteLeaving(mapped);
    try {
      this.source.unmap(mapped);
    } catch (error) {
      this.#register?.markStaying(mapped.entry);
      this.source.noteRegistered(mapped);
      throw error;
    }
    this.#forget(mapped);
    this.#register?.remove(mapped.entry);
    this.source.noteGone(mapped);
  }

  /**
   * Fills a range that is free, or about to be, with the fill pattern. `start` (from the block's) and `length` in bytes.
   * @param isLive whether it is only about to be free: see `MappedBlock.fill`
   */
  fill(mapped: MappedBlock, start: number, length: number, isLive = false): void {
    for (let done = 0; done < length; done += FILLED_AT_ONCE_BYTES) {
      mapped.fill(
        start + done,
        Math.min(length - done, FILLED_AT_ONCE_BYTES),
        this.#options.fillPattern,
        isLive,
      );
    }
    if (mapped.kind !== "code") return;
    try {
      this.#memory.flushInstructionCache(mapped.rx + start, length);
    } catch {
      // The old contents are overwritten, so the operation must go on. Nobody may run free memory, and a later write of
      // code flushes it.
    }
  }

  /** Makes code written to a range of a block, in bytes from its start, safe to run. */
  flush(mapped: MappedBlock, start: number, length: number): void {
    // An empty range at the end of a block begins outside of it.
    if (this.isCoherent || mapped.kind !== "code") return;
    if (mapped.isMapped && length > 0) this.#memory.flushInstructionCache(mapped.rx + start, length);
  }
}

function told({ rx, rw, sizeBytes, kind }: MappedBlock): DiagnosticBlock {
  return { rx, rw, size: sizeBytes, kind };
}

function notMapped(): Error {
  return new Error("invariant 15 is broken: a block of the core is not mapped");
}
