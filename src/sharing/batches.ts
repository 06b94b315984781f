/** Which thread an allocation is from: told by its generation, since generations are handed out in batches. */
import { Batches, Field } from "./layout.ts";

/** The numbers within a batch. */
const LAST_OF_BATCH = 2 ** Batches.shift - 1;

/** The part of a generation that counts; the sign bit is always set. */
const COUNTER = 0x7fff_ffff;

/** Whether the batch of the generation given last is used up: the next one needs a new batch. */
export function isLastOfBatch(generation: number): boolean {
  return (generation & LAST_OF_BATCH) === LAST_OF_BATCH;
}

/** The batch that a generation is of. */
export function batchOf(generation: number): number {
  return (generation & COUNTER) >>> Batches.shift;
}

/** The table of batches. All but {@link ownerOf} need the lock. */
export class GenerationBatches {
  readonly #words: Int32Array;
  readonly #owners: Uint16Array;

  constructor(words: Int32Array, owners: Uint16Array) {
    this.#words = words;
    this.#owners = owners;
  }

  /** The number of the member whose generations these are. */
  ownerOf(generation: number): number {
    return this.#owners[batchOf(generation)] ?? 0;
  }

  /** Gives all generations up to `generation` to a member: those from before the allocator was shared. */
  claimUpTo(generation: number, member: number): void {
    this.#owners.fill(member, 0, batchOf(generation) + 1);
    this.#words[Field.nextBatch] = batchOf(generation) + 1;
  }

  /**
   * Gives a member the next batch.
   * @param findUsed by batch, 1 where a generation of it is live; asked only when all batches were given once
   * @returns the generation before its first one; undefined where every batch is in use
   */
  take(member: number, findUsed: () => Uint8Array): number | undefined {
    const next = this.#words[Field.nextBatch] ?? 0;
    const isFirstRound = next < Batches.count;
    // A long-lived allocation must not be taken for another thread's, nor a stale span for a live one.
    const batch = isFirstRound ? next : firstFree(findUsed(), next - Batches.count);
    if (batch === -1) return undefined;
    // The owner first: a thread that dies in between has skipped a batch, or the next one gives it away again.
    this.#owners[batch] = member;
    // Past all batches the count stays above them, however long it goes on.
    this.#words[Field.nextBatch] = (isFirstRound ? 0 : Batches.count) + batch + 1;
    // Generation 0 of batch 0 is nobody's, and stands in the tokens of what was released (span-identity.ts).
    return Math.max((batch << Batches.shift) - 1, 0);
  }
}

/** The first batch that is not in use, from `start` on and round; -1 where there is none. */
function firstFree(used: Uint8Array, start: number): number {
  const after = used.indexOf(0, start);
  return after === -1 ? used.indexOf(0) : after;
}
