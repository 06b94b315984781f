/** Finds room for an allocation anywhere but at the end of the current block. Here `pool` is a pool's index in the buffer. */
import * as bits from "./bits.ts";
import { broken } from "./broken.ts";
import * as classes from "./classes.ts";
import * as freeRuns from "./free-runs.ts";
import * as granules from "./granules.ts";
import { Block, Classes, Header, Place, Pool, Size, Unit, Word } from "./layout.ts";
import * as runIndex from "./run-index.ts";
import * as states from "./state.ts";
import type { State } from "./state.ts";
import { absorbIntoTail } from "./tail.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { lowestBit } = bits;
const { classOfRun, classThatHolds } = classes;
const { longFreeFrom } = freeRuns;
const { takeGranules } = granules;
const { blockOfPlace, chunkEmptied, firstClassFrom, granuleOfPlace, lengthOfEntry, listRun } = runIndex;
const { indexAll, indexDirtyWords, makeCurrent } = runIndex;
const { poolAt } = states;

/** How many holes are tried, of the class whose runs may be long enough for a request, before a block is mapped. */
const SAME_CLASS_TRIES = 16;

/** Nearly every search for a hole has fewer passes. */
const FEW_PASSES = 64;

/**
 * Takes the front of a hole by good fit: the last true entry of the lowest class that has one and whose runs are all long
 * enough. Returns its block, or 0 where there is none.
 *
 * Inlined by hand for holes of less than 32 granules, which lie in two neighbouring records: `lengthOfEntry`,
 * `takeGranules` and `noteAllocation` in one.
 */
export function takeHole(state: State, pool: number, count: number): number {
  const words = state.words;
  const wanted = classThatHolds(count);
  // Each pass drops or takes one entry, and the buffer has at most one entry per integer. How many integers it has is asked
  // late: an engine looks that up in the buffer, which may have grown.
  for (let passes = 0; passes < FEW_PASSES || passes < words.length; passes++) {
    const c = firstClassFrom(words, pool, wanted);
    if (c >>> 0 >= Classes.count) return 0;
    const top = words[pool + Pool.classTops + c]!;
    const place = words[top]!;
    words[pool + Pool.classTops + c] = top - 1;
    if ((top & (Unit.integers - 1)) === 1) chunkEmptied(state, pool, c, top - 1);

    const record = (place >>> 5) << 1;
    const bit = place & 31;
    const block = words[words[Header.owners]! + (record >>> Unit.shift)]!;
    if (block <= 0 || words[block + Block.pool] !== pool) continue;
    const granule = place - (words[block + Block.records]! << Place.shift);
    if (granule < 0) continue;
    const free = words[record]!;
    const nextFree = words[record + Size.record]!;
    const frees = (free >>> bit) | ((nextFree << 1) << (31 - bit));
    const freeBefore = words[((place - 1) >>> 5) << 1]! >>> ((place - 1) & 31);
    let length = c + 1;
    if (length < 32) {
      // All runs of this class have one length: the entry is true if the bits of the run and its two neighbours say so.
      const window = (2 << length) - 1;
      if (((frees & window) ^ (window >>> 1)) | (freeBefore & 1)) continue;
      const all = -1 >>> (32 - count);
      words[record] = free & ~(all << bit);
      words[record + Size.record] = nextFree & ~((all >>> 1) >>> (31 - bit));
      const stop = record + (((bit + count - 1) >>> 5) << 1) + Word.stop;
      words[stop] = words[stop]! | (1 << ((bit + count - 1) & 31));
    } else {
      if ((~frees | freeBefore) & 1) continue;
      length = frees === -1 ? longFreeFrom(words, block, granule) : lowestBit(~frees);
      if (classOfRun(length) !== c) continue;
      takeGranules(words, block, granule, count);
    }
    words[block + Block.freed] = words[block + Block.freed]! - count;
    words[block + Block.live] = words[block + Block.live]! + 1; // an empty block has no holes
    state.block = block;
    state.granule = granule;
    if (length !== count) listRun(state, block, granule + count, length - count);
    return block;
  }
  broken(12, "a list of free runs has no end");
}

/** After `alloc` found no room: tries every hole that may be long enough, before the request is refused for good. */
export function allocFromAnyHole(state: State, poolIndex: number, count: number): boolean {
  return takeFromClassBelow(state, poolAt(poolIndex), count, Infinity);
}

/** Bump allocation: takes granules from the block's untouched tail. */
function append(state: State, block: number, count: number): boolean {
  const words = state.words;
  const granule = words[block + Block.tail]!;
  const end = granule + count;
  if (end > words[block + Block.capacity]!) return false;
  noteAllocation(state, block, granule);
  words[block + Block.tail] = end;
  const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 1) + Word.stop;
  words[stop] = words[stop]! | (1 << ((end - 1) & 31));
  return true;
}

/** Takes granules anywhere else in the pool, after the current block had no room; the empty block comes last. */
export function takeElsewhere(state: State, pool: number, count: number): boolean {
  state.needRoom();
  const words = state.words;
  const current = words[pool + Pool.current]!;
  if (append(state, current, count)) return true; // `allocQuickly` leaves an empty current block to this method
  if (current !== 0 && absorbIntoTail(words, current) && append(state, current, count)) return true;
  indexDirtyWords(state, pool, true);
  if (words[pool + Pool.isIncomplete] !== 0) indexAll(state);
  if (takeHole(state, pool, count) !== 0) return true;
  if (takeFromClassBelow(state, pool, count, SAME_CLASS_TRIES)) return true;
  const empty = state.words[pool + Pool.empty]!;
  if (empty === 0 || empty === current) return false;
  if (state.words[empty + Block.tail]! + count > state.words[empty + Block.capacity]!) return false;
  makeCurrent(state, pool, empty);
  return append(state, empty, count);
}

/** Looks through up to `limit` holes of the class whose runs may be long enough, but need not be. */
function takeFromClassBelow(state: State, pool: number, count: number, limit: number): boolean {
  const words = state.words;
  const below = classOfRun(count);
  if (below === classThatHolds(count)) return false;
  let entry = words[pool + Pool.classTops + below]!;
  for (let tries = 0; tries < Math.min(limit, words.length); tries++) {
    if ((entry & (Unit.integers - 1)) === 0) entry = words[entry]!; // go on in the chunk below
    if (entry < 0) return false;
    const place = words[entry]!;
    const length = lengthOfEntry(state, pool, below, place);
    if (length >= count) {
      takeFront(state, pool, place, length, count);
      return true;
    }
    entry -= 1;
  }
  return false;
}

/** Takes the front of the run of `length` granules at a place, and lists the rest as a run. */
function takeFront(state: State, pool: number, place: number, length: number, count: number): void {
  const words = state.words;
  const block = blockOfPlace(state, pool, place);
  const granule = granuleOfPlace(words, block, place);
  noteAllocation(state, block, granule);
  takeGranules(words, block, granule, count);
  words[block + Block.freed] = words[block + Block.freed]! - count;
  if (length !== count) listRun(state, block, granule + count, length - count);
}

/** Counts an allocation whose bits are about to be set, and leaves its place in `block` and `granule`. */
function noteAllocation(state: State, block: number, granule: number): void {
  const words = state.words;
  const live = words[block + Block.live]!;
  words[block + Block.live] = live + 1;
  if (live === 0) noLongerEmpty(state, block);
  state.block = block;
  state.granule = granule;
}

function noLongerEmpty(state: State, block: number): void {
  const pool = state.words[block + Block.pool]!;
  if (state.words[pool + Pool.empty] === block) state.words[pool + Pool.empty] = 0;
}
