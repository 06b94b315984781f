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
import { clearFullRange, isFree, lengthOverWords, occupyWords, startOf, vacateWords } from "./granules.ts";
import { Block, Header, Link, Lookup, Pool, Recent, Size, Unit } from "./layout.ts";
import { blockOfRecentRun, forgetRecentRuns, rememberRun } from "./recent-runs.ts";
import {
  absorbIntoTail,
  classOfRun,
  classThatHolds,
  clearFull,
  findInWord,
  firstClassFrom,
  indexDirtyWords,
  markDirty,
  reclaim,
} from "./run-index.ts";
import { Status } from "./status.ts";
import { poolAt, Store } from "./store.ts";

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
      count <= Recent.longest &&
      words[pool + Pool.recentCounts + count]! > 0 &&
      this.#takeRecent(pool, count)
    ) {
      return true;
    }
    if (words[pool + Pool.dirtyBlocks + Link.next] !== pool + Pool.dirtyBlocks) {
      indexDirtyWords(words, pool, GROUPS_AT_ONCE);
    }
    if (words[pool + Pool.classSummary] !== 0 && this.#takeIndexed(pool, count)) return true;
    const current = words[pool + Pool.current]!;
    if (current !== 0 && this.#append(current, count)) return true;
    return this.#allocElsewhere(pool, count);
  }

  /** After `alloc` found no room: looks at every hole that may do, before the request is refused for good. */
  allocFromAnyHole(poolIndex: number, count: number): boolean {
    return this.#takeFromClassBelow(poolAt(poolIndex), count, Infinity);
  }

  /** Takes granules from the block's untouched tail: the cheapest allocation there is. */
  #append(block: number, count: number): boolean {
    const words = this.words;
    const granule = words[block + Block.tail]!;
    if (granule + count > words[block + Block.capacity]!) return false;
    words[block + Block.tail] = granule + count;
    this.#occupy(block, granule, count);
    return true;
  }

  #allocElsewhere(pool: number, count: number): boolean {
    const words = this.words;
    const current = words[pool + Pool.current]!;
    if (current !== 0 && absorbIntoTail(words, current) && this.#append(current, count)) return true;
    forgetRecentRuns(words, pool);
    indexDirtyWords(words, pool, ALL_GROUPS);
    if (this.#takeIndexed(pool, count)) return true;
    if (this.#takeFromClassBelow(pool, count, SAME_CLASS_TRIES)) return true;
    const empty = words[pool + Pool.empty]!;
    if (empty === 0 || empty === current) return false;
    if (words[empty + Block.tail]! + count > words[empty + Block.capacity]!) return false;
    this.makeCurrent(pool, empty);
    return this.#append(empty, count);
  }

  /** Takes a run that was released lately, if one of that length is still free. There is at least one entry. */
  #takeRecent(pool: number, count: number): boolean {
    const words = this.words;
    const counter = pool + Pool.recentCounts + count;
    for (let top = words[counter]! - 1; top >= 0; top--) {
      words[counter] = top;
      const place = words[pool + Pool.recentPlaces + (count << Recent.runsShift) + top]!;
      const block = blockOfRecentRun(words, pool, place, count);
      if (block === 0) continue;
      const record = (place >>> 5) << 2;
      const bit = place & 31;
      const granule = ((record - words[block + Block.records]!) << 3) + bit;
      if (bit + count <= 32) {
        const used = words[record]!;
        if ((used & bitRange(bit, count)) !== 0) {
          markDirty(words, block, granule >>> 5, granule >>> 5);
          continue;
        }
        if (used === 0) clearFull(words, block, granule >>> 5);
      } else {
        if (!isFree(words, block, granule, count)) {
          markDirty(words, block, granule >>> 5, (granule + count - 1) >>> 5);
          continue;
        }
        clearFullRange(words, block, granule, count);
      }
      this.#occupy(block, granule, count);
      // Where the run was longer, what is left of it begins behind the end, and the index has to look at it.
      const after = granule + count;
      const afterUsed = words[words[block + Block.records]! + ((after >>> 5) << 2)]!;
      if (((afterUsed >>> (after & 31)) & 1) === 0) markDirty(words, block, after >>> 5, after >>> 5);
      return true;
    }
    return false;
  }

  /** Takes the front of a hole the index knows. */
  #takeIndexed(pool: number, count: number): boolean {
    const words = this.words;
    const wanted = classThatHolds(count);
    for (let c = firstClassFrom(words, pool, wanted); c >= 0; c = firstClassFrom(words, pool, wanted)) {
      const record = words[pool + Pool.classes + (c << 2) + Link.next]!;
      if (this.#takeFromRecord(record, count)) return true;
      // The index said too much; now the record stands in a lower class, or in none.
    }
    return false;
  }

  /** Looks through up to `limit` holes whose class does not promise enough room, though they may have it. */
  #takeFromClassBelow(pool: number, count: number, limit: number): boolean {
    const words = this.words;
    const below = classOfRun(count);
    if (below === classThatHolds(count)) return false;
    const sentinel = pool + Pool.classes + (below << 2);
    let record = words[sentinel + Link.prev]!;
    for (let tries = 0; tries < limit && record !== sentinel; tries++) {
      const previous = words[record + Link.prev]!; // before the record moves to the end of a ring
      if (this.#takeFromRecord(record, count)) return true;
      record = previous;
    }
    return false;
  }

  #takeFromRecord(record: number, count: number): boolean {
    const words = this.words;
    const block = words[words[Header.owners]! + (record >> Unit.shift)]!;
    const word = (record - words[block + Block.records]!) >> 2;
    const granule = findInWord(words, block, word, count);
    if (granule < 0) {
      reclaim(words, block, word);
      return false;
    }
    clearFullRange(words, block, granule, count);
    this.#occupy(block, granule, count);
    reclaim(words, block, word);
    const after = (granule + count) >>> 5;
    if (after !== word && after << 5 < words[block + Block.capacity]!) reclaim(words, block, after);
    return true;
  }

  /** Sets the bits of an allocation and counts it. */
  #occupy(block: number, granule: number, count: number): void {
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const end = (granule & 31) + count;
    if (end <= 32) {
      words[record] = words[record]! | bitRange(granule & 31, count);
      words[record + 1] = words[record + 1]! | (1 << (end - 1));
    } else {
      occupyWords(words, record, granule & 31, end - 1);
    }
    words[block + Block.used] = words[block + Block.used]! + count;
    const live = words[block + Block.live]!;
    words[block + Block.live] = live + 1;
    if (live === 0) this.#noLongerEmpty(block);
    this.block = block;
    this.granule = granule;
  }

  #noLongerEmpty(block: number): void {
    const pool = this.words[block + Block.pool]!;
    if (this.words[pool + Pool.empty] === block) this.words[pool + Pool.empty] = 0;
  }

  // --- finding ------------------------------------------------------------------------------------------------

  /** The address (rx) of a granule. */
  addressOf(block: number, granule: number): number {
    return this.doubles[(block >> 1) + Block.rx]! + (granule << this.words[block + Block.granuleShift]!);
  }

  /** Finds the allocation that begins at `address`: Status.ok, Status.unknownAddress, Status.notAllocated or Status.interiorAddress. */
  locateStart(address: number): Status {
    const words = this.words;
    const block = this.find(address);
    if (block === 0) return Status.unknownAddress;
    const offset = address - this.doubles[(block >> 1) + Block.rx]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = offset >>> shift;
    this.block = block;
    this.granule = granule;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const used = words[record]!;
    if (((used >>> bit) & 1) === 0 || granule < words[block + Block.padding]!) return Status.notAllocated;
    // The granule before is used and ends nothing: this one continues it. The guard before record 0 ends something.
    const continues =
      bit !== 0
        ? ((used & ~words[record + 1]!) >>> (bit - 1)) & 1
        : (words[record - Size.record]! & ~words[record - Size.record + 1]!) >>> 31;
    if (continues === 0 && granule << shift === offset) return Status.ok;
    if (continues !== 0) this.granule = startOf(words, block, granule);
    return Status.interiorAddress;
  }

  /** Finds the allocation that contains `address`: Status.ok, Status.unknownAddress or Status.notAllocated. */
  locate(address: number): Status {
    const status = this.locateStart(address);
    return status === Status.interiorAddress ? Status.ok : status;
  }

  /** The length in granules of the allocation that begins at `granule`. */
  lengthAt(block: number, granule: number): number {
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const stops = words[record + 1]! >>> (granule & 31);
    return stops !== 0 ? lowestBit(stops) + 1 : lengthOverWords(words, record, granule & 31);
  }

  // --- release ------------------------------------------------------------------------------------------------

  /** Releases the allocation that begins at `address`. Status.surplusBlock and the failures of `locateStart` change nothing. */
  release(address: number): Status {
    const words = this.words;
    const doubles = this.doubles;
    const block = words[Lookup.start + ((address * Lookup.scale) & (Lookup.entries - 1))]!;
    const offset = address - doubles[(block >> 1) + Block.rx]!;
    if (block !== 0 && offset >= 0 && offset < doubles[(block >> 1) + Block.size]!) {
      const shift = words[block + Block.granuleShift]!;
      const granule = offset >>> shift;
      const record = words[block + Block.records]! + ((granule >>> 5) << 2);
      const bit = granule & 31;
      const used = words[record]!;
      const stop = words[record + 1]!;
      // Granules that begin an allocation: used, and the one before is free or ends one. Of the first in the word
      // the record before tells, and granule 0 may be padding.
      const starts = used & ~((used & ~stop) << 1);
      const begins =
        bit !== 0 ||
        (granule !== 0 && (words[record - Size.record]! & ~words[record - Size.record + 1]!) >= 0);
      const live = words[block + Block.live]! - 1;
      if (((starts >>> bit) & 1) !== 0 && begins && granule << shift === offset && live !== 0) {
        words[block + Block.live] = live;
        const stops = stop >>> bit;
        const count = stops !== 0 ? lowestBit(stops) + 1 : lengthOverWords(words, record, bit);
        this.#vacate(block, record, granule, count);
        return Status.ok;
      }
    }
    const status = this.locateStart(address);
    return status === Status.ok ? this.free(this.block, this.granule) : status;
  }

  /** Releases the allocation that begins at `granule`, which is known to be one. Status.ok or Status.surplusBlock. */
  free(block: number, granule: number): Status {
    const words = this.words;
    const live = words[block + Block.live]! - 1;
    this.block = block;
    this.granule = granule;
    if (live === 0 && this.#isSurplus(block)) return Status.surplusBlock;
    words[block + Block.live] = live;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    this.#vacate(block, record, granule, this.lengthAt(block, granule));
    if (live === 0) this.#becameEmpty(block);
    return Status.ok;
  }

  /** Shortens the allocation that begins at `granule` from `count` to `newCount` granules, 0 < newCount < count. */
  shrink(block: number, granule: number, count: number, newCount: number): void {
    const words = this.words;
    const last = granule + newCount - 1;
    const records = words[block + Block.records]!;
    const record = records + ((last >>> 5) << 2);
    this.#vacate(block, records + (((last + 1) >>> 5) << 2), last + 1, count - newCount);
    words[record + 1] = words[record + 1]! | (1 << (last & 31));
    const generations = words[block + Block.generations]!;
    if (generations !== 0 && newCount > 1 && words[generations + granule] !== 0) {
      words[generations + granule + 1] = newCount;
    }
  }

  /**
   * Clears the granules at the end of an allocation, its stop bit among them, and lets the tail take them, or remembers
   * their run, or leaves them to the index.
   */
  #vacate(block: number, record: number, granule: number, count: number): void {
    const words = this.words;
    const bit = granule & 31;
    const end = granule + count;
    const isInWord = bit + count <= 32;
    if (isInWord) {
      words[record] = words[record]! & ~bitRange(bit, count);
      words[record + 1] = words[record + 1]! & ~(1 << (bit + count - 1));
    } else {
      vacateWords(words, record, bit, bit + count - 1);
    }
    words[block + Block.used] = words[block + Block.used]! - count;
    const generations = words[block + Block.generations]!;
    if (generations !== 0) {
      words[generations + granule] = 0;
      if (count > 1) words[generations + granule + 1] = 0;
    }
    const pool = words[block + Block.pool]!;
    if (end === words[block + Block.tail] && words[pool + Pool.current] === block) {
      words[block + Block.tail] = granule; // it was the last one before the tail
      return;
    }
    if (rememberRun(words, pool, (record << 3) + bit, count)) return;
    const group = block + Block.dirty + (granule >>> 10);
    const dirty = words[group]!;
    // In a group that has dirty words already, one more is a bit.
    if (isInWord && dirty !== 0) words[group] = dirty | (1 << ((granule >>> 5) & 31));
    else markDirty(words, block, granule >>> 5, (end - 1) >>> 5);
  }

  /** Whether the block has one allocation left, and will not be kept when that is released. */
  isLastOfSurplus(block: number): boolean {
    return this.words[block + Block.live] === 1 && this.#isSurplus(block);
  }

  #isSurplus(block: number): boolean {
    const words = this.words;
    if (words[Header.immediateRelease] !== 0) return true;
    const empty = words[words[block + Block.pool]! + Pool.empty]!;
    return empty !== 0 && empty !== block;
  }

  /** Keeps the block as its pool's empty one, untouched again from the padding on. */
  #becameEmpty(block: number): void {
    const words = this.words;
    const padding = words[block + Block.padding]!;
    words[words[block + Block.pool]! + Pool.empty] = block;
    if (words[block + Block.tail] === padding && words[block + Block.inDirty + Link.next] === 0) return;
    forgetIndex(words, block, words[block + Block.tail]!);
    words[block + Block.tail] = padding;
  }

  // --- generations --------------------------------------------------------------------------------------------

  /**
   * The generation of the live allocation that begins at `granule`; given now if it had none. Never 0, except where
   * there is no room for the block's generations.
   */
  generationAt(block: number, granule: number): number {
    const generations = this.words[block + Block.generations]! || this.generationsOf(block);
    if (generations === 0) return 0;
    const words = this.words;
    const known = words[generations + granule]!;
    if (known !== 0) return known;
    // Always negative, so that it is never taken for the length that may stand in the same place.
    const generation = (words[Header.generation]! + 1) | -0x8000_0000;
    words[Header.generation] = generation;
    // The length first: with the generation the allocation is entered, in one write (ledger.ts).
    const count = this.lengthAt(block, granule);
    if (count > 1) words[generations + granule + 1] = count;
    words[generations + granule] = generation;
    return generation;
  }

  /** The length in granules of an allocation that has a generation: at the same cost however long it is. */
  lengthWithGeneration(block: number, granule: number): number {
    const words = this.words;
    const stops = words[words[block + Block.records]! + ((granule >>> 5) << 2) + 1]! >>> (granule & 31);
    if (stops !== 0) return lowestBit(stops) + 1;
    return words[words[block + Block.generations]! + granule + 1]!;
  }

  /** Whether the allocation that begins at `granule` is still the one that was given `generation`. */
  isLive(block: number, granule: number, generation: number): boolean {
    return this.words[this.words[block + Block.generations]! + granule] === generation;
  }
}
