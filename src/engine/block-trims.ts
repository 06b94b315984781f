/** Gives the memory of free pages back to the system, inside blocks that stay mapped. */
import type { Core } from "../core/core.ts";
import { eachFreeRun } from "../core/pages.ts";
import { disarmTrim } from "../core/thrift.ts";
import { needMuchStack } from "../base/stack.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { BlockRange } from "./block-range.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** Trims the blocks of one allocator, in one thread. */
export class BlockTrims {
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #range: BlockRange;
  readonly #memory: VirtualMemory;

  constructor(core: Core, blocks: BlockMemory, memory: VirtualMemory) {
    this.#core = core;
    this.#blocks = blocks;
    this.#range = blocks.source.range;
    this.#memory = memory;
  }

  /** Trims all blocks, also those that this library has not written. Returns bytes. @throws JitError if the system refuses */
  trimAll(): number {
    return this.#blocks
      .all()
      .filter(({ block }) => !this.#core.isReserve(block)) // its memory is to be there when it is needed
      .reduce((sum, mapped) => sum + this.#trim(mapped), 0);
  }

  /** Gives the memory of all free pages of a block back to the system. Returns bytes. */
  #trim(mapped: MappedBlock): number {
    needMuchStack();
    const { words } = this.#core;
    const { pageSize } = this.#memory.info();
    return this.#range.trim(mapped, (visit) => {
      eachFreeRun(words, mapped.block, pageSize, visit);
    });
  }

  /**
   * Trims a block unasked, because much of it has been released. Where the system refuses, the memory stays; where there is
   * no range, and where it is the reserve, the block is not looked at again.
   */
  trimSparse(block: number): void {
    if (this.#range.range === undefined || this.#core.isReserve(block)) {
      disarmTrim(this.#core.words, block);
      return;
    }
    const mapped = this.#blocks.at(block);
    if (!mayHaveMemory(mapped)) return;
    try {
      this.#trim(mapped);
    } catch {
      // The release is done. Nothing depends on the memory, and a later trim asks for it again.
    }
  }

  /** Whether free memory may read as zero where it was something else before. */
  get isTrimmed(): boolean {
    return this.#range.isTrimmed;
  }

  /** Bytes of all blocks for which the system holds memory. */
  residentBytes(): number {
    return this.#blocks.all().reduce((sum, mapped) => sum + this.residentBytesOf(mapped), 0);
  }

  /** Bytes of one block for which the system holds memory. */
  residentBytesOf(mapped: MappedBlock): number {
    // A look at each page takes longer than all other counts, so that it is only taken where there may be something.
    const isAsked = this.#range.range === undefined || mayHaveMemory(mapped);
    return isAsked ? this.#range.residentBytes(mapped) : 0;
  }
}

/**
 * Whether the system may hold memory for a block: this library has written to it, or read from it. Other threads' writes are
 * not known here. Nor are those that a program makes by itself through `rw`: to find them, each page of each block would
 * have to be looked at, in every count and unasked trim of a program that writes nothing. `trimAll` does look.
 */
function mayHaveMemory({ wasWritten, isShared }: MappedBlock): boolean {
  return wasWritten || isShared;
}
