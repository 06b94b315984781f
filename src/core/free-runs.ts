/**
 * Measures free runs. A run of less than 32 granules is read off the bits of two words, whether it lies in one or in both;
 * the full bits tell how far a longer one goes. No branch depends on where a run lies, which no processor can predict.
 */
import * as bits from "./bits.ts";
import * as fullWords from "./full-words.ts";
import { Block, Size } from "./layout.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { bitsFrom, bitsUpTo, leadingOnes, lowestBit, trailingOnes } = bits;
const { firstNotFull, lastNotFull } = fullWords;

/** How many granules are free from `granule` on; `granule` may be the one behind the block's last. */
export function freeFrom(words: Int32Array, block: number, granule: number): number {
  const record = words[block + Block.records]! + ((granule >>> 5) << 1);
  const used = ~bitsFrom(words[record]!, words[record + Size.record]!, granule & 31);
  return used !== 0 ? lowestBit(used) : longFreeFrom(words, block, granule);
}

/** How many granules are free from `granule` on, where the first 32 are known to be free. */
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

/** How many granules are free right before `granule`, where the last 32 are known to be free. */
export function longFreeBefore(words: Int32Array, block: number, granule: number): number {
  const end = lastNotFull(words, block, (granule >>> 5) - 1); // -1 is the guard, whose granules are not free
  const record = words[block + Block.records]! + (end << 1);
  return granule - ((end + 1) << 5) + leadingOnes(words[record]!);
}
