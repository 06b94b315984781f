/**
 * The index of free runs: finds a hole of a given length at a cost that depends on no number of holes or blocks.
 *
 * The unit of the index is the word of 32 granules. A word stands in the ring of the class of the longest free run
 * that *begins* in it, wherever that run ends. A run that goes on through free words is measured with the `full`
 * bits: one bit a word, and above them one bit for 32 words, so that any run is measured in a few steps.
 *
 * The index is lazy. A run that is released waits to be taken again by its length (recent-runs.ts); one that finds no
 * room there marks its words dirty. They are looked at when an allocation wants a hole, and never if the block empties
 * before. What the index says of a word that is not dirty may be too much (somebody
 * took granules without asking it), so it is checked against the `used` bits when it is taken at its word; it is
 * never too little. A `full` bit is exact: where it is set, the word is free.
 */
import { bitRange, findRun, leadingOnes, longestRun, lowBits, lowestBit, trailingOnes } from "./bits.ts";
import { Block, Link, Pool, Size } from "./layout.ts";
import { ringInsert, ringRemove } from "./ring.ts";

/** Runs of 1 to 32 granules have a class each (0 to 31, the last shared with 33 to 39); above, four an octave. */
const EXACT_CLASSES = 32;

/** The class of a run: its `length` is at least the shortest of the class. */
export function classOfRun(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  const octave = 31 - Math.clz32(length);
  return EXACT_CLASSES - 1 + ((octave - 5) << 2) + ((length >>> (octave - 2)) & 3);
}

/** The first class every run of which holds `length` granules. */
export function classThatHolds(length: number): number {
  if (length <= EXACT_CLASSES) return length - 1;
  const octave = 31 - Math.clz32(length);
  return classOfRun(length + (1 << (octave - 2)) - 1);
}

/** The first class from `fromClass` up whose ring is not empty, or -1. */
export function firstClassFrom(words: Int32Array, pool: number, fromClass: number): number {
  const group = fromClass >>> 5;
  const bits = words[pool + Pool.classBits + group]! & (-1 << (fromClass & 31));
  if (bits !== 0) return (group << 5) + lowestBit(bits);
  const groups = words[pool + Pool.classSummary]! & (-2 << group);
  if (groups === 0) return -1;
  const first = lowestBit(groups);
  return (first << 5) + lowestBit(words[pool + Pool.classBits + first]!);
}

/** Takes a word out of its ring, if it is in one. */
export function unlist(words: Int32Array, block: number, word: number): void {
  const record = words[block + Block.records]! + (word << 2);
  if (words[record + Link.next] !== 0) unlistRecord(words, words[block + Block.pool]!, record);
}

function unlistRecord(words: Int32Array, pool: number, record: number): void {
  const next = words[record + Link.next]!;
  if (!ringRemove(words, record)) return;
  const emptied = (next - (pool + Pool.classes)) >> 2; // only the sentinel was left: next is the sentinel
  const group = emptied >>> 5;
  const bits = words[pool + Pool.classBits + group]! & ~(1 << (emptied & 31));
  words[pool + Pool.classBits + group] = bits;
  if (bits === 0) words[pool + Pool.classSummary] = words[pool + Pool.classSummary]! & ~(1 << group);
}

/** Puts a record behind all others of its class: holes that are used in the order they came fragment less. */
function listRecord(words: Int32Array, pool: number, record: number, runClass: number): void {
  const sentinel = pool + Pool.classes + (runClass << 2);
  const last = words[sentinel + Link.prev]!;
  ringInsert(words, last, record);
  if (last !== sentinel) return;
  const group = runClass >>> 5;
  words[pool + Pool.classBits + group] = words[pool + Pool.classBits + group]! | (1 << (runClass & 31));
  words[pool + Pool.classSummary] = words[pool + Pool.classSummary]! | (1 << group);
}

// --- what is free ---------------------------------------------------------------------------------------------

/** The granules of a word that are free and below the tail, a bit each. `word` may be -1 or behind the last: none. */
export function freeGranules(words: Int32Array, block: number, word: number): number {
  if (word < 0) return 0;
  const belowTail = words[block + Block.tail]! - (word << 5);
  if (belowTail <= 0) return 0;
  const free = ~words[words[block + Block.records]! + (word << 2)]!;
  return belowTail >= 32 ? free : free & lowBits(belowTail);
}

