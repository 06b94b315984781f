/**
 * The generations of a block as a ledger of its allocations. In a shared allocator every allocation has a generation, so
 * the table tells where each begins (a negative integer) and how many granules it has (the integer behind it where that is
 * positive, else 1).
 *
 * Each operation changes the ledger with a single write: an allocation exists once its generation is written (its length
 * was written before), is gone once the generation is cleared, and is shorter once the length is overwritten. A bit vector
 * cannot do that for an allocation over several words. So whenever a thread stops, the ledger is right, and everything
 * else can be derived from it (rebuild.ts).
 */
import { broken } from "./broken.ts";
import { Block, Spans } from "./layout.ts";

/**
 * The generation of an allocation that was retired: it has ended for everybody, and its granules are not free yet. No other
 * allocation has it.
 */
export const RETIRED = -1;

/**
 * Ends the allocation that begins at `granule`, in one write: its spans and its address are no longer live, its granules stay
 * in use. Precondition: the block has a ledger.
 */
export function retireEntry(words: Int32Array, block: number, granule: number): void {
  words[words[block + Block.generations]! + granule] = RETIRED;
}

/** Whether the allocation that begins at `granule` was retired. */
export function isRetired(words: Int32Array, block: number, granule: number): boolean {
  return (
    (words[block + Block.spans]! & Spans.ledger) !== 0 &&
    words[words[block + Block.generations]! + granule] === RETIRED
  );
}

/**
 * Calls `visit` for each allocation that the ledger at `generations` has from granule `start` on, in order. Clears stray
 * lengths of a thread that stopped halfway, whose generation was not written yet or was cleared already.
 * @throws Error for no valid ledger: it does not lie in the buffer, or an allocation does not lie in it
 */
export function readLedger(
  words: Int32Array,
  generations: number,
  start: number,
  capacity: number,
  visit: (granule: number, count: number, generation: number) => void,
): void {
  // Written so that NaN, which an invalid block yields, fails as well.
  const isInside = generations > 0 && generations + capacity <= words.length;
  if (!isInside) broken(17, `a ledger of ${capacity} granules does not lie in the buffer`);
  let granule = start;
  while (granule < capacity) {
    const generation = words[generations + granule]!;
    if (generation >= 0) {
      if (generation > 0) words[generations + granule] = 0;
      granule += 1;
      continue;
    }
    const length = granule + 1 < capacity ? words[generations + granule + 1]! : 0;
    const count = length > 0 ? length : 1;
    if (granule + count > capacity)
      broken(17, `${count} granules from granule ${granule} on are more than there are`);
    visit(granule, count, generation);
    granule += count;
  }
}

/**
 * Takes the allocation that begins at `granule` out of the ledger; its bits stay set. Returns its generation, or 0 where
 * the block has no ledger.
 */
export function strikeOut(words: Int32Array, block: number, granule: number): number {
  if ((words[block + Block.spans]! & Spans.ledger) === 0) return 0;
  const generations = words[block + Block.generations]!;
  const generation = words[generations + granule]!;
  words[generations + granule] = 0;
  return generation;
}

/** Undoes {@link strikeOut}. */
export function restore(words: Int32Array, block: number, granule: number, generation: number): void {
  if ((words[block + Block.spans]! & Spans.ledger) === 0) return;
  words[words[block + Block.generations]! + granule] = generation;
}
