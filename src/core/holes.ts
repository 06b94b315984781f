/** Finds room for an allocation anywhere but at the end of the current block. */
import { classOfRun, classThatHolds } from "./classes.ts";
import { firstClassFrom, nextListed, ringOfClass } from "./class-rings.ts";
import { areFree, takeGranules } from "./granules.ts";
import { Block, Header, Pool, Recent, Unit, Word } from "./layout.ts";
import { findInWord, relist } from "./run-index.ts";
import { poolAt, Store } from "./store.ts";
import { absorbIntoTail } from "./tail.ts";
import {
  blockOfPlace,
  granuleOfPlace,
  indexAllRuns,
  indexGranules,
  indexWaitingRuns,
  letWait,
} from "./waiting-runs.ts";

/** How many holes of the class below the one that surely holds a request are tried before a block is mapped. */
const SAME_CLASS_TRIES = 16;

/** The part of the core that takes holes. A pool is named by its index in the buffer here. */
export class Holes extends Store {
  /** The block of the place the last operation found. */
  block = 0;
  /** Its first granule, counted from the block's start. */
  granule = 0;

  /** Takes a run of just that length that was released lately, or a hole of the index once it is up to date. */
  protected takeHole(pool: number, count: number): boolean {
    const words = this.words;
    if (
      count <= Recent.longest &&
      words[pool + Pool.recentCounts + count] !== 0 &&
      this.#takeRecent(pool, count)
    ) {
      return true;
    }
    if (words[pool + Pool.waitingCount] !== 0) indexWaitingRuns(words, pool);
    return words[pool + Pool.classSummary] !== 0 && this.#takeIndexed(pool, count);
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
    if (end > words[block + Block.capacity]!) return false;
    words[block + Block.tail] = end;
    const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 2) + Word.stop;
    words[stop] = words[stop]! | (1 << ((end - 1) & 31));
    this.#count(block, granule, count);
    return true;
  }

  /** Where the current block has no room: whatever else the pool has, its empty block last. */
  protected takeElsewhere(pool: number, count: number): boolean {
    const words = this.words;
    const current = words[pool + Pool.current]!;
    if (this.#append(current, count)) return true; // it was empty
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
      if (top === 0) words[pool + Pool.recentBits] = words[pool + Pool.recentBits]! & ~(1 << (count - 1));
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
}
