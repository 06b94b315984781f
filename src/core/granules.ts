/** Takes, frees and measures allocations as bits of records, also those that span several records. */
import { assert } from "../base/assert.ts";
import * as bits from "./bits.ts";
import { broken } from "./broken.ts";
import * as fullWords from "./full-words.ts";
import { Block, Size, Word } from "./layout.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { bitsFrom, lowestBit } = bits;
const { clearIfFull } = fullWords;

/** Takes `count` free granules below the tail, from `granule` on, and sets the stop bit of the last one. */
export function takeGranules(words: Int32Array, block: number, granule: number, count: number): void {
  const word = granule >>> 5;
  const bit = granule & 31;
  const record = words[block + Block.records]! + (word << 1);
  if (count > 32) {
    takeOverWords(words, block, record, word, bit, bit + count - 1);
    return;
  }
  // The granules' bits in the first word (`all`, shifted) and in the next (`high`): none where all lie in the first.
  const all = -1 >>> (32 - count);
  const high = (all >>> 1) >>> (31 - bit);
  const free = words[record]!;
  const nextFree = words[record + Size.record]!;
  assert(granule + count <= words[block + Block.tail]!, 9, "granules are taken from the untouched tail");
  assert((~bitsFrom(free, nextFree, bit) & all) === 0, 7, "granules are taken that are not free");
  if (free === -1) clearIfFull(words, block, word);
  if (nextFree === -1 && high !== 0) clearIfFull(words, block, word + 1);
  const end = record + (((bit + count - 1) >>> 5) << 1) + Word.stop;
  words[end] = words[end]! | (1 << ((bit + count - 1) & 31));
  words[record] = free & ~(all << bit);
  words[record + Size.record] = nextFree & ~high;
}

/** Takes granules from bit `first` of a record, whose word is `word`, to bit `last`, counted from that record's bit 0. */
function takeOverWords(
  words: Int32Array,
  block: number,
  record: number,
  word: number,
  first: number,
  last: number,
): void {
  const lastRecord = record + ((last >>> 5) << 1);
  for (let w = word, r = record; r <= lastRecord; r += Size.record, w++) {
    if (words[r] === -1) clearIfFull(words, block, w);
  }
  words[lastRecord + Word.stop] = words[lastRecord + Word.stop]! | (1 << (last & 31));
  words[record] = words[record]! & ~(-1 << first);
  for (let r = record + Size.record; r < lastRecord; r += Size.record) words[r] = 0;
  words[lastRecord] = words[lastRecord]! & ~(-1 >>> (31 - (last & 31)));
}

/** Frees the last `count` granules of an allocation, from `granule` on, and clears its stop bit. */
export function freeGranules(words: Int32Array, block: number, granule: number, count: number): void {
  const bit = granule & 31;
  const record = words[block + Block.records]! + ((granule >>> 5) << 1);
  if (count > 32) {
    freeOverWords(words, record, bit, bit + count - 1);
    return;
  }
  const end = record + (((bit + count - 1) >>> 5) << 1) + Word.stop;
  assert(
    ((words[end]! >>> ((bit + count - 1) & 31)) & 1) === 1,
    7,
    "what is freed does not end an allocation",
  );
  words[end] = words[end]! & ~(1 << ((bit + count - 1) & 31));
  const all = -1 >>> (32 - count);
  assert(
    (bitsFrom(words[record]!, words[record + Size.record]!, bit) & all) === 0,
    7,
    "granules are freed that are free",
  );
  words[record] = words[record]! | (all << bit);
  words[record + Size.record] = words[record + Size.record]! | ((all >>> 1) >>> (31 - bit));
}

/**
 * Frees granules below the tail that lie in more than one word, from bit `first` of a record to bit `last`, where an
 * allocation ends. Both are counted from that record's bit 0.
 */
function freeOverWords(words: Int32Array, record: number, first: number, last: number): void {
  const lastRecord = record + ((last >>> 5) << 1);
  words[record] = words[record]! | (-1 << first);
  for (let r = record + Size.record; r < lastRecord; r += Size.record) words[r] = -1;
  words[lastRecord] = words[lastRecord]! | (-1 >>> (31 - (last & 31)));
  words[lastRecord + Word.stop] = words[lastRecord + Word.stop]! & ~(1 << (last & 31));
}

/** The length in granules of the allocation that begins at `granule`. */
export function lengthFrom(words: Int32Array, block: number, granule: number): number {
  const record = words[block + Block.records]! + ((granule >>> 5) << 1) + Word.stop;
  const stops = bitsFrom(words[record]!, words[record + Size.record]!, granule & 31);
  if (stops !== 0) return lowestBit(stops) + 1;
  let length = 32 - (granule & 31);
  for (let r = record + Size.record; r < words.length; r += Size.record) {
    if (words[r] !== 0) return length + lowestBit(words[r]!) + 1;
    length += 32;
  }
  broken(7, `what begins at granule ${granule} has no end`);
}

/** The first granule of the allocation that `granule` is part of. */
export function startOf(words: Int32Array, block: number, granule: number): number {
  const records = words[block + Block.records]!;
  let word = granule >>> 5;
  let mask = (1 << (granule & 31)) - 1;
  for (; word >= -1; word--) {
    // The last granule before this one that ends an allocation or is free. The padding or the guard has one for sure.
    const record = records + (word << 1);
    const stop = words[record + Word.stop];
    if (stop === undefined) break;
    const ends = (stop | words[record]!) & mask;
    if (ends !== 0) return (word << 5) + 32 - Math.clz32(ends);
    mask = -1;
  }
  broken(7, `what lies at granule ${granule} has no beginning`);
}
