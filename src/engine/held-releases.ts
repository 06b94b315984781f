/**
 * Releases below a callback: machine code of this thread is on the stack, and what is released may be that code. So the
 * allocation ends at once for all who ask for it, and stays in the core until the outermost call has returned
 * (base/return-queue.ts). Then it is released for real.
 *
 * For an allocator of one thread. In a shared one any thread may run the code, which nobody can see.
 */
import { afterReturn } from "../base/return-queue.ts";
import type { Core } from "../core/core.ts";
import { Status } from "../core/status.ts";
import { granulesOf, liveCountOf } from "../core/survey.ts";
import type { Address } from "../ffi/contract.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { SpanIdentity } from "./span-identity.ts";

/** Where an allocation begins. */
export interface Place {
  readonly mapped: MappedBlock;
  readonly granule: number;
}

/** The allocations of one allocator that have ended and may still be running. */
export class HeldReleases {
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #identity: SpanIdentity;
  readonly #free: (place: Place) => void;
  /** By their addresses. Those in a block that was unmapped or cleared meanwhile are gone with it. */
  readonly #held = new Map<Address, Place>();
  /** Whether a hard reset leaves no empty block. */
  #isHard = false;

  /** @param free releases an allocation for real, or throws what the system refuses */
  constructor(core: Core, blocks: BlockMemory, identity: SpanIdentity, free: (place: Place) => void) {
    this.#core = core;
    this.#blocks = blocks;
    this.#identity = identity;
    this.#free = free;
  }

  /** How many wait. */
  get count(): number {
    return this.#held.size;
  }

  /** Whether an allocation that the core has is none for users any more. */
  has(block: number, granule: number): boolean {
    if (this.#held.size === 0) return false;
    return this.#held.get(this.#core.addressOf(block, granule))?.mapped.isMapped === true;
  }

  /** Ends live allocations, all or none. @throws JitError `ERR_OUT_OF_MEMORY` where there is no room for their marks */
  hold(places: readonly Place[]): void {
    for (const { mapped } of places) this.#identity.watch(mapped);
    if (this.#held.size === 0) this.#queue();
    for (const place of places) {
      this.#identity.end(place.mapped, place.granule);
      this.#held.set(this.#core.addressOf(place.mapped.block, place.granule), place);
    }
  }

  /** Ends all allocations. @param isHard whether no empty block is kept in the end */
  holdAll(isHard: boolean): void {
    this.hold(this.#blocks.all().flatMap((mapped) => this.#liveIn(mapped)));
    this.#isHard ||= isHard;
    if (isHard && this.#held.size === 0) this.#queue();
  }

  #liveIn(mapped: MappedBlock): Place[] {
    const places: Place[] = [];
    let isBehindEnd = true;
    for (const [granule, use] of granulesOf(this.#core.words, mapped.block).entries()) {
      const address = this.#core.addressOf(mapped.block, granule);
      // Padding looks like an allocation, and is none.
      const begins = use !== 0 && isBehindEnd && this.#core.locateStart(address) === Status.ok;
      if (begins && !this.has(mapped.block, granule)) places.push({ mapped, granule });
      isBehindEnd = use !== 1;
    }
    return places;
  }

  #queue(): void {
    afterReturn(() => {
      this.#releaseAll();
    });
  }

  /** Releases what is held. @throws what the system refuses, which is still held then; the rest is released */
  #releaseAll(): void {
    const failures: unknown[] = [];
    for (const [address, place] of this.#held) {
      try {
        if (place.mapped.isMapped) this.#free(place);
        this.#held.delete(address);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    if (this.#isHard) this.#removeEmpty();
    this.#isHard = false;
  }

  #removeEmpty(): void {
    for (const mapped of this.#blocks.all()) {
      if (liveCountOf(this.#core.words, mapped.block) === 0) this.#blocks.remove(mapped);
    }
  }
}
