/** Tells which thread made an allocation, by its generation: generations are handed out to threads in batches. */
import { RETIRED } from "../core/ledger.ts";
import { Batches, Field, Given, Members } from "./layout.ts";

/** The bits of a generation that number it within its batch. */
const LAST_OF_BATCH = 2 ** Batches.shift - 1;

/** The part of a generation that counts; the sign bit is always set. */
const COUNTER = 0x7fff_ffff;
const SIGN = -0x8000_0000;

/** Whether a generation is the last of its batch: the next one needs a new batch. The very last one is that of the retired. */
export function isLastOfBatch(generation: number): boolean {
  return (generation & LAST_OF_BATCH) === LAST_OF_BATCH || (generation | SIGN) === RETIRED - 1;
}

/** The batch of a generation. */
export function batchOf(generation: number): number {
  return (generation & COUNTER) >>> Batches.shift;
}

/**
 * The table of batches. All methods but {@link GenerationBatches.ownerOf} need the lock.
 *
 * The life of a batch:
 * 1. A member takes it and becomes its owner: no other member takes it or gives its generations.
 * 2. Its owner gives its generations, one for each allocation. If the owner's thread ends before the batch is used up,
 * the thread that gets its number goes on with it.
 * 3. It is used up, and some of its generations are live.
 * 4. None of its generations is live: it is taken again once all batches were taken.
 */
export class GenerationBatches {
  readonly #words: Int32Array;
  readonly #owners: Uint16Array;

  constructor(words: Int32Array, owners: Uint16Array) {
    this.#words = words;
    this.#owners = owners;
  }

  /** The number of the member whose generations these are. */
  ownerOf(generation: number): number {
    return this.ownerOfBatch(batchOf(generation));
  }

  ownerOfBatch(batch: number): number {
    return (this.#owners[batch] ?? 0) & ~Batches.pending;
  }

  /** Whether the batch is of a module that is not committed, or is on its way out (modules.ts). */
  isPending(batch: number): boolean {
    return ((this.#owners[batch] ?? 0) & Batches.pending) !== 0;
  }

  /** Makes a batch pending, or no longer: in one write. */
  markPending(batch: number, isPending: boolean): void {
    const owner = this.ownerOfBatch(batch);
    this.#owners[batch] = isPending ? owner | Batches.pending : owner;
  }

  /**
   * Makes a member the owner of all generations up to `generation`, the last one given before the allocator was shared,
   * and of those that are live.
   */
  claim(member: number, generation: number, live: Iterable<number>): void {
    const last = generation | SIGN;
    let isWrapped = false;
    this.#owners.fill(member, 0, batchOf(last) + 1);
    for (const each of live) {
      this.#owners[batchOf(each)] = member;
      isWrapped ||= each > last;
    }
    this.#words[Field.nextBatch] = (isWrapped ? Batches.count : 0) + batchOf(last) + 1;
    // If all generations were given once, later ones of this batch may be live: 0 makes the member take a new batch.
    this.#words[Given.start + member] = isWrapped ? 0 : last;
  }

  /**
   * Gives a member the next batch.
   * @param findUsed returns, for each batch, 1 where one of its generations is live; called only when all batches were
   *   given once
   * @returns the generation before its first one; undefined where every batch is in use
   * @throws Error where the count of batches is impossible (invariant 18)
   */
  take(member: number, findUsed: () => Uint8Array): number | undefined {
    const next = this.#words[Field.nextBatch] ?? 0;
    if (next < 0 || next > 2 * Batches.count)
      throw new Error(`invariant 18 is broken: batch ${next} is next`);
    const isFirstRound = next < Batches.count;
    // A batch with live generations is not taken again: its allocations would count as another thread's, and a stale span
    // could pass for a live one.
    const batch = isFirstRound ? next : firstFree(this.#withBegun(findUsed()), next - Batches.count);
    if (batch === -1) return undefined;
    // The owner is written first: if the thread dies before the count is written, the next member takes the same batch.
    this.#owners[batch] = member;
    // Once all batches were given, the count stays above their number for good.
    this.#words[Field.nextBatch] = (isFirstRound ? 0 : Batches.count) + batch + 1;
    // Generation 0 of batch 0 is never given: it stands in the tokens of released spans (span-identity.ts).
    return Math.max((batch << Batches.shift) - 1, 0);
  }

  /** Notes that a member is about to give the generation after `generation`. Called before it does. */
  noteNext(member: number, generation: number): void {
    this.#words[Given.start + member] = (generation + 1) | SIGN;
  }

  /**
   * The generation after which a member goes on in a batch that it, or the earlier thread with its number, has begun; 0 =
   * it has to take a batch.
   */
  resume(member: number): number {
    const last = this.#words[Given.start + member] ?? 0;
    // If the batch was handed over, all of it belongs to the new owner.
    return isBegun(last) && this.ownerOf(last) === member ? last : 0;
  }

  /** Makes another member the owner of a batch: of its allocations so far, and of all later ones. */
  handOver(batch: number, member: number): void {
    this.#owners[batch] = member;
  }

  /** Checks invariant 18, given all generations that are live. @throws Error where it does not hold */
  verify(live: Iterable<number>): void {
    const lastGiven = new Map<number, number>();
    for (let number = 1; number < Members.count; number++) {
      const last = this.#words[Given.start + number] ?? 0;
      if (!isBegun(last)) continue;
      check(!lastGiven.has(batchOf(last)), "two members have begun the same batch");
      lastGiven.set(batchOf(last), last);
    }
    const taken = this.#words[Field.nextBatch] ?? 0;
    for (const generation of live) {
      check(batchOf(generation) < taken, "a generation is live of a batch that nobody took");
      const last = lastGiven.get(batchOf(generation));
      check(last === undefined || generation <= last, "a generation is live that is still to be given");
      check(this.ownerOf(generation) < Members.count, "a batch is nobody's");
    }
  }

  /**
   * Marks the batches that members have begun as used: such a batch may have nothing live, but its member may go on with
   * it at any time. Members that are over are marked too. That saves asking the system about each, and costs few batches.
   */
  #withBegun(used: Uint8Array): Uint8Array {
    for (let number = 1; number < Members.count; number++) {
      const last = this.#words[Given.start + number] ?? 0;
      if (isBegun(last)) used[batchOf(last)] = 1;
    }
    return used;
  }
}

/** Whether the batch of `last`, the generation that a member gave last (0 = none), is not used up. */
function isBegun(last: number): boolean {
  return last !== 0 && !isLastOfBatch(last);
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`invariant 18 is broken: ${what}`);
}

/** The first batch that is not in use, from `start` on and wrapping around; -1 = none. */
function firstFree(used: Uint8Array, start: number): number {
  const after = used.indexOf(0, start);
  return after === -1 ? used.indexOf(0) : after;
}
