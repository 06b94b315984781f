/** The parts of a block's chunk: how large it is, how it is laid out, and how its index is emptied. */
import { bitRange } from "./bits.ts";
import {
  BLOCK_DIRTY,
  BLOCK_DIRTY_SUMMARY,
  BLOCK_FULL,
  BLOCK_FULL_SUMMARY,
  BLOCK_IN_DIRTY,
  BLOCK_PADDING,
  BLOCK_POOL,
  BLOCK_RECORDS,
  BLOCK_TAIL,
  BLOCK_USED,
  NEXT,
  POOL_CLASS_SUMMARY,
  RECORD_INTEGERS,
  UNIT_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
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
  const bitmaps = BLOCK_DIRTY + 2 * (groupCount(capacity) + summaryCount(capacity));
  return Math.ceil(bitmaps / RECORD_INTEGERS) * RECORD_INTEGERS + RECORD_INTEGERS;
}

/** How many units the chunk of a block of `capacity` granules takes. */
export function blockUnits(capacity: number): number {
  const integers = recordsOffset(capacity) + ((capacity >>> 5) + 1) * RECORD_INTEGERS;
  return (integers + UNIT_INTEGERS - 1) >> UNIT_SHIFT;
}

/** How many units the generations of a block of `capacity` granules take. */
export function generationUnits(capacity: number): number {
  return (capacity + UNIT_INTEGERS - 1) >> UNIT_SHIFT;
}

/** Sets where the parts of a zeroed chunk lie, and the guards before the first record and behind the last. */
export function layOutBlock(words: Int32Array, block: number, capacity: number): void {
  const groups = groupCount(capacity);
  const summaries = summaryCount(capacity);
  const records = block + recordsOffset(capacity);
  words[block + BLOCK_DIRTY_SUMMARY] = block + BLOCK_DIRTY + groups;
  words[block + BLOCK_FULL] = block + BLOCK_DIRTY + groups + summaries;
  words[block + BLOCK_FULL_SUMMARY] = block + BLOCK_DIRTY + 2 * groups + summaries;
  words[block + BLOCK_RECORDS] = records;
  // A guard is used and stopped all over: no run and no allocation is ever seen to go on into it.
  words.fill(-1, records - RECORD_INTEGERS, records - RECORD_INTEGERS + 2);
  const end = records + (capacity >>> 5) * RECORD_INTEGERS;
  words.fill(-1, end, end + 2);
}

/** Marks the padding of an otherwise empty block, and lets the tail begin behind it. */
export function setPadding(words: Int32Array, block: number): void {
  const padding = words[block + BLOCK_PADDING]!;
  if (padding > 0) {
    const record = words[block + BLOCK_RECORDS]!;
    words[record] = bitRange(0, padding);
    words[record + 1] = 1 << (padding - 1);
  }
  words[block + BLOCK_USED] = padding;
  words[block + BLOCK_TAIL] = padding;
}

/** Takes the words that hold the first `granuleCount` granules out of the index, and clears all dirty and full bits. */
export function forgetIndex(words: Int32Array, block: number, granuleCount: number): void {
  const pool = words[block + BLOCK_POOL]!;
  const last = granuleCount >>> 5;
  for (let word = 0; word <= last && words[pool + POOL_CLASS_SUMMARY] !== 0; word++)
    unlist(words, block, word);
  if (words[block + BLOCK_IN_DIRTY + NEXT] !== 0) ringRemove(words, block + BLOCK_IN_DIRTY);
  words.fill(0, block + BLOCK_DIRTY, words[block + BLOCK_RECORDS]! - RECORD_INTEGERS);
}
