/** Maps and unmaps blocks, and keeps the object through which the bytes of each mapped block are reached. */
import type { Core } from "../core/core.ts";
import { eachFreeRun } from "../core/pages.ts";
import { disarmTrim } from "../core/thrift.ts";
import { BlockRange } from "./block-range.ts";
import type { Belonging } from "./block-range.ts";
import type { BlockRegister, RangeRecord, RegisterEntry, SpanOwner } from "./contract.ts";
import { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { JitError } from "../base/errors.ts";
import { outOfMetadata, outOfReserve } from "./refusals.ts";
import { needMuchStack } from "../base/stack.ts";
import type {
  DualMapping,
  JournalStorage,
  MappedRange,
  MappingJournal,
  MappingJournals,
  MappingTag,
  MemoryFlags,
  VirtualMemory,
} from "../vm/contract.ts";

/** The most blocks there can be: each takes at least one of the 2**21 units that the buffer can have. */
const MOST_BLOCKS = 2 ** 21;

/** Bytes filled through one view: a view is shorter than 2 GiB (ffi/contract.ts), a block may be as long. */
const FILLED_AT_ONCE_BYTES = 2 ** 30;

/** The blocks of one allocator, as one thread sees them. */
export class BlockMemory {
  /** The range in which the blocks lie, where there is one. */
  readonly range: BlockRange;
  #owner: SpanOwner;
  readonly #core: Core;
  readonly #memory: VirtualMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #flags: MemoryFlags;
  /** By the core's number of the block. */
  readonly #mapped: (MappedBlock | undefined)[] = [];
  /** The register in which the threads of a shared allocator look up its blocks. */
  #register: BlockRegister | undefined;
  /** The journal of mappings that are not in the register. */
  #journal: MappingJournal | undefined;
  #tag: MappingTag;

  /** @param tagName the name by which the system tells this allocator's memory from all other */
  constructor(
    owner: SpanOwner,
    core: Core,
    memory: VirtualMemory,
    options: Readonly<ResolvedJitAllocatorOptions>,
    tagName: string,
  ) {
    this.#owner = owner;
    this.#tag = { name: tagName, isGuarded: false };
    this.#core = core;
    this.#memory = memory;
    this.#options = options;
    this.range = new BlockRange(memory, options, core);
    this.#flags = { read: true, write: true, execute: true, largePages: options.useLargePages };
  }

  get #journals(): MappingJournals | undefined {
    return this.#memory.sharing ?? this.#memory.journals;
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
    const mapped = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, true);
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
    const pools = this.#options.useMultiplePools ? [0, 1, 2] : [0];
    return pools
      .map((pool) => this.#core.oldestBlock(pool))
      .flatMap((block) => (block === 0 ? [] : this.at(block)));
  }

  verify(): void {
    for (const mapped of this.all()) {
      if (!mapped.isMapped) throw notMapped();
    }
    this.range.verify(this.all());
    this.#verifyJournal();
  }

  #verifyJournal(): void {
    const journal = this.#journal;
    if (journal === undefined) return;
    if (journal.leaving !== 0 || journal.heldHandles().length > 0)
      throw new Error("invariant 19 is broken: the journal is in the middle of a call");
    for (const held of journal.heldRanges()) {
      const isOver = ({ address, sizeBytes }: MappedRange): boolean =>
        held.address < address + sizeBytes && address < held.address + held.sizeBytes;
      if (this.all().flatMap(rangesOf).some(isOver))
        throw new Error("invariant 19 is broken: the journal holds what is a block's");
    }
  }

  /**
   * Takes room for `count` granules in a new block; where none can be mapped, in any hole that fits. Returns true where a
   * block was mapped.
   */
  makeRoom(pool: number, count: number, size: number): boolean {
    needMuchStack();
    const core = this.#core;
    const smallest = core.planBlock(pool, count, true);
    if (smallest === 0) {
      if (core.allocFromAnyHole(pool, count)) return false;
      this.addInPlaceOfEmpty(pool, count, size);
    } else {
      const natural = core.planBlock(pool, count, false);
      try {
        this.add(pool, natural, size);
      } catch (error) {
        // Where the system has no room for a block of the natural size, two things are left to try: holes that are not
        // sure to be long enough, and a block just large enough for this request.
        const isShort = error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY";
        if (isShort && core.allocFromAnyHole(pool, count)) return false;
        if (!isShort || smallest === natural) throw error;
        this.add(pool, smallest, size);
      }
    }
    return core.alloc(pool, count);
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
    let mapping: DualMapping;
    try {
      // In a full range the new block may need the addresses of those that it replaces.
      if (this.range.isFullFor(sizeBytes)) removeReplaced();
      mapping = this.#map(sizeBytes);
    } catch (error) {
      this.#addAll(gone);
      throw error;
    }
    const shift = this.#core.granuleShiftOf(pool);
    const isShared = this.#register !== undefined;
    const { rx, rw } = mapping;
    const mapped = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, isShared);
    try {
      if (this.#options.fillUnusedMemory) this.fill(mapped, 0, sizeBytes);
      removeReplaced();
      mapped.block = this.#core.addBlock(pool, mapping.rx, mapping.rw, sizeBytes);
      if (mapped.block === 0) throw outOfMetadata(size, this.#core.metadataLimit);
      const entry = this.#register === undefined ? 0 : this.#registerBlock(this.#register, mapped, pool);
      if (entry < 0) {
        this.#core.removeBlock(mapped.block);
        throw outOfMetadata(size, this.#core.metadataLimit);
      }
      this.#enter(mapped, entry, this.#register?.serialOf(entry) ?? 0);
      this.#journal?.drop(rangesOf(mapped));
    } catch (error) {
      mapped.close();
      this.#unmap(mapping, sizeBytes);
      this.#addAll(gone);
      throw error;
    }
  }

  #addAll(gone: readonly { readonly pool: number; readonly sizeBytes: number }[]): void {
    for (const { pool, sizeBytes } of gone) this.#addEmpty(pool, sizeBytes);
  }

  /**
   * Adds a block where `maxReservedSize` leaves no room. The empty blocks that are kept count as reserved, and a new one of
   * `count` granules or more takes the place of as many as it needs.
   */
  addInPlaceOfEmpty(pool: number, count: number, size: number): void {
    const core = this.#core;
    const { maxReservedSize, useMultiplePools } = this.#options;
    const replaced: MappedBlock[] = [];
    let room = 0;
    let planned = 0;
    for (let index = 0; index < (useMultiplePools ? 3 : 1) && planned === 0; index++) {
      const empty = core.emptyBlock(index);
      if (empty === 0) continue;
      const mapped = this.at(empty);
      replaced.push(mapped);
      room += mapped.sizeBytes;
      planned = core.planBlock(pool, count, true, room);
    }
    if (planned === 0) throw outOfReserve(size, core.reservedBytes, maxReservedSize);
    this.add(pool, planned, size, replaced);
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
    const generations = this.#core.ledgerOf(block);
    if (generations === 0) return -1;
    return register.add({ pool, block, generations, rx, rw, sizeBytes }) || -1;
  }

  /**
   * Moves the blocks to a register that other threads read and write too; from now on the spans ask `owner`.
   * Precondition: each block has its ledger.
   */
  share(register: BlockRegister, owner: SpanOwner, journal: JournalStorage, range: RangeRecord): void {
    this.#attach(register, owner, journal, true);
    this.range.share(range, true);
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
  attach(register: BlockRegister, owner: SpanOwner, journal: JournalStorage, range: RangeRecord): void {
    this.#attach(register, owner, journal, false);
    this.range.share(range, false);
  }

  #attach(register: BlockRegister, owner: SpanOwner, journal: JournalStorage, isFirst: boolean): void {
    this.#memory.sharing?.prepare();
    this.#journal = this.#journals?.openJournal(journal, isFirst);
    this.#register = register;
    this.#owner = owner;
    this.#tag = { ...this.#tag, isGuarded: true, journal: this.#journal };
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

  /** Removes all blocks but `kept`. One that the system refuses to unmap stays; the first error is thrown at the end. */
  removeAllBut(kept: readonly MappedBlock[]): void {
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

  /** After a reset: replaces the object that stands for a block, so that earlier spans know that they have ended. */
  renew(mapped: MappedBlock): void {
    mapped.close();
    mapped.isMapped = false;
    const { block, rx, rw, sizeBytes, granuleShift, entry, serial, isShared } = mapped;
    const renewed = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, granuleShift, isShared);
    renewed.block = block;
    renewed.wasWritten = mapped.wasWritten;
    this.#enter(renewed, entry, serial);
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

  /** Gives the range back. Precondition: there are no blocks. */
  releaseRange(): void {
    this.range.release(this.#belonging);
  }

  /** Gives the memory of all free pages of a block back to the system. Returns bytes. @throws JitError if it refuses */
  trim(mapped: MappedBlock): number {
    needMuchStack();
    const { words } = this.#core;
    const { pageSize } = this.#memory.info();
    return this.range.trim(mapped, (visit) => {
      eachFreeRun(words, mapped.block, pageSize, visit);
    });
  }

  /**
   * Trims a block unasked, because much of it has been released. Where the system refuses, the memory stays; where there is
   * no range, the block is not looked at again.
   */
  trimSparse(block: number): void {
    if (this.range.range === undefined) {
      disarmTrim(this.#core.words, block);
      return;
    }
    const mapped = this.at(block);
    // Other threads' writes are not known here.
    if (!mapped.wasWritten && !mapped.isShared) return;
    try {
      this.trim(mapped);
    } catch {
      // The release is done. Nothing depends on the memory, and a later trim asks for it again.
    }
  }

  /** Bytes of all blocks for which the system holds memory. */
  residentBytes(): number {
    return this.all().reduce((sum, mapped) => sum + this.range.residentBytes(mapped), 0);
  }

  get #belonging(): Belonging {
    return { tag: this.#tag, journal: this.#journal };
  }

  /** Unmaps a block and removes it from the core, even if it has allocations. Where the system refuses, nothing changed. */
  remove(mapped: MappedBlock): void {
    needMuchStack();
    mapped.close();
    this.#register?.markLeaving(mapped.entry);
    if (this.range.range === undefined) this.#journal?.take(rangesOf(mapped), mapped.rx);
    try {
      this.#unmap(mapped, mapped.sizeBytes);
    } catch (error) {
      this.#register?.markStaying(mapped.entry);
      this.#journal?.drop(rangesOf(mapped));
      throw error;
    }
    this.#end(mapped);
    this.#mapped[this.#core.blockNumber(mapped.block)] = undefined;
    this.#core.removeBlock(mapped.block);
    this.#register?.remove(mapped.entry);
    this.#journal?.drop(rangesOf(mapped));
  }

  /** Fills a range that is free, or about to be, with the fill pattern. `start` (from the block's) and `length` in bytes. */
  fill(mapped: MappedBlock, start: number, length: number): void {
    for (let done = 0; done < length; done += FILLED_AT_ONCE_BYTES) {
      mapped.fill(start + done, Math.min(length - done, FILLED_AT_ONCE_BYTES), this.#options.fillPattern);
    }
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
    if (mapped.isMapped && length > 0) this.#memory.flushInstructionCache(mapped.rx + start, length);
  }

  #map(sizeBytes: number): DualMapping {
    const stretch = this.range.map(sizeBytes, this.#belonging);
    if (stretch !== undefined) return stretch;
    if (this.#options.useDualMapping) return this.#memory.allocDualMapping(sizeBytes, this.#flags, this.#tag);
    const address = this.#memory.alloc(sizeBytes, this.#flags, this.#tag);
    return { rx: address, rw: address };
  }

  #unmap(mapping: DualMapping, sizeBytes: number): void {
    const { range } = this.range;
    if (range !== undefined) {
      this.range.unmap(range, mapping.rx, sizeBytes);
      return;
    }
    if (this.#options.useDualMapping) this.#memory.releaseDualMapping(mapping, sizeBytes, this.#tag);
    else this.#memory.release(mapping.rx, sizeBytes, this.#tag);
  }
}

function notMapped(): Error {
  return new Error("invariant 15 is broken: a block of the core is not mapped");
}

/** The ranges of a block's two views; twice the same range where it has one view. */
function rangesOf({ rx, rw, sizeBytes }: DualMapping & { readonly sizeBytes: number }): MappedRange[] {
  return [
    { address: rx, sizeBytes },
    { address: rw, sizeBytes },
  ];
}
