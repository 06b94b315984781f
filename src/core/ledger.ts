/**
 * The generations of a block as a ledger of its allocations. Where every allocation has a generation, as in a shared
 * allocator, they say all there is to know: where each begins (a negative integer) and how long it is (the integer
 * behind it where that is positive, else 1).
 *
 * Each operation changes what the ledger says with a single write: an allocation is there when its generation is
 * written (the length was, before), gone when it is cleared, shorter when the length is overwritten. A bit vector
 * cannot do that for what reaches over several words. So whenever a thread stops, the ledger is right, and everything
 * else can be derived from it (rebuild.ts).
 */
import { broken } from "./broken.ts";
import { Block, Spans } from "./layout.ts";

/**
 * Calls `visit` for each allocation that the ledger at `generations` has from granule `start` on, in order. Clears
 * what a thread that stopped halfway left in between: a length whose generation was not written yet, or is cleared.
 * @throws Error where that is no ledger: it does not lie in the buffer, or an allocation does not lie in it
 */
export function readLedger(
  words: Int32Array,
  generations: number,
  start: number,
  capacity: number,
  visit: (granule: number, count: number, generation: number) => void,
): void {
  // Written so that NaN, of a block that is none, fails as well.
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
 * Takes the allocation that begins at `granule` out of the ledger; its bits are still set. Returns the generation it
 * had, or 0.
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
