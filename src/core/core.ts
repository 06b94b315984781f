/**
 * Decides where code goes. Pure arithmetic on one shared buffer: it maps nothing, touches no code, and runs anywhere.
 *
 * Nothing is returned by object: an operation leaves the place it found in `block` and `granule`.
 * Addresses are numbers, positions are granules counted from the block's start, failures are statuses.
 *
 * An allocation that lies in one word of granules, as nearly all do, is a matter of one record: the paths for it are
 * written out, because each step between them would cost as much as the work.
 */
import { bitRange, lowestBit } from "./bits.ts";
import { forgetIndex } from "./block.ts";
import {
  BLOCK_CAPACITY,
  BLOCK_DIRTY,
  BLOCK_GENERATIONS,
  BLOCK_GRANULE_SHIFT,
  BLOCK_IN_DIRTY,
  BLOCK_LIVE,
  BLOCK_PADDING,
  BLOCK_POOL,
  BLOCK_RECORDS,
  BLOCK_RX,
  BLOCK_SIZE,
  BLOCK_TAIL,
  BLOCK_USED,
  HEADER_GENERATION,
  HEADER_IMMEDIATE_RELEASE,
  HEADER_OWNERS,
  LOOKUP,
  LOOKUP_ENTRIES,
  LOOKUP_SCALE,
  NEXT,
  POOL_CLASS_SUMMARY,
  POOL_CLASSES,
  POOL_CURRENT,
  POOL_DIRTY_BLOCKS,
  POOL_EMPTY,
  POOL_RECENT_COUNTS,
  POOL_RECENT_PLACES,
  PREV,
  RECENT_LONGEST,
  RECENT_RUNS,
  RECENT_RUNS_SHIFT,
  RECORD_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
import {
  absorbIntoTail,
  classOfRun,
  classThatHolds,
  clearFull,
  findInWord,
  firstClassFrom,
  indexDirtyWords,
  markDirty,
  markDirtyGroup,
  reclaim,
} from "./run-index.ts";
import { poolAt, Store } from "./store.ts";

/** What an operation came to. Everything but OK has changed nothing. */
export const OK = 0;
/** No block holds the address. */
export const UNKNOWN_ADDRESS = 1;
/** Inside a block, but free or padding. */
export const NOT_ALLOCATED = 2;
/** Inside a live allocation, not its start. `granule` is its start. */
export const INTERIOR_ADDRESS = 3;
/** The block would be empty and not kept: unmap it, then `removeBlock` it. */
export const SURPLUS_BLOCK = 4;

/**
 * So many groups of 32 dirty words are looked at before an allocation splits a hole: enough to keep up with any mix
 * of releases and allocations, and a bound on what one allocation pays for the releases before it.
 */
const GROUPS_AT_ONCE = 8;
const ALL_GROUPS = -1;

/** How many holes of the class below the one that surely holds a request are tried before a block is mapped. */
const SAME_CLASS_TRIES = 16;

export class Core extends Store {
  /** The block of the place the last operation found. */
  block = 0;
  /** Its first granule, counted from the block's start. */
  granule = 0;

  // --- allocation ---------------------------------------------------------------------------------------------

  /**
   * Finds `count` granules in the pool and takes them. False where none of its blocks has room: then `planBlock`,
   * map, `addBlock`, and ask again.
   *
   * What costs least and spoils nothing comes first: a run of just that length that was released lately; a hole the
   * index knows; the current block's tail. Only then the index is brought up to date, and at last the empty block used.
   */
  alloc(poolIndex: number, count: number): boolean {
    const words = this.words;
    const pool = poolAt(poolIndex);
    if (
      count <= RECENT_LONGEST &&
      words[pool + POOL_RECENT_COUNTS + count]! > 0 &&
      this.#takeRecent(pool, count)
    ) {
      return true;
    }
    if (words[pool + POOL_DIRTY_BLOCKS + NEXT] !== pool + POOL_DIRTY_BLOCKS) {
      indexDirtyWords(words, pool, GROUPS_AT_ONCE);
    }
    if (words[pool + POOL_CLASS_SUMMARY] !== 0 && this.#takeIndexed(pool, count)) return true;
    const current = words[pool + POOL_CURRENT]!;
    if (current !== 0 && this.#append(current, count)) return true;
    return this.#allocElsewhere(pool, count);
  }

  /** Takes granules from the block's untouched tail: the cheapest allocation there is. */
  #append(block: number, count: number): boolean {
    const words = this.words;
    const granule = words[block + BLOCK_TAIL]!;
    if (granule + count > words[block + BLOCK_CAPACITY]!) return false;
    words[block + BLOCK_TAIL] = granule + count;
    this.#occupy(block, granule, count);
    return true;
  }

  #allocElsewhere(pool: number, count: number): boolean {
    const words = this.words;
    const current = words[pool + POOL_CURRENT]!;
    if (current !== 0 && absorbIntoTail(words, current) && this.#append(current, count)) return true;
    indexDirtyWords(words, pool, ALL_GROUPS);
    if (this.#takeIndexed(pool, count)) return true;
    if (this.#takeFromClassBelow(pool, count)) return true;
    const empty = words[pool + POOL_EMPTY]!;
    if (empty === 0 || empty === current) return false;
    if (words[empty + BLOCK_TAIL]! + count > words[empty + BLOCK_CAPACITY]!) return false;
    this.makeCurrent(pool, empty);
    return this.#append(empty, count);
  }

  /** Takes a run that was released lately, if one of that length is still free. There is at least one entry. */
  #takeRecent(pool: number, count: number): boolean {
    const words = this.words;
    const counter = pool + POOL_RECENT_COUNTS + count;
    for (let top = words[counter]! - 1; top >= 0; top--) {
      words[counter] = top;
      const place = words[pool + POOL_RECENT_PLACES + (count << RECENT_RUNS_SHIFT) + top]!;
      const record = (place >>> 5) << 2;
      const block = words[words[HEADER_OWNERS]! + (record >> UNIT_SHIFT)]!;
      // The block may be gone and its metadata serve another pool's; others may have taken granules of the run.
      if (block <= 0 || words[block + BLOCK_POOL] !== pool) continue;
      const bit = place & 31;
      const granule = ((record - words[block + BLOCK_RECORDS]!) << 3) + bit;
      if (granule < 0 || granule + count > words[block + BLOCK_TAIL]!) continue;
      if (bit + count <= 32) {
        const used = words[record]!;
        if ((used & bitRange(bit, count)) !== 0) continue;
        if (used === 0) clearFull(words, block, granule >>> 5);
      } else {
        if (!isFree(words, block, granule, count)) continue;
        clearFullRange(words, block, granule, count);
      }
      this.#occupy(block, granule, count);
      // Where the run was longer, what is left of it begins behind the end, and the index has to look at it.
      const after = granule + count;
      const afterUsed = words[words[block + BLOCK_RECORDS]! + ((after >>> 5) << 2)]!;
      if (((afterUsed >>> (after & 31)) & 1) === 0) {
        markDirtyGroup(words, block, after >>> 10, 1 << ((after >>> 5) & 31));
      }
      return true;
    }
    return false;
  }

  /** Takes the front of a hole the index knows. */
  #takeIndexed(pool: number, count: number): boolean {
    const words = this.words;
    const wanted = classThatHolds(count);
    for (let c = firstClassFrom(words, pool, wanted); c >= 0; c = firstClassFrom(words, pool, wanted)) {
      const record = words[pool + POOL_CLASSES + (c << 2) + NEXT]!;
      if (this.#takeFromRecord(record, count)) return true;
      // The index said too much; now the record stands in a lower class, or in none.
    }
    return false;
  }

  /** Looks through some holes whose class does not promise enough room, though they may have it. */
  #takeFromClassBelow(pool: number, count: number): boolean {
    const words = this.words;
    const below = classOfRun(count);
    if (below === classThatHolds(count)) return false;
    const sentinel = pool + POOL_CLASSES + (below << 2);
    let record = words[sentinel + PREV]!;
    for (let tries = 0; tries < SAME_CLASS_TRIES && record !== sentinel; tries++) {
      const previous = words[record + PREV]!; // before the record moves to the end of a ring
      if (this.#takeFromRecord(record, count)) return true;
      record = previous;
    }
    return false;
  }

  #takeFromRecord(record: number, count: number): boolean {
    const words = this.words;
    const block = words[words[HEADER_OWNERS]! + (record >> UNIT_SHIFT)]!;
    const word = (record - words[block + BLOCK_RECORDS]!) >> 2;
    const granule = findInWord(words, block, word, count);
    if (granule < 0) {
      reclaim(words, block, word);
      return false;
    }
    clearFullRange(words, block, granule, count);
    this.#occupy(block, granule, count);
    reclaim(words, block, word);
    const after = (granule + count) >>> 5;
    if (after !== word && after << 5 < words[block + BLOCK_CAPACITY]!) reclaim(words, block, after);
    return true;
  }

  /** Sets the bits of an allocation and counts it. */
  #occupy(block: number, granule: number, count: number): void {
    const words = this.words;
    const record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
    const end = (granule & 31) + count;
    if (end <= 32) {
      words[record] = words[record]! | bitRange(granule & 31, count);
      words[record + 1] = words[record + 1]! | (1 << (end - 1));
    } else {
      occupyWords(words, record, granule & 31, end - 1);
    }
    words[block + BLOCK_USED] = words[block + BLOCK_USED]! + count;
    const live = words[block + BLOCK_LIVE]!;
    words[block + BLOCK_LIVE] = live + 1;
    if (live === 0) this.#noLongerEmpty(block);
    this.block = block;
    this.granule = granule;
  }

  #noLongerEmpty(block: number): void {
    const pool = this.words[block + BLOCK_POOL]!;
    if (this.words[pool + POOL_EMPTY] === block) this.words[pool + POOL_EMPTY] = 0;
  }

  // --- finding ------------------------------------------------------------------------------------------------

  /** The address (rx) of a granule. */
  addressOf(block: number, granule: number): number {
    return this.doubles[(block >> 1) + BLOCK_RX]! + (granule << this.words[block + BLOCK_GRANULE_SHIFT]!);
  }

  /** Finds the allocation that begins at `address`: OK, UNKNOWN_ADDRESS, NOT_ALLOCATED or INTERIOR_ADDRESS. */
  locateStart(address: number): number {
    const words = this.words;
    const block = this.find(address);
    if (block === 0) return UNKNOWN_ADDRESS;
    const offset = address - this.doubles[(block >> 1) + BLOCK_RX]!;
    const shift = words[block + BLOCK_GRANULE_SHIFT]!;
    const granule = offset >>> shift;
    this.block = block;
    this.granule = granule;
    const record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const used = words[record]!;
    if (((used >>> bit) & 1) === 0 || granule < words[block + BLOCK_PADDING]!) return NOT_ALLOCATED;
    // The granule before is used and ends nothing: this one continues it. The guard before record 0 ends something.
    const continues =
      bit !== 0
        ? ((used & ~words[record + 1]!) >>> (bit - 1)) & 1
        : (words[record - RECORD_INTEGERS]! & ~words[record - RECORD_INTEGERS + 1]!) >>> 31;
    if (continues === 0 && granule << shift === offset) return OK;
    if (continues !== 0) this.granule = startOf(words, block, granule);
    return INTERIOR_ADDRESS;
  }

  /** Finds the allocation that contains `address`: OK, UNKNOWN_ADDRESS or NOT_ALLOCATED. */
  locate(address: number): number {
    const status = this.locateStart(address);
    return status === INTERIOR_ADDRESS ? OK : status;
  }

  /** The length in granules of the allocation that begins at `granule`. */
  lengthAt(block: number, granule: number): number {
    const words = this.words;
    const record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
    const stops = words[record + 1]! >>> (granule & 31);
    return stops !== 0 ? lowestBit(stops) + 1 : lengthOverWords(words, record, granule & 31);
  }

  // --- release ------------------------------------------------------------------------------------------------

  /** Releases the allocation that begins at `address`. SURPLUS_BLOCK and the failures of `locateStart` change nothing. */
  release(address: number): number {
    const words = this.words;
    const doubles = this.doubles;
    const block = words[LOOKUP + ((address * LOOKUP_SCALE) & (LOOKUP_ENTRIES - 1))]!;
    const offset = address - doubles[(block >> 1) + BLOCK_RX]!;
    if (block !== 0 && offset >= 0 && offset < doubles[(block >> 1) + BLOCK_SIZE]!) {
      const shift = words[block + BLOCK_GRANULE_SHIFT]!;
      const granule = offset >>> shift;
      const record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
      const bit = granule & 31;
      const used = words[record]!;
      const stop = words[record + 1]!;
      // Granules that begin an allocation: used, and the one before is free or ends one. Of the first in the word
      // this record does not tell.
      const starts = used & ~((used & ~stop) << 1) & -2;
      const stops = stop >>> bit;
      if (((starts >>> bit) & 1) !== 0 && stops !== 0 && granule << shift === offset) {
        const live = words[block + BLOCK_LIVE]! - 1;
        if (live !== 0) {
          words[block + BLOCK_LIVE] = live;
          this.#vacateInWord(block, record, granule, lowestBit(stops) + 1);
          return OK;
        }
      }
    }
    const status = this.locateStart(address);
    return status === OK ? this.free(this.block, this.granule) : status;
  }

  /** Releases the allocation that begins at `granule`, which is known to be one. OK or SURPLUS_BLOCK. */
  free(block: number, granule: number): number {
    const words = this.words;
    const live = words[block + BLOCK_LIVE]! - 1;
    this.block = block;
    this.granule = granule;
    if (live === 0 && this.#isSurplus(block)) return SURPLUS_BLOCK;
    words[block + BLOCK_LIVE] = live;
    this.#vacate(block, granule, this.lengthAt(block, granule));
    if (live === 0) this.#becameEmpty(block);
    return OK;
  }

  /** Shortens the allocation that begins at `granule` from `count` to `newCount` granules, 0 < newCount < count. */
  shrink(block: number, granule: number, count: number, newCount: number): void {
    const words = this.words;
    const last = granule + newCount - 1;
    const record = words[block + BLOCK_RECORDS]! + ((last >>> 5) << 2);
    this.#vacate(block, granule + newCount, count - newCount);
    words[record + 1] = words[record + 1]! | (1 << (last & 31));
  }

  /** Clears the granules at the end of an allocation, its stop bit among them, and leaves the rest to the index. */
  #vacate(block: number, granule: number, count: number): void {
    const words = this.words;
    const record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
    if ((granule & 31) + count <= 32) this.#vacateInWord(block, record, granule, count);
    else vacateWords(words, block, record, granule, count);
  }

  /** The same for granules that lie in one word. */
  #vacateInWord(block: number, record: number, granule: number, count: number): void {
    const words = this.words;
    const bit = granule & 31;
    const end = granule + count;
    words[record] = words[record]! & ~bitRange(bit, count);
    words[record + 1] = words[record + 1]! & ~(1 << (bit + count - 1));
    words[block + BLOCK_USED] = words[block + BLOCK_USED]! - count;
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0) words[generations + granule] = 0;
    const pool = words[block + BLOCK_POOL]!;
    if (end === words[block + BLOCK_TAIL] && words[pool + POOL_CURRENT] === block) {
      words[block + BLOCK_TAIL] = granule; // it was the last one before the tail, which takes it back
      return;
    }
    const group = block + BLOCK_DIRTY + (granule >>> 10);
    const dirty = words[group]!;
    const wordBit = 1 << ((granule >>> 5) & 31);
    if (dirty === 0) markDirtyGroup(words, block, granule >>> 10, wordBit);
    else words[group] = dirty | wordBit;
    const counter = pool + POOL_RECENT_COUNTS + count;
    const top = words[counter]!;
    if (top < RECENT_RUNS) {
      words[counter] = top + 1;
      words[pool + POOL_RECENT_PLACES + (count << RECENT_RUNS_SHIFT) + top] = (record << 3) + bit;
    }
  }

  /** Whether the block has one allocation left, and will not be kept when that is released. */
  isLastOfSurplus(block: number): boolean {
    return this.words[block + BLOCK_LIVE] === 1 && this.#isSurplus(block);
  }

  #isSurplus(block: number): boolean {
    const words = this.words;
    if (words[HEADER_IMMEDIATE_RELEASE] !== 0) return true;
    const empty = words[words[block + BLOCK_POOL]! + POOL_EMPTY]!;
    return empty !== 0 && empty !== block;
  }

  /** Keeps the block as its pool's empty one, untouched again from the padding on. */
  #becameEmpty(block: number): void {
    const words = this.words;
    const padding = words[block + BLOCK_PADDING]!;
    words[words[block + BLOCK_POOL]! + POOL_EMPTY] = block;
    if (words[block + BLOCK_TAIL] === padding && words[block + BLOCK_IN_DIRTY + NEXT] === 0) return;
    forgetIndex(words, block, words[block + BLOCK_TAIL]!);
    words[block + BLOCK_TAIL] = padding;
  }

  // --- generations --------------------------------------------------------------------------------------------

  /**
   * The generation of the live allocation that begins at `granule`; given now if it had none. Never 0, except where
   * there is no room for the block's generations.
   */
  generationAt(block: number, granule: number): number {
    const generations = this.words[block + BLOCK_GENERATIONS]! || this.generationsOf(block);
    if (generations === 0) return 0;
    const words = this.words;
    const known = words[generations + granule]!;
    if (known !== 0) return known;
    const generation = (words[HEADER_GENERATION]! + 1) | 0 || 1; // wraps around after 2**32, past 0
    words[HEADER_GENERATION] = generation;
    words[generations + granule] = generation;
    return generation;
  }

  /** Whether the allocation that begins at `granule` is still the one that was given `generation`. */
  isLive(block: number, granule: number, generation: number): boolean {
    return this.words[this.words[block + BLOCK_GENERATIONS]! + granule] === generation;
  }
}

