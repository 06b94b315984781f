/**
 * Tells spans whether they are live. A span that `alloc` made and that is released through itself costs nothing: it knows
 * by itself that it was released. For the others each block has a table, with one integer per granule. Its room is
 * promised when the block gets its first span, so that nothing fails later; it is made when an entry may come.
 *
 * The entry at the granule where an allocation begins is
 *
 * - 0, or a *mark*, a positive integer: it stood there when the allocation was made, and its spans know it;
 * - a *generation*, a negative integer that no other allocation has: given because a token names the allocation.
 *
 * A release through anything but the one span of an allocation writes a new mark there. A span that knows the old value
 * so learns that its allocation is gone; a later allocation at the same place begins with the new mark. As long as that
 * has not happened in a block, its table is neither read nor written. Once `query` has made a span in a block, every
 * release there leaves a mark for such spans, but a span that `alloc` made still knows by itself.
 *
 * In a shared allocator the table is a ledger of all allocations instead (ledger.ts): each has its generation.
 */
import { generationsOf } from "./blocks.ts";
import { lengthFrom } from "./granules.ts";
import { RETIRED } from "./ledger.ts";
import { Block, Header, Spans } from "./layout.ts";
import type { State } from "./state.ts";

/** The value by which a span of the allocation that begins at `granule` knows it. */
export function valueAt(words: Int32Array, block: number, granule: number): number {
  if ((words[block + Block.spans]! & (Spans.marked | Spans.ledger)) === 0) return 0;
  return words[words[block + Block.generations]! + granule]!;
}

/** The generation of the live allocation that begins at a granule; given now if it has none. Not for a ledger. */
export function giveGeneration(state: State, block: number, granule: number): number {
  const words = state.words;
  const entry = generationsOf(state, block) + granule;
  const known = words[entry]!;
  if (known < 0) return known;
  const generation = nextGeneration(words);
  words[entry] = generation;
  words[block + Block.spans] = words[block + Block.spans]! | Spans.marked;
  return generation;
}

/**
 * From now on every release in a block leaves a mark: an allocation has more than one span. Makes the table for the marks.
 */
export function watchBlock(state: State, block: number): void {
  const words = state.words;
  generationsOf(state, block);
  words[block + Block.spans] = words[block + Block.spans]! | Spans.watched;
}

/** Enters the allocation that begins at a granule in the ledger, if it is not there yet; returns its generation. */
export function enterInLedger(words: Int32Array, block: number, granule: number): number {
  const entry = words[block + Block.generations]! + granule;
  const known = words[entry]!;
  if (known !== 0) return known;
  const generation = nextGeneration(words);
  writeEntry(words, entry, generation, lengthFrom(words, block, granule));
  return generation;
}

/**
 * Gives the next generation. It is always negative, so that it is never taken for a length or a mark, and never the one of
 * all that was retired.
 */
function nextGeneration(words: Int32Array): number {
  const next = (words[Header.generation]! + 1) | -0x8000_0000;
  const generation = next === RETIRED ? -0x8000_0000 : next;
  words[Header.generation] = generation;
  return generation;
}

function writeEntry(words: Int32Array, entry: number, generation: number, count: number): void {
  // The length first: with the generation the allocation is entered, in one write (ledger.ts).
  if (count > 1) words[entry + 1] = count;
  words[entry] = generation;
}

/**
 * Notes in the block's table that the allocation that began at a granule was released. In a ledger it had `count` granules.
 * @param isOwn whether it was released through a span that `alloc` made
 */
export function forgetAllocation(
  words: Int32Array,
  block: number,
  granule: number,
  count: number,
  isOwn: boolean,
): void {
  const entry = words[block + Block.generations]! + granule;
  const spans = words[block + Block.spans]!;
  if ((spans & Spans.ledger) !== 0) {
    words[entry] = 0;
    if (count > 1) words[entry + 1] = 0;
  } else if (!isOwn || (spans & Spans.watched) !== 0 || words[entry]! < 0) {
    const mark = (words[Header.mark]! % 0x7fff_ffff) + 1; // never 0, which means none
    words[Header.mark] = mark;
    words[entry] = mark;
    words[block + Block.spans] = spans | Spans.marked | (isOwn ? 0 : Spans.foreign);
  }
}

/**
 * Ends all spans of the allocation that begins at `granule`, which stays allocated. Not for a ledger. The table of generations
 * may be made.
 */
export function endSpansOf(state: State, block: number, granule: number): void {
  if (state.words[block + Block.spans] === Spans.none) return;
  generationsOf(state, block);
  forgetAllocation(state.words, block, granule, 0, false);
}

/** Notes in a ledger that an allocation now has `newCount` granules. Does nothing for another table. */
export function shortenEntry(words: Int32Array, block: number, granule: number, newCount: number): void {
  if ((words[block + Block.spans]! & Spans.ledger) === 0) return;
  words[words[block + Block.generations]! + granule + 1] = newCount > 1 ? newCount : 0;
}

/**
 * Makes the table of a block a ledger. `starts` are the granules at which its allocations begin, `values` the entries
 * there. Cannot fail.
 * @param visit called for each allocation that gets its generation only now, with the value that stood there before
 */
export function makeLedger(
  words: Int32Array,
  block: number,
  starts: readonly number[],
  values: readonly number[],
  visit: (granule: number, generation: number, value: number) => void,
): void {
  const table = words[block + Block.generations]!;
  const capacity = words[block + Block.capacity]!;
  words.fill(0, table, table + capacity);
  words[block + Block.spans] = Spans.ledger;
  for (const [index, granule] of starts.entries()) {
    const value = values[index]!;
    const generation = value < 0 ? value : nextGeneration(words);
    writeEntry(words, table + granule, generation, lengthFrom(words, block, granule));
    if (value >= 0) visit(granule, generation, value);
  }
}