/** How many granules are free from the first one of `word` on, as far as the index knows. */
function runFromStartOf(words: Int32Array, block: number, word: number): number {
  const free = freeGranules(words, block, word);
  if (free !== -1) return trailingOnes(free);
  const end = firstNotFull(words, block, word);
  return ((end - word) << 5) + trailingOnes(freeGranules(words, block, end));
}

/**
 * Where `count` free granules begin that begin in `word`, as a granule of the block, or -1.
 * Prefers a run inside the word to the one that leaves it.
 */
export function findInWord(words: Int32Array, block: number, word: number, count: number): number {
  const free = freeGranules(words, block, word);
  if (count <= 32) {
    const bit = findRun(free, count);
    if (bit >= 0) return (word << 5) + bit;
  }
  const leaving = leadingOnes(free);
  if (leaving === 0 || leaving + runFromStartOf(words, block, word + 1) < count) return -1;
  return ((word + 1) << 5) - leaving;
}

/** Puts `word` into the ring of the longest free run that begins in it, or into none. */
export function reclaim(words: Int32Array, block: number, word: number): void {
  const record = words[block + Block.records]! + (word << 2);
  if (words[record + Link.next] !== 0) unlistRecord(words, words[block + Block.pool]!, record);
  let free = freeGranules(words, block, word);
  // A run that enters from the word before, whose last granule is free then, began there. (A guard is used.)
  if ((free & 1) !== 0 && words[record - Size.record]! >= 0) free = free === -1 ? 0 : free & (free + 1);
  if (free !== 0) listByLongestRun(words, block, word, free);
}

/** Lists a word, which is in no ring, by the longest run of `free`: what is free in it and begins in it. */
function listByLongestRun(words: Int32Array, block: number, word: number, free: number): void {
  let length: number;
  if (free >= 0) {
    length = longestRun(free);
  } else {
    const leaving = leadingOnes(free);
    length = leaving + runFromStartOf(words, block, word + 1);
    if (leaving < 16) length = Math.max(length, longestRun(free));
  }
  const record = words[block + Block.records]! + (word << 2);
  listRecord(words, words[block + Block.pool]!, record, classOfRun(length));
}

// --- full words -----------------------------------------------------------------------------------------------

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

export function isFull(words: Int32Array, block: number, word: number): boolean {
  return ((words[words[block + Block.full]! + (word >>> 5)]! >>> (word & 31)) & 1) !== 0;
}

function setFull(words: Int32Array, block: number, word: number): void {
  const group = word >>> 5;
  const index = words[block + Block.full]! + group;
  const bits = words[index]! | (1 << (word & 31));
  words[index] = bits;
  if (bits === -1) {
    const summary = words[block + Block.fullSummary]! + (group >>> 5);
    words[summary] = words[summary]! | (1 << (group & 31));
  }
}

/** Must be called for every word before the first granule of it is taken. */
export function clearFull(words: Int32Array, block: number, word: number): void {
  const group = word >>> 5;
  const index = words[block + Block.full]! + group;
  words[index] = words[index]! & ~(1 << (word & 31));
  const summary = words[block + Block.fullSummary]! + (group >>> 5);
  words[summary] = words[summary]! & ~(1 << (group & 31));
}

// --- dirty words ----------------------------------------------------------------------------------------------

/** Notes that granules of the words `first` to `last` were freed, or taken without asking the index. */
export function markDirty(words: Int32Array, block: number, first: number, last: number): void {
  for (let group = first >>> 5; group <= last >>> 5; group++) {
    const from = Math.max(first - (group << 5), 0);
    const to = Math.min(last - (group << 5), 31);
    markDirtyGroup(words, block, group, bitRange(from, to - from + 1));
  }
}

/** The same for words of one group of 32, a bit each. */
export function markDirtyGroup(words: Int32Array, block: number, group: number, bits: number): void {
  const index = block + Block.dirty + group;
  const before = words[index]!;
  words[index] = before | bits;
  if (before !== 0) return;
  const summary = words[block + Block.dirtySummary]! + (group >>> 5);
  words[summary] = words[summary]! | (1 << (group & 31));
  if (words[block + Block.inDirty + Link.next] === 0) {
    ringInsert(words, words[block + Block.pool]! + Pool.dirtyBlocks, block + Block.inDirty);
  }
}