// --- allocations that reach over several words ------------------------------------------------------------------

/** Sets the bits of an allocation from bit `first` of a record to bit `last`, counted from the same record's bit 0. */
function occupyWords(words: Int32Array, record: number, first: number, last: number): void {
  const lastRecord = record + ((last >>> 5) << 2);
  words[record] = words[record]! | (-1 << first);
  for (let r = record + RECORD_INTEGERS; r < lastRecord; r += RECORD_INTEGERS) words[r] = -1;
  words[lastRecord] = words[lastRecord]! | (-1 >>> (31 - (last & 31)));
  words[lastRecord + 1] = words[lastRecord + 1]! | (1 << (last & 31));
}

/** Clears them, and leaves the rest to the index. */
function vacateWords(words: Int32Array, block: number, record: number, granule: number, count: number): void {
  const first = granule & 31;
  const last = first + count - 1;
  const lastRecord = record + ((last >>> 5) << 2);
  words[record] = words[record]! & ~(-1 << first);
  for (let r = record + RECORD_INTEGERS; r < lastRecord; r += RECORD_INTEGERS) words[r] = 0;
  words[lastRecord] = words[lastRecord]! & ~(-1 >>> (31 - (last & 31)));
  words[lastRecord + 1] = words[lastRecord + 1]! & ~(1 << (last & 31));
  words[block + BLOCK_USED] = words[block + BLOCK_USED]! - count;
  const generations = words[block + BLOCK_GENERATIONS]!;
  if (generations !== 0) words[generations + granule] = 0;
  const pool = words[block + BLOCK_POOL]!;
  if (granule + count === words[block + BLOCK_TAIL] && words[pool + POOL_CURRENT] === block) {
    words[block + BLOCK_TAIL] = granule;
    return;
  }
  markDirty(words, block, granule >>> 5, (granule + count - 1) >>> 5);
  if (count > RECENT_LONGEST) return;
  const counter = pool + POOL_RECENT_COUNTS + count;
  const top = words[counter]!;
  if (top === RECENT_RUNS) return;
  words[counter] = top + 1;
  words[pool + POOL_RECENT_PLACES + (count << RECENT_RUNS_SHIFT) + top] = (record << 3) + first;
}

