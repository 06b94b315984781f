/**
 * Full bits: one for each word whose granules are known to be all free, and a summary bit for 32 full bits that are set.
 * With them a run is measured in a few steps, however many words it spans.
 *
 * A set full bit is always true: taking the first granule of a full word clears it. A clear one says nothing: measuring a
 * run looks at the words themselves, and sets the full bits of those beyond the nearest eight. So releasing and taking
 * runs of a few words, as most programs do, hardly touches these bits.
 */
import { assert } from "../base/assert.ts";
import * as bits from "./bits.ts";
import { broken } from "./broken.ts";
import { Block, Size } from "./layout.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { leadingOnes, lowestBit, trailingOnes } = bits;

export function setFull(words: Int32Array, block: number, word: number): void {
  assert(words[words[block + Block.records]! + (word << 1)] === -1, 13, "a word is not free all over");
  const group = word >>> 5;
  const index = words[block + Block.full]! + group;
  const known = words[index]! | (1 << (word & 31));
  words[index] = known;
  if (known === -1) {
    const summary = words[block + Block.fullSummary]! + (group >>> 5);
    words[summary] = words[summary]! | (1 << (group & 31));
  }
}

export function clearFull(words: Int32Array, block: number, word: number): void {
  const group = word >>> 5;
  const index = words[block + Block.full]! + group;
  words[index] = words[index]! & ~(1 << (word & 31));
  const summary = words[block + Block.fullSummary]! + (group >>> 5);
  words[summary] = words[summary]! & ~(1 << (group & 31));
}

/** Clears the full bit of a word, if it is set. */
export function clearIfFull(words: Int32Array, block: number, word: number): void {
  if (((words[words[block + Block.full]! + (word >>> 5)]! >>> (word & 31)) & 1) !== 0) {
    clearFull(words, block, word);
  }
}

/** Sets the full bits of those words, of the words that `count` granules lie in, whose granules are all free. */
export function noteFullWords(words: Int32Array, block: number, granule: number, count: number): void {
  const records = words[block + Block.records]!;
  for (let word = granule >>> 5; word <= (granule + count - 1) >>> 5; word++) {
    if (words[records + (word << 1)] === -1) setFull(words, block, word);
  }
}

/** The words that are looked at before the full bits are: 16 KiB of code with granules of 64 bytes. */
const NEAR_WORDS = 8;

/** The first word from `word` on that is not all free: at the latest the guard behind the last one. */
export function firstNotFull(words: Int32Array, block: number, word: number): number {
  const records = words[block + Block.records]!;
  const near = records + (word << 1);
  for (let record = near; record < near + 2 * NEAR_WORDS; record += Size.record) {
    if (words[record] !== -1) return (record - records) >> 1;
  }
  for (let far = firstUnknown(words, block, word + NEAR_WORDS); ;) {
    if (words[records + (far << 1)] !== -1) return far;
    setFull(words, block, far);
    const next = firstUnknown(words, block, far);
    if (next <= far) lostBits();
    far = next;
  }
}

/** The last word from `word` down that is not all free, or -1. `word` may be -1. */
export function lastNotFull(words: Int32Array, block: number, word: number): number {
  const records = words[block + Block.records]!;
  const near = records + (word << 1);
  for (let record = near; record > near - 2 * NEAR_WORDS; record -= Size.record) {
    if (words[record] !== -1) return (record - records) >> 1;
  }
  for (let far = lastUnknown(words, block, word - NEAR_WORDS); ;) {
    if (words[records + (far << 1)] !== -1) return far;
    setFull(words, block, far);
    const next = lastUnknown(words, block, far);
    if (next >= far) lostBits();
    far = next;
  }
}

/** A full bit that was just set reads as clear. */
function lostBits(): never {
  broken(13, "the full bits of a block do not lie in the buffer");
}

/** The first word from `word` on whose full bit is clear. The bits behind the last word are always clear. */
function firstUnknown(words: Int32Array, block: number, word: number): number {
  const full = words[block + Block.full]!;
  let group = word >>> 5;
  const clear = ~words[full + group]! & (-1 << (word & 31));
  if (clear !== 0) return (group << 5) + lowestBit(clear);
  // From here on whole groups: the summary has a bit for each group of 32 full words.
  const summary = words[block + Block.fullSummary]!;
  group += 1;
  let span = group >>> 5;
  let clearGroups = ~words[summary + span]! & (-1 << (group & 31));
  while (clearGroups === 0) clearGroups = ~words[summary + ++span]!;
  group = (span << 5) + lowestBit(clearGroups);
  return (group << 5) + trailingOnes(words[full + group]!);
}

/** The last word from `word` down whose full bit is clear, or -1. `word` may be -1. */
function lastUnknown(words: Int32Array, block: number, word: number): number {
  if (word < 0) return -1;
  const full = words[block + Block.full]!;
  let group = word >>> 5;
  const clear = ~words[full + group]! & (-1 >>> (31 - (word & 31)));
  if (clear !== 0) return (group << 5) + 31 - Math.clz32(clear);
  const summary = words[block + Block.fullSummary]!;
  group -= 1;
  if (group < 0) return -1;
  let span = group >>> 5;
  let clearGroups = ~words[summary + span]! & (-1 >>> (31 - (group & 31)));
  while (clearGroups === 0) {
    span -= 1;
    if (span < 0) return -1;
    clearGroups = ~words[summary + span]!;
  }
  group = (span << 5) + 31 - Math.clz32(clearGroups);
  return (group << 5) + 31 - leadingOnes(words[full + group]!);
}
