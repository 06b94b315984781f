/** Which thread an allocation is from: told by its generation, since generations are handed out in batches. */
import { Batches, Field, Given, Members } from "./layout.ts";

/** The numbers within a batch. */
const LAST_OF_BATCH = 2 ** Batches.shift - 1;

/** The part of a generation that counts; the sign bit is always set. */
const COUNTER = 0x7fff_ffff;
const SIGN = -0x8000_0000;

/** Whether the batch of the generation given last is used up: the next one needs a new batch. */
export function isLastOfBatch(generation: number): boolean {
  return (generation & LAST_OF_BATCH) === LAST_OF_BATCH;
}

/** The batch that a generation is of. */
export function batchOf(generation: number): number {
  return (generation & COUNTER) >>> Batches.shift;
}

/**
 * The table of batches. All but {@link GenerationBatches.ownerOf} need the lock.
 *
 * The life of a batch:
 * 1. It is taken: from then on its generations are its owner's, and nobody else takes it.
 * 2. Its owner gives them, one an allocation. What the owner leaves of it when it ends, the thread that gets its number
 *    goes on with.
 * 3. It is used up, and something of it is live.
 * 4. Nothing of it is live: when all others were taken, it is taken again.
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
    return this.#owners[batch] ?? 0;
  }

  /**
   * Gives a member all generations up to `generation`, which is the last that was given before the allocator was shared,
   * and those that are live.
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
    // Where all generations were given once, some of those that follow may be live.
    this.#words[Given.start + member] = isWrapped ? 0 : last;
  }

  /**
   * Gives a member the next batch.
   * @param findUsed by batch, 1 where a generation of it is live; asked only when all batches were given once
   * @returns the generation before its first one; undefined where every batch is in use
   * @throws Error where the count of batches is none
   */
  take(member: number, findUsed: () => Uint8Array): number | undefined {
    const next = this.#words[Field.nextBatch] ?? 0;
    if (next < 0 || next > 2 * Batches.count)
      throw new Error(`invariant 18 is broken: batch ${next} is next`);
    const isFirstRound = next < Batches.count;
    // A long-lived allocation must not be taken for another thread's, nor a stale span for a live one.
    const batch = isFirstRound ? next : firstFree(this.#withBegun(findUsed()), next - Batches.count);
    if (batch === -1) return undefined;
    // The owner first: a thread that dies in between has skipped a batch, or the next one gives it away again.
    this.#owners[batch] = member;
    // Past all batches the count stays above them, however long it goes on.
    this.#words[Field.nextBatch] = (isFirstRound ? 0 : Batches.count) + batch + 1;
    // Generation 0 of batch 0 is nobody's, and stands in the tokens of what was released (span-identity.ts).
    return Math.max((batch << Batches.shift) - 1, 0);
  }

  /** Notes that a member is about to give the generation behind `generation`. Before it does. */
  noteNext(member: number, generation: number): void {
    this.#words[Given.start + member] = (generation + 1) | SIGN;
  }

  /**
   * The generation behind which a member goes on in a batch that it has begun, or the thread that had its number before;
   * 0 where it has to take one.
   */
  resume(member: number): number {
    const last = this.#words[Given.start + member] ?? 0;
    // Where what was live of it is somebody else's now, all of it is.
    return isBegun(last) && this.ownerOf(last) === member ? last : 0;
  }

  /** What was allocated of a batch, and all that will be, is another member's from now on. */
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
   * Marks the batches that a member has begun: it may have nothing live, and go on with its batch at any time. Whether
   * it is over is not asked. That saves a look at each, and so few batches matter to nobody.
   */
  #withBegun(used: Uint8Array): Uint8Array {
    for (let number = 1; number < Members.count; number++) {
      const last = this.#words[Given.start + number] ?? 0;
      if (isBegun(last)) used[batchOf(last)] = 1;
    }
    return used;
  }
}

/** Whether there is more to give of the batch of the generation that a member gave last; 0 = it gave none. */
function isBegun(last: number): boolean {
  return last !== 0 && !isLastOfBatch(last);
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`invariant 18 is broken: ${what}`);
}

/** The first batch that is not in use, from `start` on and round; -1 where there is none. */
function firstFree(used: Uint8Array, start: number): number {
  const after = used.indexOf(0, start);
  return after === -1 ? used.indexOf(0) : after;
}
