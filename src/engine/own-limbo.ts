/**
 * Limbo of an allocator that one thread has for itself. That thread can only be in the middle of machine code, and release some
 * of it, below a callback; or where the program says so (`enter`), because native code that it has handed an address runs by
 * itself. What is released then has ended at once, and its granules stay in use until the thread has been outside.
 *
 * The thread notices that with the next operation. Until limbo is empty, operations take the long way, which looks. The next
 * operation may come below another call of machine code: so the returns of outermost calls are counted.
 */
import { callbacks } from "../base/callbacks.ts";
import { JitError } from "../base/errors.ts";
import { endSpansOf } from "../core/generations.ts";
import type { Core } from "../core/core.ts";
import { startsOf } from "../core/survey.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { RetiredPlaces } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** In place of a count of returns: the thread has been outside. */
const LEFT = -1;

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
  readonly #end: () => void;
  /** Whether a hard reset waits to unmap the blocks that nobody uses. */
  #isEmptying = false;
  /** How many outermost calls had returned when something ended here last; {@link LEFT} once the program has left since. */
  #returns = LEFT;
  /** Bytes, by block and granule. */
  readonly #places = new Map<number, Map<number, number>>();

  /**
   * @param free releases the allocation that begins at a granule
   * @param end finishes a disposal that has waited
   */
  constructor(
    core: Core,
    blocks: BlockMemory,
    free: (mapped: MappedBlock, granule: number) => void,
    end: () => void,
  ) {
    this.#core = core;
    this.#blocks = blocks;
    this.#free = free;
    this.#end = end;
  }

  /** Whether code of this allocator may be running. */
  get isInside(): boolean {
    return (callbacks.depth !== 0 || this.entries !== 0) && !this.isShared;
  }

  /** Whether this thread may be running what has ended: it has not been outside since. */
  get isHeld(): boolean {
    if (!this.isInside || this.#returns === LEFT) return false;
    return this.entries !== 0 || this.#returns === callbacks.returns;
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
    this.#awaitReturn();
    endSpansOf(this.#core, block, granule);
    const sizeBytes = this.#core.lengthAt(block, granule) * 2 ** granuleShift;
    const places = this.#places.get(block) ?? new Map<number, number>();
    this.#places.set(block, places.set(granule, sizeBytes));
    this.count += 1;
    this.sizeBytes += sizeBytes;
  }

  /** Sees to it that the return of the outermost call is counted. What waited before waits for that return as well. */
  #awaitReturn(): void {
    callbacks.isAwaited ||= callbacks.depth !== 0;
    this.#returns = callbacks.returns;
  }

  /**
   * Frees what waits, if this thread has been outside since it ended. What the system refuses to unmap waits for the next time.
   * Returns whether the thread is outside and nothing waits.
   */
  drain(): boolean {
    if (this.isHeld) return false;
    if (this.count === 0 && !this.isEnding && !this.#isEmptying) return !this.isInside;
    try {
      if (this.isEnding) this.#end();
      else this.#freeAll();
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      return false;
    }
    return !this.isInside;
  }

  /** Called when the program leaves. Below a callback, what it has run waits for the return of the outermost call. */
  leave(): void {
    this.entries -= 1;
    if (this.entries !== 0) return;
    if (callbacks.depth === 0) this.#returns = LEFT;
    else if (this.#returns !== LEFT) this.#awaitReturn();
  }

  #freeAll(): void {
    for (const [block, places] of this.#places) {
      for (const [granule, sizeBytes] of places) {
        this.#free(this.#blocks.at(block), granule);
        places.delete(granule);
        this.count -= 1;
        this.sizeBytes -= sizeBytes;
      }
      this.#places.delete(block);
    }
    if (this.#isEmptying) this.#blocks.removeEmpty();
    this.#isEmptying = false;
  }

  /** Ends everything, for a reset. @param isHard whether no block is to be kept that nobody uses behind it */
  retireAll(isHard: boolean): void {
    this.#isEmptying ||= isHard;
    this.#awaitReturn();
    for (const mapped of this.#blocks.all()) {
      const renewed = this.#blocks.renew(mapped);
      for (const granule of startsOf(this.#core.words, mapped.block))
        if (!this.has(mapped.block, granule)) this.retire(renewed, granule);
    }
  }

  /** Ends everything, for a disposal, if this thread is inside. Returns whether the blocks have to stay. */
  postponeEnd(): boolean {
    if (this.isEnding ? !this.isHeld : !this.isInside) return false;
    if (!this.isEnding) this.retireAll(true);
    this.isEnding = true;
    return true;
  }

  /** Called when all blocks have gone or have been cleared, outside. Forgets what lay in those that are gone. */
  forgetGone(): void {
    this.#isEmptying = false;
    if (this.isEmpty) return;
    const blocks = new Set(this.#blocks.all().map(({ block }) => block));
    for (const block of this.#places.keys()) if (!blocks.has(block)) this.forget(block);
  }

  /** Forgets what lay in a block that has been cleared. */
  forget(block: number): void {
    const sizes = [...(this.#places.get(block)?.values() ?? [])];
    this.count -= sizes.length;
    for (const sizeBytes of sizes) this.sizeBytes -= sizeBytes;
    this.#places.delete(block);
  }

  /**
   * Hands what waits over to the limbo of all threads: calls `retire` for each. Returns whether a hard reset waits to unmap the
   * blocks that nobody uses.
   */
  share(retire: (block: number, granule: number) => void): boolean {
    for (const [block, places] of this.#places) for (const granule of places.keys()) retire(block, granule);
    this.#places.clear();
    this.count = 0;
    this.sizeBytes = 0;
    const isEmptying = this.#isEmptying;
    this.#isEmptying = false;
    return isEmptying;
  }
}
