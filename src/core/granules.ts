/** Allocations as bits of records, where they may reach over several of them. */
import { lowestBit } from "./bits.ts";
import { Block, Size } from "./layout.ts";
import { clearFull } from "./run-index.ts";

/** Sets the bits of an allocation from bit `first` of a record to bit `last`, counted from the same record's bit 0. */
export function occupyWords(words: Int32Array, record: number, first: number, last: number): void {
  const lastRecord = record + ((last >>> 5) << 2);
  words[record] = words[record]! | (-1 << first);
  for (let r = record + Size.record; r < lastRecord; r += Size.record) words[r] = -1;
  words[lastRecord] = words[lastRecord]! | (-1 >>> (31 - (last & 31)));
  words[lastRecord + 1] = words[lastRecord + 1]! | (1 << (last & 31));
}

/** Clears them, from bit `first` of a record to bit `last`, where the allocation ends. */
export function vacateWords(words: Int32Array, record: number, first: number, last: number): void {
  const lastRecord = record + ((last >>> 5) << 2);
  words[record] = words[record]! & ~(-1 << first);
  for (let r = record + Size.record; r < lastRecord; r += Size.record) words[r] = 0;
  words[lastRecord] = words[lastRecord]! & ~(-1 >>> (31 - (last & 31)));
  words[lastRecord + 1] = words[lastRecord + 1]! & ~(1 << (last & 31));
}

/** The length of an allocation that begins at `bit` of a record and ends in a later one. */
export function lengthOverWords(words: Int32Array, record: number, bit: number): number {
  let length = 32 - bit;
  for (let r = record + Size.record; ; r += Size.record) {
    const stop = words[r + 1]!;
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
    const ends = (words[record + 1]! | ~words[record]!) & mask;
    if (ends !== 0) return (word << 5) + 32 - Math.clz32(ends);
    word -= 1;
    mask = -1;
  }
}

/** Whether `count` granules from `granule` on are free; they lie below the tail and in more than one word. */
export function isFree(words: Int32Array, block: number, granule: number, count: number): boolean {
  const records = words[block + Block.records]!;
  const last = granule + count - 1;
  const lastRecord = records + ((last >>> 5) << 2);
  let record = records + ((granule >>> 5) << 2);
  if ((words[record]! & (-1 << (granule & 31))) !== 0) return false;
  for (record += Size.record; record < lastRecord; record += Size.record) {
    if (words[record] !== 0) return false;
  }
  return (words[lastRecord]! & (-1 >>> (31 - (last & 31)))) === 0;
}

/** Clears the full bits of the words that hold these granules, before they are taken. */
export function clearFullRange(words: Int32Array, block: number, granule: number, count: number): void {
  const records = words[block + Block.records]!;
  for (let word = granule >>> 5; word <= (granule + count - 1) >>> 5; word++) {
    if (words[records + (word << 2)] === 0) clearFull(words, block, word);
  }
}
