/** Operations on 32-bit words: one bit a granule, bit 0 the lowest address. */

/** The `count` lowest bits set; `count` is 0 to 31. */
export function lowBits(count: number): number {
  return (1 << count) - 1;
}

/** `count` bits set from bit `start` up; `count` is 1 to 32, and `start + count` at most 32. */
export function bitRange(start: number, count: number): number {
  return (-1 >>> (32 - count)) << start;
}

/** The index of the lowest set bit; `word` is not 0. */
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
 * Each step ands the word with itself shifted, so that a bit survives only where a run of that length begins.
 */
export function findRun(word: number, count: number): number {
  let starts = word;
  let left = count;
  while (left > 1) {
    const step = left >>> 1;
    starts &= starts >>> step;
    left -= step;
  }
  return starts === 0 ? -1 : lowestBit(starts);
}

/** The length of the longest run of set bits: 0 to 32. */
export function longestRun(word: number): number {
  if (word === 0) return 0;
  // runsN has a bit wherever a run of at least N begins; the answer is put together from its binary digits.
  const runs2 = word & (word >>> 1);
  if (runs2 === 0) return 1;
  const runs4 = runs2 & (runs2 >>> 2);
  const runs8 = runs4 & (runs4 >>> 4);
  const runs16 = runs8 & (runs8 >>> 8);
  if ((runs16 & (runs16 >>> 16)) !== 0) return 32;
  let starts = -1;
  let length = 0;
  if (runs16 !== 0) {
    starts = runs16;
    length = 16;
  }
  let longer = starts & (runs8 >>> length);
  if (longer !== 0) {
    starts = longer;
    length += 8;
  }
  longer = starts & (runs4 >>> length);
  if (longer !== 0) {
    starts = longer;
    length += 4;
  }
  longer = starts & (runs2 >>> length);
  if (longer !== 0) {
    starts = longer;
    length += 2;
  }
  longer = starts & (word >>> length);
  return longer === 0 ? length : length + 1;
}
