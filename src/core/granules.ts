/** Allocations as bits of records, where they may reach over several of them. */
import { bitRange, lowestBit } from "./bits.ts";
import { clearFull, setFull } from "./full-words.ts";
import { Block, Size, Word } from "./layout.ts";

/** Takes `count` free granules from `granule` on; they lie below the tail. The last one ends an allocation. */
export function takeGranules(words: Int32Array, block: number, granule: number, count: number): void {
  const record = words[block + Block.records]! + ((granule >>> 5) << 2);
  const bit = granule & 31;
  const end = bit + count;
  if (end <= 32) {
    const free = words[record]!;
    if (free === -1) clearFull(words, block, granule >>> 5);
    words[record] = free & ~bitRange(bit, count);
    words[record + Word.stop] = words[record + Word.stop]! | (1 << (end - 1));
  } else {
    takeOverWords(words, block, record, granule, end);
  }
}

/** The same where they lie in more than one word. `end` counts from the record's bit 0. */
function takeOverWords(words: Int32Array, block: number, record: number, granule: number, end: number): void {
  const firstWord = granule >>> 5;
  const lastWord = firstWord + ((end - 1) >>> 5);
  let r = record;
  for (let word = firstWord; word <= lastWord; word++, r += Size.record) {
    const free = words[r]!;
    if (free === -1) clearFull(words, block, word);
    const from = word === firstWord ? granule & 31 : 0;
    const to = word === lastWord ? (end - 1) & 31 : 31;
    words[r] = free & ~bitRange(from, to - from + 1);
  }
  const stop = r - Size.record + Word.stop;
  words[stop] = words[stop]! | (1 << ((end - 1) & 31));
}

/**
 * Frees granules that lie in more than one word and below the tail, from bit `first` of a record, whose word is `word`,
 * to bit `last`, counted from the same record's bit 0, where an allocation ends.
 */
export function freeOverWords(
  words: Int32Array,
  block: number,
  record: number,
  word: number,
  first: number,
  last: number,
): void {
  const lastRecord = record + ((last >>> 5) << 2);
  const free = words[record]! | (-1 << first);
  words[record] = free;
  if (free === -1) setFull(words, block, word);
  let middle = word + 1;
  for (let r = record + Size.record; r < lastRecord; r += Size.record, middle++) {
    words[r] = -1;
    setFull(words, block, middle);
  }
  const lastFree = words[lastRecord]! | (-1 >>> (31 - (last & 31)));
  words[lastRecord] = lastFree;
  if (lastFree === -1) setFull(words, block, middle);
  words[lastRecord + Word.stop] = words[lastRecord + Word.stop]! & ~(1 << (last & 31));
}

/** The length of an allocation that begins at `bit` of a record and ends in a later one. */
export function lengthOverWords(words: Int32Array, record: number, bit: number): number {
  let length = 32 - bit;
  for (let r = record + Size.record; ; r += Size.record) {
    const stop = words[r + Word.stop]!;
    if (stop !== 0) return length + lowestBit(stop) + 1;
    length += 32;
  }
}

/** The first granule of the allocation that `granule` is part of. */
export function startOf(words: Int32Array, block: number, granule: number): number {
  const records = words[block + Block.records]!;
  let word = granule >>> 5;
  let mask = (1 << (granule & 31)) - 1;
  for (;;) {
    // The last granule before this one that ends an allocation or is free; the guard has one for sure.
    const record = records + (word << 2);
    const ends = (words[record + Word.stop]! | words[record]!) & mask;
    if (ends !== 0) return (word << 5) + 32 - Math.clz32(ends);
    word -= 1;
    mask = -1;
  }
}

/** Whether `count` granules from `granule` on are free; they lie below the tail. */
export function areFree(words: Int32Array, block: number, granule: number, count: number): boolean {
  const last = granule + count - 1;
  let record = words[block + Block.records]! + ((granule >>> 5) << 2);
  const lastRecord = words[block + Block.records]! + ((last >>> 5) << 2);
  let used = ~words[record]! & (-1 << (granule & 31));
  for (; record < lastRecord; record += Size.record) {
    if (used !== 0) return false;
    used = ~words[record + Size.record]!;
  }
  return (used & (-1 >>> (31 - (last & 31)))) === 0;
}
