/** Operations on 32-bit words: one bit per granule, bit 0 the lowest address. */

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

/** The 32 bits that begin at `bit` of a word and end in the following word. */
export function bitsFrom(word: number, following: number, bit: number): number {
  return (word >>> bit) | ((following << 1) << (31 - bit));
}

/** The 32 bits that begin in the word before and end at `bit` of a word, inclusive. */
export function bitsUpTo(word: number, before: number, bit: number): number {
  return (word << (31 - bit)) | ((before >>> 1) >>> bit);
}
