/** Maps and unmaps blocks, and keeps for each mapped one the object through which its bytes are reached. */
import type { Core } from "../core/core.ts";
import type { BlockRegister, RegisterEntry, SpanOwner } from "./contract.ts";
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

/** There are never more: each has a unit of metadata, of the 2**21 that the buffer can have. */
const MOST_BLOCKS = 2 ** 21;

/** A view is shorter than 2 GiB (ffi/contract.ts), which a block may have. */
const FILLED_AT_ONCE_BYTES = 2 ** 30;

/** The blocks of one allocator, as one thread sees them. */
export class BlockMemory {
  #owner: SpanOwner;
  readonly #core: Core;
  readonly #memory: VirtualMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #flags: MemoryFlags;
  /** By the core's number of the block. */
  readonly #mapped: (MappedBlock | undefined)[] = [];
  /** Where the threads of a shared allocator look up its blocks. */
  #register: BlockRegister | undefined;
  /** Where is noted what is mapped and not in there. */
  #journal: MappingJournal | undefined;
  #tag: MappingTag;

  /** @param tagName by which the system knows the memory of this allocator from all other */
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
    this.#flags = { read: true, write: true, execute: true, largePages: options.useLargePages };
  }

  get #journals(): MappingJournals | undefined {
    return this.#memory.sharing ?? this.#memory.journals;
  }

  /** The mapped block of that index in the core. */
  at(block: number): MappedBlock {
    const known = this.#mapped[this.#core.blockNumber(block)];
    return known?.block === block ? known : this.#adopt(block);
  }

  /** A block that another thread mapped, seen for the first time. */
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

  /** The number under which a block is kept. @throws Error where no block has it: the list would have gaps without end */
  #numberOf({ block }: MappedBlock): number {
    const number = this.#core.blockNumber(block);
    if (number < 0 || number > MOST_BLOCKS)
      throw new Error(`invariant 4 is broken: a block has the number ${number}`);
    return number;
  }

  /** All of them, in the order of their addresses. */
  all(): MappedBlock[] {
    const blocks: MappedBlock[] = [];
    for (let block = this.#core.firstBlock(); block !== 0; block = this.#core.nextBlock(block)) {
      blocks.push(this.at(block));
    }
    return blocks;
  }

  verify(): void {
    for (const mapped of this.all()) {
      if (!mapped.isMapped) throw notMapped();
    }
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

  /** Maps a block and takes room in it; or, where none can be mapped, looks harder. Returns true where one was. */
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
        // Where the system has no room for a block of the natural size, a hole that was not sure to do may do, or a
        // block just large enough for what is needed now.
        const isShort = error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY";
        if (isShort && core.allocFromAnyHole(pool, count)) return false;
        if (!isShort || smallest === natural) throw error;
        this.add(pool, smallest, size);
      }
    }
    return core.alloc(pool, count);
  }

  /**
   * Maps a block and adds it to its pool. `size` is the request it is for, for messages; the blocks of `inPlaceOf`,
   * which are empty, are removed for it, when it is mapped: a system that has no room for it has then changed nothing.
   * Where one of them cannot be removed, others take the place of those that are gone.
   */
  add(pool: number, sizeBytes: number, size: number, inPlaceOf: readonly MappedBlock[] = []): void {
    needMuchStack();
    const mapping = this.#map(sizeBytes);
    const shift = this.#core.granuleShiftOf(pool);
    const isShared = this.#register !== undefined;
    const { rx, rw } = mapping;
    const mapped = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, shift, isShared);
    const gone: { readonly pool: number; readonly sizeBytes: number }[] = [];
    try {
      if (this.#options.fillUnusedMemory) this.fill(mapped, 0, sizeBytes);
      for (const replaced of inPlaceOf) {
        const poolOfReplaced = this.#core.poolIndexOf(replaced.block);
        this.remove(replaced);
        gone.push({ pool: poolOfReplaced, sizeBytes: replaced.sizeBytes });
      }
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
      for (const { pool: poolOfGone, sizeBytes: goneBytes } of gone) this.#addEmpty(poolOfGone, goneBytes);
      throw error;
    }
  }

  /**
   * The same where all that may be reserved is. The empty blocks that are kept count as reserved, and a new one of `count`
   * granules or more takes the place of as many as it needs.
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

  /** Adds a block to keep. Does nothing where it cannot be had: nothing depends on it. */
  #addEmpty(pool: number, sizeBytes: number): void {
    try {
      this.add(pool, sizeBytes, sizeBytes);
    } catch {
      // The failure that made it necessary is the one to be told.
    }
  }

  /** Returns its entry, or -1 where there is no room for what a shared allocator keeps of a block. */
  #registerBlock(register: BlockRegister, mapped: MappedBlock, pool: number): number {
    const { block, rx, rw, sizeBytes } = mapped;
    const generations = this.#core.ledgerOf(block);
    if (generations === 0) return -1;
    return register.add({ pool, block, generations, rx, rw, sizeBytes }) || -1;
  }

  /**
   * From now on the blocks are in a register that other threads read and write too, and the spans ask `owner`.
   * Precondition: each block has its ledger.
   */
  share(register: BlockRegister, owner: SpanOwner, journal: JournalStorage): void {
    this.#attach(register, owner, journal, true);
    const blocks = this.all();
    // In the order of their ages, which the register keeps: a pool's oldest block is the one that a reset keeps.
    for (let pool = 0; pool < (this.#options.useMultiplePools ? 3 : 1); pool++) {
      const oldest = this.#core.oldestBlock(pool);
      blocks.sort((a, b) => Number(b.block === oldest) - Number(a.block === oldest));
    }
    for (const mapped of blocks) {
      mapped.owner = owner;
      mapped.close();
      mapped.isShared = this.#memory.sharing !== undefined;
      const entry = this.#registerBlock(register, mapped, this.#core.poolIndexOf(mapped.block));
      this.#enter(mapped, entry, register.serialOf(entry));
    }
  }

  /** The same for a thread that has no block yet. */
  attach(register: BlockRegister, owner: SpanOwner, journal: JournalStorage): void {
    this.#attach(register, owner, journal, false);
  }

  #attach(register: BlockRegister, owner: SpanOwner, journal: JournalStorage, isFirst: boolean): void {
    this.#memory.sharing?.prepare();
    this.#journal = this.#journals?.openJournal(journal, isFirst);
    this.#register = register;
    this.#owner = owner;
    this.#tag = { ...this.#tag, isGuarded: true, journal: this.#journal };
  }

  /** Drops what this thread keeps of blocks that another one has unmapped, or of all of them. */
  dropUnmapped(isAll: boolean): void {
    for (const mapped of this.#mapped.splice(0)) {
      if (mapped === undefined) continue;
      if (!isAll && this.#register?.serialOf(mapped.entry) === mapped.serial) {
        // A repair numbers the blocks anew.
        this.#mapped[this.#numberOf(mapped)] = mapped;
      } else {
        this.#end(mapped);
      }
    }
  }

  /** The block is no longer mapped. */
  #end(mapped: MappedBlock): void {
    mapped.close();
    mapped.isMapped = false;
    this.#memory.forgetCode?.(mapped.rx, mapped.sizeBytes);
  }

  /** The same for all but some. One that the system refuses to unmap stays; its error is thrown when the others are gone. */
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

  /** After a reset: another object stands for the block, so that the spans of before know that they are over. */
  renew(mapped: MappedBlock): void {
    mapped.close();
    mapped.isMapped = false;
    const { block, rx, rw, sizeBytes, granuleShift, entry, serial, isShared } = mapped;
    const renewed = new MappedBlock(this.#owner, this.#memory, rx, rw, sizeBytes, granuleShift, isShared);
    renewed.block = block;
    this.#enter(renewed, entry, serial);
  }

  /**
   * Gives back what a thread that died had mapped and not registered, or was giving back.
   * @param leaving what is registered so: one block at the most, since one is unmapped after the other
   */
  reclaim(kept: readonly RegisterEntry[], [leaving]: readonly RegisterEntry[]): void {
    // Where the journal does not know of it, nothing of it was given back. If it does, it knows what is left.
    if (leaving !== undefined && this.#journal?.leaving !== leaving.rx)
      this.#journal?.take(rangesOf(leaving), leaving.rx);
    this.#journals?.reclaim(this.#tag.name, kept.flatMap(rangesOf), this.#journal);
  }

  /** The end of that: the register has nothing that is leaving. */
  settle(kept: readonly RegisterEntry[]): void {
    this.#journal?.drop(kept.flatMap(rangesOf));
  }

  /** Unmaps a block and takes it out of the core, whatever it holds. Where the system refuses, nothing has changed. */
  remove(mapped: MappedBlock): void {
    needMuchStack();
    mapped.close();
    this.#register?.markLeaving(mapped.entry);
    this.#journal?.take(rangesOf(mapped), mapped.rx);
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

  /** Fills a range of a block that is free or about to be, in bytes from its start, with the fill pattern. */
  fill(mapped: MappedBlock, start: number, length: number): void {
    for (let done = 0; done < length; done += FILLED_AT_ONCE_BYTES) {
      mapped.fill(start + done, Math.min(length - done, FILLED_AT_ONCE_BYTES), this.#options.fillPattern);
    }
    try {
      this.#memory.flushInstructionCache(mapped.rx + start, length);
    } catch {
      // What was here is overwritten, so the operation must go through. Nobody may run what is free, and whoever
      // writes code here flushes it.
    }
  }

  /** Makes what was written to a range of a block safe to run. */
  flush(mapped: MappedBlock, start: number, length: number): void {
    // No bytes at the end of a block are already outside of it.
    if (mapped.isMapped && length > 0) this.#memory.flushInstructionCache(mapped.rx + start, length);
  }

  #map(sizeBytes: number): DualMapping {
    if (this.#options.useDualMapping) return this.#memory.allocDualMapping(sizeBytes, this.#flags, this.#tag);
    const address = this.#memory.alloc(sizeBytes, this.#flags, this.#tag);
    return { rx: address, rw: address };
  }

  #unmap(mapping: DualMapping, sizeBytes: number): void {
    if (this.#options.useDualMapping) this.#memory.releaseDualMapping(mapping, sizeBytes, this.#tag);
    else this.#memory.release(mapping.rx, sizeBytes, this.#tag);
  }
}

function notMapped(): Error {
  return new Error("invariant 15 is broken: a block of the core is not mapped");
}

/** Where a block's views are; twice the same where it has one. */
function rangesOf({ rx, rw, sizeBytes }: DualMapping & { readonly sizeBytes: number }): MappedRange[] {
  return [
    { address: rx, sizeBytes },
    { address: rw, sizeBytes },
  ];
}