/** The length of an allocation that begins at `bit` of a record and ends in a later one. */
function lengthOverWords(words: Int32Array, record: number, bit: number): number {
  let length = 32 - bit;
  for (let r = record + RECORD_INTEGERS; ; r += RECORD_INTEGERS) {
    const stop = words[r + 1]!;
    if (stop !== 0) return length + lowestBit(stop) + 1;
    length += 32;
  }
}

/** The first granule of the allocation that `granule` is part of. */
function startOf(words: Int32Array, block: number, granule: number): number {
  const records = words[block + BLOCK_RECORDS]!;
  let word = granule >>> 5;
  let mask = (1 << (granule & 31)) - 1;
  for (;;) {
    // The last granule before this one that ends an allocation or is free; the guard has one for sure.
    const record = records + (word << 2);
    const ends = (words[record + 1]! | ~words[record]!) & mask;
    if (ends !== 0) return (word << 5) + 32 - Math.clz32(ends);
    word -= 1;
    mask = -1;
  }
}

/** Whether `count` granules from `granule` on are free; they lie below the tail and in more than one word. */
function isFree(words: Int32Array, block: number, granule: number, count: number): boolean {
  const records = words[block + BLOCK_RECORDS]!;
  const last = granule + count - 1;
  const lastRecord = records + ((last >>> 5) << 2);
  let record = records + ((granule >>> 5) << 2);
  if ((words[record]! & (-1 << (granule & 31))) !== 0) return false;
  for (record += RECORD_INTEGERS; record < lastRecord; record += RECORD_INTEGERS) {
    if (words[record] !== 0) return false;
  }
  return (words[lastRecord]! & (-1 >>> (31 - (last & 31)))) === 0;
}

/** Clears the full bits of the words that hold these granules, before they are taken. */
function clearFullRange(words: Int32Array, block: number, granule: number, count: number): void {
  const records = words[block + BLOCK_RECORDS]!;
  for (let word = granule >>> 5; word <= (granule + count - 1) >>> 5; word++) {
    if (words[records + (word << 2)] === 0) clearFull(words, block, word);
  }
}
