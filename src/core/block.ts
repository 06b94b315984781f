/** The parts of a block's chunk: how large it is, how it is laid out, and how its index is emptied. */
import { bitRange } from "./bits.ts";
import { Block, Link, Pool, Size, Unit } from "./layout.ts";
import { ringRemove } from "./ring.ts";
import { unlist } from "./run-index.ts";

/** One group more than the words need: behind the last word there is always a clear bit to stop at. */
function groupCount(capacity: number): number {
  return (capacity >>> 10) + 1;
}

function summaryCount(capacity: number): number {
  return (groupCount(capacity) >>> 5) + 1;
}

function recordsOffset(capacity: number): number {
  const bitmaps = Block.dirty + 2 * (groupCount(capacity) + summaryCount(capacity));
  return Math.ceil(bitmaps / Size.record) * Size.record + Size.record;
}

/** How many units the chunk of a block of `capacity` granules takes. */
export function blockUnits(capacity: number): number {
  const integers = recordsOffset(capacity) + ((capacity >>> 5) + 1) * Size.record;
  return (integers + Unit.integers - 1) >> Unit.shift;
}

/** How many units the generations of a block of `capacity` granules take. */
export function generationUnits(capacity: number): number {
  return (capacity + Unit.integers - 1) >> Unit.shift;
}

/** Sets where the parts of a zeroed chunk lie, and the guards before the first record and behind the last. */
export function layOutBlock(words: Int32Array, block: number, capacity: number): void {
  const groups = groupCount(capacity);
  const summaries = summaryCount(capacity);
  const records = block + recordsOffset(capacity);
  words[block + Block.dirtySummary] = block + Block.dirty + groups;
  words[block + Block.full] = block + Block.dirty + groups + summaries;
  words[block + Block.fullSummary] = block + Block.dirty + 2 * groups + summaries;
  words[block + Block.records] = records;
  // A guard is used and stopped all over: no run and no allocation is ever seen to go on into it.
  words.fill(-1, records - Size.record, records - Size.record + 2);
  const end = records + (capacity >>> 5) * Size.record;
  words.fill(-1, end, end + 2);
}

/** Marks the padding of an otherwise empty block, and lets the tail begin behind it. */
export function setPadding(words: Int32Array, block: number): void {
  const padding = words[block + Block.padding]!;
  if (padding > 0) {
    const record = words[block + Block.records]!;
    words[record] = bitRange(0, padding);
    words[record + 1] = 1 << (padding - 1);
  }
  words[block + Block.used] = padding;
  words[block + Block.tail] = padding;
}

/** Takes the words that hold the first `granuleCount` granules out of the index, and clears all dirty and full bits. */
export function forgetIndex(words: Int32Array, block: number, granuleCount: number): void {
  const pool = words[block + Block.pool]!;
  const last = granuleCount >>> 5;
  for (let word = 0; word <= last && words[pool + Pool.classSummary] !== 0; word++)
    unlist(words, block, word);
  if (words[block + Block.inDirty + Link.next] !== 0) ringRemove(words, block + Block.inDirty);
  words.fill(0, block + Block.dirty, words[block + Block.records]! - Size.record);
}
