/**
 * How spans know whether they are live, at no cost for those that are made by `alloc` and released through themselves:
 * each of them knows by itself that it was released. The table of a block, an integer a granule, is for the others.
 *
 * At the granule where an allocation begins stands
 *
 * - 0, or a *mark*, a positive integer: it stood there when the allocation was made, and its spans know it;
 * - a *generation*, a negative integer that no other allocation has: it was given one because a token tells of it.
 *
 * A release through anything but the one span of an allocation puts a new mark there. So whoever knows what stood there
 * before learns that the allocation is gone; a later one at the same place begins with the new mark. As long as that has not
 * happened in a block, its table is neither read nor written. Where others have only looked (`query`), every release
 * leaves a mark for their spans, but a span that `alloc` made still knows by itself.
 *
 * Where the allocator is shared, the table is a ledger of all allocations instead (ledger.ts): each has its generation.
 */
import { lengthFrom } from "./granules.ts";
import { Block, Header, Spans } from "./layout.ts";

/** What a span of a new allocation at a granule has to know. */
export function valueAt(words: Int32Array, block: number, granule: number): number {
  if ((words[block + Block.spans]! & (Spans.marked | Spans.ledger)) === 0) return 0;
  return words[words[block + Block.generations]! + granule]!;
}

/** The generation of the live allocation that begins at a granule; given now if it has none. Not for a ledger. */
export function giveGeneration(words: Int32Array, block: number, granule: number): number {
  const entry = words[block + Block.generations]! + granule;
  const known = words[entry]!;
  if (known < 0) return known;
  const generation = nextGeneration(words);
  words[entry] = generation;
  words[block + Block.spans] = words[block + Block.spans]! | Spans.marked;
  return generation;
}

/** From now on every release in a block leaves a mark: an allocation has more than one span. */
export function watchBlock(words: Int32Array, block: number): void {
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

/** Always negative, so that it is never taken for a length or a mark. */
function nextGeneration(words: Int32Array): number {
  const generation = (words[Header.generation]! + 1) | -0x8000_0000;
  words[Header.generation] = generation;
  return generation;
}

function writeEntry(words: Int32Array, entry: number, generation: number, count: number): void {
  // The length first: with the generation the allocation is entered, in one write (ledger.ts).
  if (count > 1) words[entry + 1] = count;
  words[entry] = generation;
}

/**
 * An allocation that began at a granule is gone; of a ledger, one of `count` granules.
 * @param isOwn it was released through a span that `alloc` made
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

/** An allocation that begins at a granule has become shorter. */
export function shortenEntry(words: Int32Array, block: number, granule: number, newCount: number): void {
  if ((words[block + Block.spans]! & Spans.ledger) === 0) return;
  words[words[block + Block.generations]! + granule + 1] = newCount > 1 ? newCount : 0;
}

/**
 * Makes the table of a block a ledger. `starts` are the granules at which its allocations begin, `values` what stands
 * there. Cannot fail.
 * @param visit is told of each allocation that gets a generation only now, and what stood in its place
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
