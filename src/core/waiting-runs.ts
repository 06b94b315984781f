/**
 * Released runs that the index has not heard of. Three places, the cheapest first:
 *
 * - *recent* runs, by length, wait to be taken again by an allocation of just that length;
 * - *waiting* runs are given to the index one by one when an allocation wants a hole;
 * - *dirty* words, a bit each, are for programs that release so much at once that neither has room. The index looks at
 *   them group by group, and never if the block empties before.
 *
 * The entries of the first two are places, and only hints: whoever takes one checks it.
 */
import { lowestBit } from "./bits.ts";
import { Block, Header, Link, Pool, Recent, Unit } from "./layout.ts";
import { ringInsert, ringRemove } from "./ring.ts";
import { indexRunAt, indexWord } from "./run-index.ts";

/**
 * So many groups of 32 dirty words are looked at before an allocation splits a hole: enough to keep up with any mix
 * of releases and allocations, and a bound on what one allocation pays for the releases before it.
 */
const GROUPS_AT_ONCE = 8;

/** Keeps a run for an allocation of its length, or for the index. `place` is its first granule's. */
export function rememberRun(words: Int32Array, block: number, place: number, count: number): void {
  const pool = words[block + Block.pool]!;
  if (count <= Recent.longest) {
    const top = words[pool + Pool.recentCounts + count]!;
    if (top !== Recent.runs) {
      words[pool + Pool.recentCounts + count] = top + 1;
      words[pool + Pool.recentBits] = words[pool + Pool.recentBits]! | (1 << (count - 1));
      words[pool + Pool.recentPlaces + (count << Recent.runsShift) + top] = place;
      return;
    }
  }
  letWait(words, block, place);
}

/** Leaves the run that holds `place` to the index. */
export function letWait(words: Int32Array, block: number, place: number): void {
  const pool = words[block + Block.pool]!;
  const count = words[pool + Pool.waitingCount]!;
  if (count < Recent.waiting) {
    words[pool + Pool.waitingPlaces + count] = place;
    words[pool + Pool.waitingCount] = count + 1;
    return;
  }
  const word = (((place >>> 5) << 2) - words[block + Block.records]!) >> 2;
  const index = block + Block.dirty + (word >>> 5);
  const before = words[index]!;
  words[index] = before | (1 << (word & 31));
  if (before === 0) queueGroup(words, block, pool, word >>> 5);
}

/** A group of 32 words has its first dirty one. */
function queueGroup(words: Int32Array, block: number, pool: number, group: number): void {
  const summary = words[block + Block.dirtySummary]! + (group >>> 5);
  words[summary] = words[summary]! | (1 << (group & 31));
  if (words[block + Block.inDirty + Link.next] === 0) {
    ringInsert(words, pool + Pool.dirtyBlocks, block + Block.inDirty);
  }
}

/**
 * The block in which `count` granules from a place on can still be, or 0: it may be gone and its metadata serve
 * another pool's, or it may have been empty since.
 */
export function blockOfPlace(words: Int32Array, pool: number, place: number, count: number): number {
  const record = (place >>> 5) << 2;
  const block = words[words[Header.owners]! + (record >> Unit.shift)]!;
  if (block <= 0 || words[block + Block.pool] !== pool) return 0;
  const granule = granuleOfPlace(words, block, place);
  return granule < 0 || granule + count > words[block + Block.tail]! ? 0 : block;
}

/** The granule of a block that a place names. */
export function granuleOfPlace(words: Int32Array, block: number, place: number): number {
  return place - (words[block + Block.records]! << 3);
}

/** Tells the index of what waits: all that does, or as much as one allocation should pay for. */
export function indexWaitingRuns(words: Int32Array, pool: number): void {
  if (!indexDirtyWords(words, pool, GROUPS_AT_ONCE)) return;
  const count = words[pool + Pool.waitingCount]!;
  words[pool + Pool.waitingCount] = 0;
  for (let entry = 0; entry < count; entry++) {
    const place = words[pool + Pool.waitingPlaces + entry]!;
    const block = blockOfPlace(words, pool, place, 1);
    if (block !== 0) indexRunAt(words, block, granuleOfPlace(words, block, place));
  }
}

/** Tells the index of everything, the recent runs too. */
export function indexAllRuns(words: Int32Array, pool: number): void {
  words[pool + Pool.recentBits] = 0;
  for (let count = 1; count <= Recent.longest; count++) {
    const entries = words[pool + Pool.recentCounts + count]!;
    words[pool + Pool.recentCounts + count] = 0;
    for (let entry = 0; entry < entries; entry++) {
      const place = words[pool + Pool.recentPlaces + (count << Recent.runsShift) + entry]!;
      const block = blockOfPlace(words, pool, place, count);
      if (block !== 0) indexGranules(words, block, granuleOfPlace(words, block, place), count);
    }
  }
  indexDirtyWords(words, pool, -1);
  indexWaitingRuns(words, pool);
}

/** Tells the index of all free runs among some granules of which part may have been taken. */
export function indexGranules(words: Int32Array, block: number, granule: number, count: number): void {
  for (let word = granule >>> 5; word <= (granule + count - 1) >>> 5; word++) indexWord(words, block, word);
}

/** Looks at the pool's dirty words, `groupLimit` groups of 32 at the most (-1 = all). Returns true where none is left. */
function indexDirtyWords(words: Int32Array, pool: number, groupLimit: number): boolean {
  const queue = pool + Pool.dirtyBlocks;
  let left = groupLimit;
  for (let node = words[queue + Link.next]!; node !== queue; node = words[queue + Link.next]!) {
    const block = node - Block.inDirty;
    // The summary lies between the dirty bits and the full bits.
    const first = words[block + Block.dirtySummary]!;
    const end = words[block + Block.full]!;
    for (let summary = first; summary < end; summary++) {
      while (words[summary] !== 0) {
        if (left === 0) return false;
        left -= 1;
        const bit = lowestBit(words[summary]!);
        words[summary] = words[summary]! & ~(1 << bit);
        indexGroup(words, block, ((summary - first) << 5) + bit);
      }
    }
    ringRemove(words, node);
  }
  return true;
}

/** Looks at the dirty words of one group of 32. */
function indexGroup(words: Int32Array, block: number, group: number): void {
  const index = block + Block.dirty + group;
  const records = words[block + Block.records]!;
  let dirty = words[index]!;
  words[index] = 0;
  while (dirty !== 0) {
    const word = (group << 5) + lowestBit(dirty);
    dirty &= dirty - 1;
    const record = records + (word << 2);
    // A word inside a run that goes on into the next dirty one: that one is told of the run.
    const next = ((dirty >>> (word & 31)) >>> 1) & words[record + 4]! & 1;
    if (words[record] === -1 && next !== 0) continue;
    indexWord(words, block, word);
  }
}
