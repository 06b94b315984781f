/**
 * One bit for each word of granules that is free all over, and above them one bit for 32 that are set: any run is
 * measured in a few steps, however many words it reaches over.
 *
 * The bits are exact at any time: whoever frees the last granule of a word sets its bit, whoever takes the first one
 * clears it.
 */
import { leadingOnes, lowestBit, trailingOnes } from "./bits.ts";
import { Block } from "./layout.ts";

export function setFull(words: Int32Array, block: number, word: number): void {
  const group = word >>> 5;
  const index = words[block + Block.full]! + group;
  const bits = words[index]! | (1 << (word & 31));
  words[index] = bits;
  if (bits === -1) {
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

/** The first word from `word` on whose full bit is clear. The bits behind the last word are always clear. */
export function firstNotFull(words: Int32Array, block: number, word: number): number {
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
export function lastNotFull(words: Int32Array, block: number, word: number): number {
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
