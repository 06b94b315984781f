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
import { clearGranules } from "./block.ts";
import { classOfRun, classThatHolds } from "./classes.ts";
import { firstClassFrom, nextListed, ringOfClass } from "./class-rings.ts";
import { setFull } from "./full-words.ts";
import { areFree, freeOverWords, lengthOverWords, startOf, takeGranules } from "./granules.ts";
import { Block, Header, Link, Lookup, Pool, Recent, Size, Unit, Word } from "./layout.ts";
import { findInWord, relist } from "./run-index.ts";
import { Status } from "./status.ts";
import { poolAt, Store } from "./store.ts";
import { absorbIntoTail, unlistAboveTail } from "./tail.ts";
import {
  blockOfPlace,
  granuleOfPlace,
  indexAllRuns,
  indexGranules,
  indexWaitingRuns,
  letWait,
  rememberRun,
} from "./waiting-runs.ts";

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
   * index knows, once it has heard of what was released since; the current block's tail. Then the rest is looked
   * through, and at last the empty block used.
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
    if (words[pool + Pool.waitingCount] !== 0) indexWaitingRuns(words, pool);
    if (words[pool + Pool.classSummary] !== 0 && this.#takeIndexed(pool, count)) return true;
    return this.#append(words[pool + Pool.current]!, count) || this.#allocElsewhere(pool, count);
  }

  /** After `alloc` found no room: looks at every hole that may do, before the request is refused for good. */
  allocFromAnyHole(poolIndex: number, count: number): boolean {
    return this.#takeFromClassBelow(poolAt(poolIndex), count, Infinity);
  }

  /** Takes granules from the block's untouched tail: the cheapest allocation there is. */
  #append(block: number, count: number): boolean {
    const words = this.words;
    const granule = words[block + Block.tail]!;
    const end = granule + count;
    if (block === 0 || end > words[block + Block.capacity]!) return false;
    words[block + Block.tail] = end;
    const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 2) + Word.stop;
    words[stop] = words[stop]! | (1 << ((end - 1) & 31));
    this.#count(block, granule, count);
    return true;
  }

  #allocElsewhere(pool: number, count: number): boolean {
    const words = this.words;
    const current = words[pool + Pool.current]!;
    if (current !== 0 && absorbIntoTail(words, current) && this.#append(current, count)) return true;
    indexAllRuns(words, pool);
    if (this.#takeIndexed(pool, count)) return true;
    if (this.#takeFromClassBelow(pool, count, SAME_CLASS_TRIES)) return true;
    const empty = words[pool + Pool.empty]!;
    if (empty === 0 || empty === current) return false;
    if (words[empty + Block.tail]! + count > words[empty + Block.capacity]!) return false;
    this.makeCurrent(pool, empty);
    return this.#append(empty, count);
  }

  /** Takes a run that was released lately, if one of that length is still free. */
  #takeRecent(pool: number, count: number): boolean {
    const words = this.words;
    const counter = pool + Pool.recentCounts + count;
    for (let top = words[counter]! - 1; top >= 0; top--) {
      words[counter] = top;
      const place = words[pool + Pool.recentPlaces + (count << Recent.runsShift) + top]!;
      const block = blockOfPlace(words, pool, place, count);
      if (block === 0) continue;
      const granule = granuleOfPlace(words, block, place);
      if (!areFree(words, block, granule, count)) {
        indexGranules(words, block, granule, count); // part of it was taken; the rest must not be lost
        continue;
      }
      takeGranules(words, block, granule, count);
      this.#count(block, granule, count);
      // Where the run was longer, what is left of it begins behind the end, and the index has to hear of that.
      const after = words[block + Block.records]! + (((granule + count) >>> 5) << 2);
      if (((words[after]! >>> ((granule + count) & 31)) & 1) !== 0) letWait(words, block, place + count);
      return true;
    }
    return false;
  }

  /** Takes the front of a hole the index knows. */
  #takeIndexed(pool: number, count: number): boolean {
    const words = this.words;
    const wanted = classThatHolds(count);
    for (let c = firstClassFrom(words, pool, wanted); c >= 0; c = firstClassFrom(words, pool, wanted)) {
      if (this.#takeFromRecord(nextListed(words, ringOfClass(pool, c)), count)) return true;
      // The index said too much; now the record stands in a lower class, or in none.
    }
    return false;
  }

  /** Looks through up to `limit` holes whose class does not promise enough room, though they may have it. */
  #takeFromClassBelow(pool: number, count: number, limit: number): boolean {
    const words = this.words;
    const below = classOfRun(count);
    if (below === classThatHolds(count)) return false;
    const sentinel = ringOfClass(pool, below);
    let record = words[sentinel + Word.prev]!;
    for (let tries = 0; tries < limit && record !== sentinel; tries++) {
      const previous = words[record + Word.prev]!; // before the record moves to the end of a ring
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
      relist(words, block, word);
      return false;
    }
    takeGranules(words, block, granule, count);
    this.#count(block, granule, count);
    relist(words, block, word);
    const after = (granule + count) >>> 5;
    if (after !== word) relist(words, block, after);
    return true;
  }

  /** Counts an allocation whose bits are set. */
  #count(block: number, granule: number, count: number): void {
    const words = this.words;
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
    const free = words[record]!;
    if (granule < words[block + Block.padding]! || granule >= words[block + Block.tail]!) {
      return Status.notAllocated;
    }
    if (((free >>> bit) & 1) !== 0) return Status.notAllocated;
    if (granule << shift === offset && this.#begins(record, bit)) return Status.ok;
    this.granule = startOf(words, block, granule);
    return Status.interiorAddress;
  }

  /** Whether something begins at a granule that is not free: the one before is free or ends something. The guard does. */
  #begins(record: number, bit: number): boolean {
    const words = this.words;
    const before = bit !== 0 ? record : record - Size.record;
    return (((words[before]! | words[before + Word.stop]!) >>> ((bit - 1) & 31)) & 1) !== 0;
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
    const stops = words[record + Word.stop]! >>> (granule & 31);
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
      const free = words[record]!;
      const stop = words[record + Word.stop]!;
      // Something begins where the granule before is free or ends something. Of the first in the word the record before
      // tells, and granule 0 may be padding. Behind the tail nothing is free, and nothing is allocated.
      const begins =
        bit !== 0
          ? (free | stop) >>> (bit - 1)
          : granule === 0
            ? 0
            : (words[record - Size.record]! | words[record - Size.record + Word.stop]!) >>> 31;
      const live = words[block + Block.live]! - 1;
      if (
        (begins & ~(free >>> bit) & 1) !== 0 &&
        granule << shift === offset &&
        granule < words[block + Block.tail]! &&
        live !== 0
      ) {
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
    words[record + Word.stop] = words[record + Word.stop]! | (1 << (last & 31));
    const generations = words[block + Block.generations]!;
    if (generations !== 0 && newCount > 1 && words[generations + granule] !== 0) {
      words[generations + granule + 1] = newCount;
    }
  }

  /**
   * Frees the granules at the end of an allocation, clears its stop bit, and lets the tail take them, or keeps their run
   * for the next allocation of that length, or for the index.
   */
  #vacate(block: number, record: number, granule: number, count: number): void {
    const words = this.words;
    const bit = granule & 31;
    const end = granule + count;
    words[block + Block.used] = words[block + Block.used]! - count;
    const generations = words[block + Block.generations]!;
    if (generations !== 0) {
      words[generations + granule] = 0;
      if (count > 1) words[generations + granule + 1] = 0;
    }
    if (end === words[block + Block.tail] && words[words[block + Block.pool]! + Pool.current] === block) {
      words[block + Block.tail] = granule; // it was the last one before the tail, where nothing is free
      const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 2) + Word.stop;
      words[stop] = words[stop]! & ~(1 << ((end - 1) & 31));
      if ((granule - 1) >>> 5 !== (end - 1) >>> 5) unlistAboveTail(words, block, end);
      return;
    }
    if (bit + count <= 32) {
      words[record + Word.stop] = words[record + Word.stop]! & ~(1 << (bit + count - 1));
      const free = words[record]! | bitRange(bit, count);
      words[record] = free;
      if (free === -1) setFull(words, block, granule >>> 5);
    } else {
      freeOverWords(words, block, record, granule >>> 5, bit, bit + count - 1);
    }
    rememberRun(words, block, (record << 3) + bit, count);
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
    const isUntouched =
      words[block + Block.tail] === padding && words[block + Block.inDirty + Link.next] === 0;
    if (!isUntouched) clearGranules(words, block);
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
    words[generations + granule] = generation;
    const count = this.lengthAt(block, granule);
    if (count > 1) words[generations + granule + 1] = count;
    return generation;
  }

  /** The length in granules of an allocation that has a generation: at the same cost however long it is. */
  lengthWithGeneration(block: number, granule: number): number {
    const words = this.words;
    const stops =
      words[words[block + Block.records]! + ((granule >>> 5) << 2) + Word.stop]! >>> (granule & 31);
    if (stops !== 0) return lowestBit(stops) + 1;
    return words[words[block + Block.generations]! + granule + 1]!;
  }

  /** Whether the allocation that begins at `granule` is still the one that was given `generation`. */
  isLive(block: number, granule: number, generation: number): boolean {
    return this.words[this.words[block + Block.generations]! + granule] === generation;
  }
}
