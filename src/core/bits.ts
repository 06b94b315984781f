/** Operations on 32-bit words: one bit a granule, bit 0 the lowest address. */

/** The `count` lowest bits set; `count` is 0 to 31. */
export function lowBits(count: number): number {
  return (1 << count) - 1;
}

/** `count` bits set from bit `start` up; `count` is 1 to 32, and `start + count` at most 32. */
export function bitRange(start: number, count: number): number {
  return (-1 >>> (32 - count)) << start;
}

/** The index of the lowest set bit; of 0, -1. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** How many bits are set from bit 0 up before the first clear one: 0 to 32. */
export function trailingOnes(word: number): number {
  return word === -1 ? 32 : lowestBit(~word);
}

/** How many bits are set from bit 31 down before the first clear one: 0 to 32. */
export function leadingOnes(word: number): number {
  return Math.clz32(~word);
}

/** How many bits are set. */
export function countOnes(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * The lowest bit at which `count` set bits begin, or -1; `count` is 1 to 32.
 * Each step ands the word with itself shifted, so that a bit survives only where a run of that length begins. Five
 * steps reach every length; where fewer would do, the others shift by 0 and change nothing.
 */
export function findRun(word: number, count: number): number {
  let left = count;
  let step = left >>> 1;
  let starts = word & (word >>> step);
  left -= step;
  step = left >>> 1;
  starts &= starts >>> step;
  left -= step;
  step = left >>> 1;
  starts &= starts >>> step;
  left -= step;
  step = left >>> 1;
  starts &= starts >>> step;
  left -= step;
  starts &= starts >>> (left >>> 1);
  return 31 - Math.clz32(starts & -starts); // of 0, -1
}

/** -1 where a word has a bit set, else 0. */
function maskOfAny(word: number): number {
  return (word | -word) >> 31;
}

/**
 * The length of the longest run of set bits: 0 to 32.
 *
 * runsN has a bit wherever a run of at least N begins; the answer is put together from its binary digits, the largest
 * first. There is no branch in it, because the outcome of none could be foreseen.
 */
export function longestRun(word: number): number {
  const runs2 = word & (word >>> 1);
  const runs4 = runs2 & (runs2 >>> 2);
  const runs8 = runs4 & (runs4 >>> 4);
  const runs16 = runs8 & (runs8 >>> 8);
  // `starts`: where a run of at least `length` begins, in the beginning everywhere.
  let has = maskOfAny(runs16);
  let starts = runs16 | ~has;
  let length = has & 16;
  let longer = starts & (runs8 >>> length);
  has = maskOfAny(longer);
  starts = (starts & ~has) | longer;
  length += has & 8;
  longer = starts & (runs4 >>> length);
  has = maskOfAny(longer);
  starts = (starts & ~has) | longer;
  length += has & 4;
  longer = starts & (runs2 >>> length);
  has = maskOfAny(longer);
  starts = (starts & ~has) | longer;
  length += has & 2;
  longer = starts & (word >>> length);
  length -= maskOfAny(longer);
  // All five digits make 31; the word of all ones is the one that goes on.
  return length + (word === -1 ? 1 : 0);
}
