/** A block's chunk of the buffer: its size, its layout, and how it is emptied. */
import { lowBits } from "./bits.ts";
import { Block, Header, Link, Size, Unit, Word } from "./layout.ts";
import { ringRemove } from "./ring.ts";

/** Groups of 32 words. One more than the words need, so that there is always a clear bit behind the last word to stop at. */
function groupCount(capacity: number): number {
  return (capacity >>> 10) + 1;
}

function summaryCount(capacity: number): number {
  return (groupCount(capacity) >>> 5) + 1;
}

/** The offset of record 0 in the chunk, in integers; a guard lies before it. */
function recordsOffset(capacity: number): number {
  const bitmaps = Block.dirty + 2 * (groupCount(capacity) + summaryCount(capacity));
  return Math.ceil(bitmaps / Size.record) * Size.record + Size.record;
}

/** The units that the chunk of a block of `capacity` granules takes. */
export function blockUnits(capacity: number): number {
  // Behind the last record lie a guard and a spare record, which is read together with the guard and never used.
  const integers = recordsOffset(capacity) + ((capacity >>> 5) + 2) * Size.record;
  return (integers + Unit.integers - 1) >> Unit.shift;
}

/** The units that the generations of a block of `capacity` granules take. */
export function generationUnits(capacity: number): number {
  return (capacity + Unit.integers - 1) >> Unit.shift;
}

/** Lays out a zeroed chunk: the indices of its parts, and the guards before the first record and behind the last. */
export function layOutBlock(words: Int32Array, block: number, capacity: number): void {
  const records = block + recordsOffset(capacity);
  const groups = groupCount(capacity);
  const summaries = summaryCount(capacity);
  words[block + Block.dirtySummary] = block + Block.dirty + groups;
  words[block + Block.full] = block + Block.dirty + groups + summaries;
  words[block + Block.fullSummary] = block + Block.dirty + 2 * groups + summaries;
  words[block + Block.records] = records;
  // A guard is not free and has stop bits, so that no run and no allocation goes on into it. Before padding it has none:
  // no allocation may seem to begin at the padding, whose own stop bit comes before the first allocation.
  words[records - Size.record + Word.stop] = words[Header.padding] === 0 ? -1 : 0;
  words[records + (capacity >>> 5) * Size.record + Word.stop] = -1;
}

/** Marks the padding of an otherwise empty block, and lets the tail begin behind it. */
export function setPadding(words: Int32Array, block: number): void {
  const padding = words[Header.padding]!;
  words[words[block + Block.records]! + Word.stop] = lowBits(padding);
  words[block + Block.freed] = 0;
  words[block + Block.leftOver] = 0;
  words[block + Block.tail] = padding;
}

/** Clears the dirty bits of a block. */
export function forgetDirty(words: Int32Array, block: number): void {
  if (words[block + Block.inDirty + Link.next] === 0) return;
  ringRemove(words, block + Block.inDirty);
  words.fill(0, block + Block.dirty, words[block + Block.full]); // the bits, and their summary behind them
}

/** Makes an empty block untouched again, from the padding on. Entries of its free runs are stale from then on. */
export function clearGranules(words: Int32Array, block: number): void {
  const records = words[block + Block.records]!;
  forgetDirty(words, block);
  words.fill(0, words[block + Block.full], records - Size.record);
  words.fill(0, records, records + (((words[block + Block.tail]! + 31) >>> 5) << 1));
  setPadding(words, block);
}
