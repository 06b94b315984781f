/**
 * Limbo of an allocator that one thread has for itself. That thread can only be in the middle of machine code, and release some
 * of it, below a callback; or where the program says so (`enter`), because native code that it has handed an address runs by
 * itself. What is released then has ended at once, and its granules stay in use until the thread is outside again.
 *
 * The thread notices that with the next operation. Until limbo is empty, operations take the long way, which looks.
 */
import { callbacks } from "../base/callbacks.ts";
import { JitError } from "../base/errors.ts";
import { endSpansOf } from "../core/generations.ts";
import type { Core } from "../core/core.ts";
import { startsOf } from "../core/survey.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { RetiredPlaces } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** What waits for this thread to be outside. */
export class OwnLimbo implements RetiredPlaces {
  count = 0;
  sizeBytes = 0;
  /** How often the program has entered, and not left. */
  entries = 0;
  /** Whether the allocator was disposed while this thread was inside: its blocks are still mapped. */
  isEnding = false;
  /** Whether other threads have the allocator too, and all that waits is in the limbo of all of them. */
  isShared = false;
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #free: (mapped: MappedBlock, granule: number) => void;
  /** Bytes, by block and granule. */
  readonly #places = new Map<number, Map<number, number>>();

  constructor(core: Core, blocks: BlockMemory, free: (mapped: MappedBlock, granule: number) => void) {
    this.#core = core;
    this.#blocks = blocks;
    this.#free = free;
  }

  /** Whether code of this allocator may be running. */
  get isInside(): boolean {
    return (callbacks.depth !== 0 || this.entries !== 0) && !this.isShared;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  has(block: number, granule: number): boolean {
    return this.#places.get(block)?.has(granule) === true;
  }

  /** Ends the allocation that begins at `granule`. Its memory is free when this thread is outside. */
  retire({ block, granuleShift }: MappedBlock, granule: number): void {
    this.#core.needRoom();
    endSpansOf(this.#core, block, granule);
    const sizeBytes = this.#core.lengthAt(block, granule) * 2 ** granuleShift;
    const places = this.#places.get(block) ?? new Map<number, number>();
    this.#places.set(block, places.set(granule, sizeBytes));
    this.count += 1;
    this.sizeBytes += sizeBytes;
  }

  /**
   * Frees what waits, if this thread is outside. What the system refuses to unmap waits for the next time. Returns whether the
   * thread is outside and nothing waits.
   */
  drain(): boolean {
    if (this.count === 0) return !this.isInside;
    if (this.isInside || this.isEnding) return false;
    for (const [block, places] of this.#places) {
      for (const [granule, sizeBytes] of places) {
        try {
          this.#free(this.#blocks.at(block), granule);
        } catch (error) {
          if (!(error instanceof JitError)) throw error;
          return false;
        }
        places.delete(granule);
        this.count -= 1;
        this.sizeBytes -= sizeBytes;
      }
      this.#places.delete(block);
    }
    return true;
  }

  /** Ends everything, for a reset. */
  retireAll(): void {
    for (const mapped of this.#blocks.all()) {
      const renewed = this.#blocks.renew(mapped);
      for (const granule of startsOf(this.#core.words, mapped.block))
        if (!this.has(mapped.block, granule)) this.retire(renewed, granule);
    }
  }

  /** Ends everything, for a disposal, if this thread is inside. Returns whether the blocks have to stay. */
  postponeEnd(): boolean {
    this.isEnding = this.isInside;
    if (this.isEnding) this.#blocks.endSpans();
    return this.isEnding;
  }

  /** Forgets what lay in blocks that are gone. */
  forgetGone(): void {
    const blocks = new Set(this.#blocks.all().map(({ block }) => block));
    for (const [block, places] of this.#places) {
      if (blocks.has(block)) continue;
      this.count -= places.size;
      for (const sizeBytes of places.values()) this.sizeBytes -= sizeBytes;
      this.#places.delete(block);
    }
  }

  /** Hands what waits over to the limbo of all threads: calls `retire` for each. */
  share(retire: (block: number, granule: number) => void): void {
    for (const [block, places] of this.#places) for (const granule of places.keys()) retire(block, granule);
    this.#places.clear();
    this.count = 0;
    this.sizeBytes = 0;
  }
}
