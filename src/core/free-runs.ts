/**
 * Measures free runs. One of less than 32 granules, whether it lies in one word or in two, is read off the bits of
 * both; the full bits tell how far a longer one goes. No step depends on where it lies, which nobody could foresee.
 */
import * as bits from "./bits.ts";
import * as fullWords from "./full-words.ts";
import { Block, Size } from "./layout.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { bitsFrom, bitsUpTo, leadingOnes, lowestBit, trailingOnes } = bits;
const { firstNotFull, lastNotFull } = fullWords;

/** How many granules are free from `granule` on, which may be the one behind the last. */
export function freeFrom(words: Int32Array, block: number, granule: number): number {
  const record = words[block + Block.records]! + ((granule >>> 5) << 1);
  const used = ~bitsFrom(words[record]!, words[record + Size.record]!, granule & 31);
  return used !== 0 ? lowestBit(used) : longFreeFrom(words, block, granule);
}

/** The same where 32 are. */
export function longFreeFrom(words: Int32Array, block: number, granule: number): number {
  const end = firstNotFull(words, block, (granule + 31) >>> 5);
  const record = words[block + Block.records]! + (end << 1);
  return (end << 5) - granule + trailingOnes(words[record]!);
}

/** How many granules are free right before `granule`. */
export function freeBefore(words: Int32Array, block: number, granule: number): number {
  const last = granule - 1; // -1 is the guard's
  const record = words[block + Block.records]! + ((last >> 5) << 1);
  const used = ~bitsUpTo(words[record]!, words[record - Size.record]!, last & 31);
  return used !== 0 ? Math.clz32(used) : longFreeBefore(words, block, granule);
}

/** The same where 32 are. */
export function longFreeBefore(words: Int32Array, block: number, granule: number): number {
  const end = lastNotFull(words, block, (granule >>> 5) - 1); // -1 is the guard, whose granules are not free
  const record = words[block + Block.records]! + (end << 1);
  return granule - ((end + 1) << 5) + leadingOnes(words[record]!);
}