/** Looks at the pool's dirty words, `groupLimit` groups of 32 at the most. */
export function indexDirtyWords(words: Int32Array, pool: number, groupLimit: number): void {
  const queue = pool + Pool.dirtyBlocks;
  let left = groupLimit;
  for (let node = words[queue + Link.next]!; node !== queue; node = words[queue + Link.next]!) {
    const block = node - Block.inDirty;
    // The summary lies between the dirty bits and the full bits.
    const first = words[block + Block.dirtySummary]!;
    const end = words[block + Block.full]!;
    for (let summary = first; summary < end; summary++) {
      while (words[summary] !== 0) {
        if (left === 0) return;
        left -= 1;
        const bit = lowestBit(words[summary]!);
        words[summary] = words[summary]! & ~(1 << bit);
        indexGroup(words, block, ((summary - first) << 5) + bit);
      }
    }
    ringRemove(words, node);
  }
}

/** Looks at the dirty words of one group of 32. */
function indexGroup(words: Int32Array, block: number, group: number): void {
  const index = block + Block.dirty + group;
  let dirty = words[index]!;
  words[index] = 0;
  while (dirty !== 0) {
    const word = (group << 5) + lowestBit(dirty);
    dirty &= dirty - 1;
    const free = freeGranules(words, block, word);
    if (free === -1) dirty = indexFullWords(words, block, word, dirty);
    else indexPartlyUsed(words, block, word, free);
  }
}

/** Marks `word`, and as many words behind it as are dirty and free, full. Returns what is left of `dirty`. */
function indexFullWords(words: Int32Array, block: number, word: number, dirty: number): number {
  let left = dirty;
  let end = word;
  do {
    setFull(words, block, end);
    unlist(words, block, end);
    left &= ~(1 << (end & 31));
    end += 1;
  } while ((end & 31) !== 0 && ((left >>> (end & 31)) & 1) !== 0 && freeGranules(words, block, end) === -1);
  if (isFull(words, block, end)) unlist(words, block, end); // it began a run, which now begins before it
  reclaimRunBefore(words, block, word);
  return left;
}

/** Lists a word of which `free` is free, not all of it. */
function indexPartlyUsed(words: Int32Array, block: number, word: number, free: number): void {
  const record = words[block + Block.records]! + (word << 2);
  if (words[record + Link.next] !== 0) unlistRecord(words, words[block + Block.pool]!, record);
  let begins = free;
  if ((free & 1) !== 0 && words[record - Size.record]! >= 0) {
    reclaimRunBefore(words, block, word); // the run that enters here is longer than it was
    begins = free & (free + 1);
  }
  if (begins === 0) return;
  if (begins < 0 && isFull(words, block, word + 1)) unlist(words, block, word + 1);
  listByLongestRun(words, block, word, begins);
}

/** Lists anew the word where the run begins that holds the first granule of `word`. */
function reclaimRunBefore(words: Int32Array, block: number, word: number): void {
  const before = lastNotFull(words, block, word - 1);
  const begins = freeGranules(words, block, before) < 0 ? before : before + 1;
  reclaim(words, block, begins);
}

// --- the tail -------------------------------------------------------------------------------------------------

/** Gives the untouched tail to the index: from now on nothing is appended to this block. */
export function closeTail(words: Int32Array, block: number, capacity: number): void {
  const tail = words[block + Block.tail]!;
  if (tail === capacity) return;
  words[block + Block.tail] = capacity;
  const first = tail >>> 5;
  for (let word = (tail + 31) >>> 5; word < capacity >>> 5; word++) setFull(words, block, word);
  if ((tail & 31) === 0) reclaimRunBefore(words, block, first);
  else indexPartlyUsed(words, block, first, freeGranules(words, block, first));
}

/** Moves the tail down over the free granules right below it. Returns true where there were any. */
export function absorbIntoTail(words: Int32Array, block: number): boolean {
  const before = words[block + Block.tail]!;
  let tail = before;
  while (tail > 0) {
    const word = (tail - 1) >>> 5;
    const free = freeGranules(words, block, word);
    // The free run that ends right below the tail, moved up to bit 31.
    const run = leadingOnes(free << (31 - ((tail - 1) & 31)));
    if (run === 0) break;
    unlist(words, block, word);
    clearFull(words, block, word);
    tail -= run;
    words[block + Block.tail] = tail;
    if ((tail & 31) !== 0) break;
  }
  if (tail === before) return false;
  const last = tail >>> 5;
  if ((tail & 31) !== 0) reclaim(words, block, last);
  return true;
}
