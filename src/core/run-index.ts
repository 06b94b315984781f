/**
 * The index of free runs: finds a hole of a given length at a cost that depends on no number of holes or blocks.
 *
 * The unit of the index is the word of 32 granules. A word stands in the ring of the class of the longest free run
 * that *begins* in it, wherever that run ends (the full bits measure those that go on through free words).
 *
 * The index never says too little of a run it has heard of, but it may say too much: a run that another one has joined
 * keeps the listing it had, and so does one that was taken without asking. So a listing is checked against the bits
 * when it is taken at its word. A release then touches one record: that of the word in which its run begins now.
 */
import { findRun, leadingOnes, longestRun, lowBits, lowestBit, trailingOnes } from "./bits.ts";
import { classOfRun } from "./classes.ts";
import { listRecord, unlistRecord } from "./class-rings.ts";
import { firstNotFull, lastNotFull } from "./full-words.ts";
import { Block, Listed, Size, Word } from "./layout.ts";

/** How many granules are free from the first one of `word` on. */
function runFromStartOf(words: Int32Array, block: number, word: number): number {
  const free = words[words[block + Block.records]! + (word << 2)]!;
  if (free !== -1) return trailingOnes(free);
  const end = firstNotFull(words, block, word);
  return ((end - word) << 5) + trailingOnes(words[words[block + Block.records]! + (end << 2)]!);
}

/** Lists the run that holds `granule`, if it is free, at least as high as it is long. */
export function indexRunAt(words: Int32Array, block: number, granule: number): void {
  const bit = granule & 31;
  let word = granule >>> 5;
  let record = words[block + Block.records]! + (word << 2);
  let free = words[record]!;
  if (((free >>> bit) & 1) === 0) return;
  // Where it begins: behind the last granule below that is not free.
  const usedBelow = ~free & lowBits(bit);
  let first = 32 - Math.clz32(usedBelow);
  if (usedBelow === 0 && words[record - Size.record]! < 0) {
    word = lastNotFull(words, block, word - 1);
    record = words[block + Block.records]! + (word << 2); // of -1, the guard, whose granules are not free
    free = words[record]!;
    const leaving = leadingOnes(free);
    if (leaving === 0) {
      word += 1;
      record += Size.record;
      free = -1;
    }
    first = (32 - leaving) & 31;
  }
  const usedAbove = ~free & (-1 << first);
  const length =
    usedAbove !== 0 ? lowestBit(usedAbove) - first : 32 - first + runFromStartOf(words, block, word + 1);
  const runClass = classOfRun(length);
  const link = words[record + Word.next]!;
  if (link !== 0) {
    if ((link & Listed.classMask) >= runClass) return;
    unlistRecord(words, words[block + Block.pool]!, record);
  }
  listRecord(words, words[block + Block.pool]!, record, runClass);
}

/** The granules of a record that are free and belong to runs that begin in it: not to one that enters it. */
function beginningIn(words: Int32Array, record: number): number {
  const free = words[record]!;
  if ((free & 1) === 0 || words[record - Size.record]! >= 0) return free;
  return free & (free + 1); // all of it where it is free all over: -1 & 0
}

/** Puts a word into the ring of the longest free run that begins in it, or into none. */
export function relist(words: Int32Array, block: number, word: number): void {
  const record = words[block + Block.records]! + (word << 2);
  const begins = beginningIn(words, record);
  const link = words[record + Word.next]!;
  const pool = words[block + Block.pool]!;
  if (begins === 0) {
    if (link !== 0) unlistRecord(words, pool, record);
    return;
  }
  let length = longestRun(begins);
  if (begins < 0) {
    length = Math.max(length, leadingOnes(begins) + runFromStartOf(words, block, word + 1));
  }
  const runClass = classOfRun(length);
  if (link !== 0) {
    if ((link & Listed.classMask) === runClass) return;
    unlistRecord(words, pool, record);
  }
  listRecord(words, pool, record, runClass);
}

/** Lists a word of which nothing is known any more, and the run that enters it. */
export function indexWord(words: Int32Array, block: number, word: number): void {
  relist(words, block, word);
  indexRunAt(words, block, word << 5);
}

/**
 * Where `count` free granules begin in a run that begins in `word`, as a granule of the block, or -1.
 * Prefers a run inside the word to the one that leaves it.
 */
export function findInWord(words: Int32Array, block: number, word: number, count: number): number {
  const begins = beginningIn(words, words[block + Block.records]! + (word << 2));
  if (count <= 32) {
    const bit = findRun(begins, count);
    if (bit >= 0) return (word << 5) + bit;
  }
  const leaving = leadingOnes(begins);
  if (leaving === 0 || leaving + runFromStartOf(words, block, word + 1) < count) return -1;
  return ((word + 1) << 5) - leaving;
}
