/** Maps and unmaps blocks, and keeps for each mapped one the object through which its bytes are reached. */
import type { Core } from "./core/core.ts";
import { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfMetadata } from "./refusals.ts";
import type { SpanOwner } from "./span.ts";
import type { DualMapping, MemoryFlags, VirtualMemory } from "./vm/contract.ts";

/** The blocks of one allocator, as one thread sees them. */
export class BlockMemory {
  readonly #owner: SpanOwner;
  readonly #core: Core;
  readonly #memory: VirtualMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #flags: MemoryFlags;
  /** By the core's number of the block. */
  readonly #mapped: (MappedBlock | undefined)[] = [];

  constructor(
    owner: SpanOwner,
    core: Core,
    memory: VirtualMemory,
    options: Readonly<ResolvedJitAllocatorOptions>,
  ) {
    this.#owner = owner;
    this.#core = core;
    this.#memory = memory;
    this.#options = options;
    this.#flags = { read: true, write: true, execute: true, largePages: options.useLargePages };
  }

  /** The mapped block of that index in the core. */
  at(block: number): MappedBlock {
    const mapped = this.#mapped[this.#core.blockNumber(block)];
    if (mapped === undefined) throw new Error("invariant 15 is broken: a block of the core is not mapped");
    return mapped;
  }

  /** All of them, in the order of their addresses. */
  all(): MappedBlock[] {
    const blocks: MappedBlock[] = [];
    for (let block = this.#core.firstBlock(); block !== 0; block = this.#core.nextBlock(block)) {
      blocks.push(this.at(block));
    }
    return blocks;
  }

  /**
   * Maps a block and adds it to its pool. `size` is the request it is for, for messages; the blocks of `inPlaceOf`
   * are removed for it, when it is mapped: a system that has no room for it has then changed nothing.
   */
  add(pool: number, sizeBytes: number, size: number, inPlaceOf: readonly MappedBlock[] = []): void {
    const mapping = this.#map(sizeBytes);
    const shift = this.#core.granuleShiftOf(pool);
    const mapped = new MappedBlock(this.#owner, this.#memory, mapping.rx, mapping.rw, sizeBytes, shift);
    try {
      if (this.#options.fillUnusedMemory) this.fill(mapped, 0, sizeBytes);
      for (const replaced of inPlaceOf) this.remove(replaced);
      mapped.block = this.#core.addBlock(pool, mapping.rx, mapping.rw, sizeBytes);
      if (mapped.block === 0) throw outOfMetadata(size);
    } catch (error) {
      mapped.close();
      this.#unmap(mapping, sizeBytes);
      throw error;
    }
    this.#mapped[this.#core.blockNumber(mapped.block)] = mapped;
  }

  /** Unmaps a block and takes it out of the core, whatever it holds. Where the system refuses, nothing has changed. */
  remove(mapped: MappedBlock): void {
    mapped.close();
    this.#unmap(mapped, mapped.sizeBytes);
    mapped.isMapped = false;
    this.#mapped[this.#core.blockNumber(mapped.block)] = undefined;
    this.#core.removeBlock(mapped.block);
  }

  /** Fills a range of a block that is free or about to be, in bytes from its start, with the fill pattern. */
  fill(mapped: MappedBlock, start: number, length: number): void {
    mapped.fill(start, length, this.#options.fillPattern);
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
    if (this.#options.useDualMapping) return this.#memory.allocDualMapping(sizeBytes, this.#flags);
    const address = this.#memory.alloc(sizeBytes, this.#flags);
    return { rx: address, rw: address };
  }

  #unmap(mapping: DualMapping, sizeBytes: number): void {
    if (this.#options.useDualMapping) this.#memory.releaseDualMapping(mapping, sizeBytes);
    else this.#memory.release(mapping.rx, sizeBytes);
  }
}
