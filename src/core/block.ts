/** The parts of a block's chunk: how large it is, how it is laid out, and how its index is emptied. */
import { lowBits } from "./bits.ts";
import { unlistRecord } from "./class-rings.ts";
import { Block, Link, Pool, Size, Unit, Word } from "./layout.ts";
import { ringRemove } from "./ring.ts";

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
  // A guard is not free, and ends something at every granule: no run and no allocation is ever seen to go on into it.
  words[records - Size.record + Word.stop] = -1;
  words[records + (capacity >>> 5) * Size.record + Word.stop] = -1;
}

/** Marks the padding of an otherwise empty block, and lets the tail begin behind it. */
export function setPadding(words: Int32Array, block: number): void {
  const padding = words[block + Block.padding]!;
  words[words[block + Block.records]! + Word.stop] = lowBits(padding);
  words[block + Block.used] = padding;
  words[block + Block.tail] = padding;
}

/** Takes all words of a block out of the index, and clears the dirty and full bits. */
export function forgetIndex(words: Int32Array, block: number): void {
  const pool = words[block + Block.pool]!;
  const records = words[block + Block.records]!;
  // Behind the tail nothing was ever listed.
  const end = records + (((words[block + Block.tail]! + 31) >>> 5) << 2);
  for (let record = records; record < end && words[pool + Pool.classSummary] !== 0; record += Size.record) {
    if (words[record + Word.next] !== 0) unlistRecord(words, pool, record);
  }
  if (words[block + Block.inDirty + Link.next] !== 0) ringRemove(words, block + Block.inDirty);
  words.fill(0, block + Block.dirty, records - Size.record);
}

/** Makes an empty block untouched again, from the padding on. */
export function clearGranules(words: Int32Array, block: number): void {
  forgetIndex(words, block);
  const records = words[block + Block.records]!;
  words.fill(0, records, records + (((words[block + Block.tail]! + 31) >>> 5) << 2));
  setPadding(words, block);
}
