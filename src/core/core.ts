/**
 * Decides where code goes. Pure arithmetic on one shared buffer: it maps nothing, touches no code, and runs anywhere.
 *
 * Nothing is returned by object: an operation leaves the place it found in `block`, `granule` and `count`.
 * Addresses are numbers, positions are granules counted from the block's start, failures are statuses.
 */
import { Arena } from "./arena.ts";
import { bitRange, lowestBit } from "./bits.ts";
import { treeFind, treeFirst, treeInsert, treeNext, treeRemove } from "./block-tree.ts";
import {
  BLOCK_CAPACITY,
  BLOCK_GENERATIONS,
  BLOCK_GRANULE_SHIFT,
  BLOCK_IN_DIRTY,
  BLOCK_IN_POOL,
  BLOCK_INTEGERS,
  BLOCK_LIVE,
  BLOCK_PADDING,
  BLOCK_POOL,
  BLOCK_RECORDS,
  BLOCK_RW,
  BLOCK_RX,
  BLOCK_SERIAL,
  BLOCK_SIZE,
  BLOCK_TAIL,
  BLOCK_USED,
  CLASS_COUNT,
  HEADER_BLOCK_COUNT,
  HEADER_BLOCK_SIZE,
  HEADER_GENERATION,
  HEADER_GRANULE_SHIFT,
  HEADER_IMMEDIATE_RELEASE,
  HEADER_MAX_RESERVED_SIZE,
  HEADER_OWNERS,
  HEADER_PADDING,
  HEADER_POOL_COUNT,
  HEADER_RESERVED_SIZE,
  HEADER_SERIAL,
  NEXT,
  POOL_BLOCKS,
  POOL_CLASSES,
  POOL_CURRENT,
  POOL_DIRTY_BLOCKS,
  POOL_EMPTY,
  POOL_GRANULE_SHIFT,
  POOL_INDEXED_COUNT,
  POOL_INTEGERS,
  POOLS,
  PREV,
  RECORD_INTEGERS,
  UNIT_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
import { RecentRuns } from "./recent-runs.ts";
import { blockUnits, forgetIndex, generationUnits, layOutBlock, setPadding } from "./block.ts";
import { ringInit, ringInsert, ringRemove } from "./ring.ts";
import {
  absorbIntoTail,
  classOfRun,
  classThatHolds,
  clearFull,
  closeTail,
  findInWord,
  firstClassFrom,
  indexDirtyWords,
  markDirty,
  markDirtyGroup,
  reclaim,
} from "./run-index.ts";

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

/** Natural block sizes stop doubling here (asmjit's largest block): larger ones only delay what they give back. */
const LARGEST_NATURAL_BLOCK_BYTES = 64 * 1024 * 1024;

/**
 * So many groups of 32 dirty words are looked at before an allocation splits a hole: enough to keep up with any mix
 * of releases and allocations, and a bound on what one allocation pays for the releases before it.
 */
const GROUPS_AT_ONCE = 8;
const ALL_GROUPS = -1;

/** How many holes of the class below the one that surely holds a request are tried before a block is mapped. */
const SAME_CLASS_TRIES = 16;

/**
 * Blocks by address: 1024 entries, each for a mebibyte of addresses modulo 1024, cover the default limit of 2 GiB
 * twice over with 4 KiB that stay in the first-level cache.
 */
const LOOKUP_ENTRIES = 1024;
const LOOKUP_SCALE = 2 ** -20;

/** How a core is set up; every value has been checked. Sizes in bytes. */
export interface CoreOptions {
  readonly granularity: number;
  readonly poolCount: 1 | 3;
  readonly padding: boolean;
  readonly immediateRelease: boolean;
  readonly blockSize: number;
  readonly maxReservedSize: number;
}

export class Core {
  /** The block of the place the last operation found. */
  block = 0;
  /** Its first granule, counted from the block's start. */
  granule = 0;
  /** Its length in granules. */
  count = 0;

  words: Int32Array;
  doubles: Float64Array;

  readonly #arena: Arena;
  readonly #recent: RecentRuns;
  readonly #lookup = new Int32Array(LOOKUP_ENTRIES);
  readonly #baseShift: number;

  constructor(options: CoreOptions) {
    const fixedIntegers = POOLS + options.poolCount * POOL_INTEGERS;
    this.#arena = new Arena(fixedIntegers, mostIntegers(options));
    this.words = this.#arena.words;
    this.doubles = this.#arena.doubles;
    this.#recent = new RecentRuns(options.poolCount);
    const { words, doubles } = this;
    const shift = 31 - Math.clz32(options.granularity);
    this.#baseShift = shift;
    words[HEADER_GRANULE_SHIFT] = shift;
    words[HEADER_POOL_COUNT] = options.poolCount;
    words[HEADER_PADDING] = options.padding ? 1 : 0;
    words[HEADER_IMMEDIATE_RELEASE] = options.immediateRelease ? 1 : 0;
    doubles[HEADER_MAX_RESERVED_SIZE] = options.maxReservedSize;
    doubles[HEADER_BLOCK_SIZE] = options.blockSize;
    for (let index = 0; index < options.poolCount; index++) {
      const pool = poolAt(index);
      words[pool + POOL_GRANULE_SHIFT] = shift + index;
      ringInit(words, pool + POOL_BLOCKS);
      ringInit(words, pool + POOL_DIRTY_BLOCKS);
      for (let c = 0; c < CLASS_COUNT; c++) ringInit(words, pool + POOL_CLASSES + c * RECORD_INTEGERS);
    }
  }

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
    while (this.#recent.has(poolIndex, count)) {
      if (this.#takeRecent(pool, poolIndex, count)) return true;
    }
    if (words[pool + POOL_DIRTY_BLOCKS + NEXT] !== pool + POOL_DIRTY_BLOCKS) {
      indexDirtyWords(words, pool, GROUPS_AT_ONCE);
    }
    if (words[pool + POOL_INDEXED_COUNT] !== 0 && this.#takeIndexed(pool, count)) return true;
    const current = words[pool + POOL_CURRENT]!;
    if (current !== 0 && this.#append(current, count)) return true;
    return this.#allocElsewhere(pool, count);
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
    this.#makeCurrent(pool, empty);
    return this.#append(empty, count);
  }

  /** Takes granules from the block's untouched tail: the cheapest allocation there is. */
  #append(block: number, count: number): boolean {
    const words = this.words;
    const tail = words[block + BLOCK_TAIL]!;
    if (tail + count > words[block + BLOCK_CAPACITY]!) return false;
    words[block + BLOCK_TAIL] = tail + count;
    this.#occupy(block, tail, count);
    return true;
  }

  /** Takes a run that was released lately and is still free, as long as asked. */
  #takeRecent(pool: number, poolIndex: number, count: number): boolean {
    const words = this.words;
    const place = this.#recent.take(poolIndex, count);
    const record = (place >>> 5) << 2;
    const block = words[words[HEADER_OWNERS]! + (record >> UNIT_SHIFT)]!;
    // The block may be gone, its metadata may serve another pool's, and others may have taken granules of the run.
    if (block <= 0 || words[block + BLOCK_POOL]! !== pool) return false;
    const granule = ((record - words[block + BLOCK_RECORDS]!) << 3) + (place & 31);
    if (granule < 0 || granule + count > words[block + BLOCK_TAIL]!) return false;
    const bit = granule & 31;
    if (bit + count <= 32) {
      if ((words[record]! & bitRange(bit, count)) !== 0) return false;
      if (words[record]! === 0) clearFull(words, block, granule >>> 5);
    } else {
      if (!isFree(words, block, granule, count)) return false;
      clearFullRange(words, block, granule, count);
    }
    this.#occupy(block, granule, count);
    // Where the run was longer, what is left of it begins behind the end, and the index has to look at it.
    const after = granule + count;
    const afterRecord = words[block + BLOCK_RECORDS]! + ((after >>> 5) << 2);
    if (((words[afterRecord]! >>> (after & 31)) & 1) === 0) {
      markDirtyGroup(words, block, after >>> 10, 1 << ((after >>> 5) & 31));
    }
    return true;
  }

  /** Takes the front of a hole the index knows. */
  #takeIndexed(pool: number, count: number): boolean {
    const words = this.words;
    const wanted = classThatHolds(count);
    for (let c = firstClassFrom(words, pool, wanted); c >= 0; c = firstClassFrom(words, pool, wanted)) {
      const record = words[pool + POOL_CLASSES + (c << 2) + NEXT]!;
      if (this.#takeFromRecord(record, count)) return true;
      // The index said too much; now it stands in a lower class, or in none.
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
      const previous = words[record + PREV]!; // before the record moves to the front of a ring
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
    const bit = granule & 31;
    if (bit + count <= 32) {
      words[record] = words[record]! | bitRange(bit, count);
      words[record + 1] = words[record + 1]! | (1 << (bit + count - 1));
    } else {
      const last = granule + count - 1;
      const lastRecord = words[block + BLOCK_RECORDS]! + ((last >>> 5) << 2);
      words[record] = words[record]! | (-1 << bit);
      for (let r = record + RECORD_INTEGERS; r < lastRecord; r += RECORD_INTEGERS) words[r] = -1;
      words[lastRecord] = words[lastRecord]! | (-1 >>> (31 - (last & 31)));
      words[lastRecord + 1] = words[lastRecord + 1]! | (1 << (last & 31));
    }
    words[block + BLOCK_USED] = words[block + BLOCK_USED]! + count;
    const live = words[block + BLOCK_LIVE]!;
    words[block + BLOCK_LIVE] = live + 1;
    if (live === 0) this.#noLongerEmpty(block);
    this.block = block;
    this.granule = granule;
    this.count = count;
  }

  #noLongerEmpty(block: number): void {
    const pool = this.words[block + BLOCK_POOL]!;
    if (this.words[pool + POOL_EMPTY] === block) this.words[pool + POOL_EMPTY] = 0;
  }

  // --- finding ------------------------------------------------------------------------------------------------

  /** The block that holds `address`, or 0. */
  find(address: number): number {
    const doubles = this.doubles;
    const entry = (address * LOOKUP_SCALE) & (LOOKUP_ENTRIES - 1);
    const known = this.#lookup[entry]!;
    if (known !== 0) {
      const offset = address - doubles[(known >> 1) + BLOCK_RX]!;
      if (offset >= 0 && offset < doubles[(known >> 1) + BLOCK_SIZE]!) return known;
    }
    const block = treeFind(this.words, doubles, address);
    if (block !== 0) this.#lookup[entry] = block;
    return block;
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
    const before =
      bit !== 0
        ? ((used & ~words[record + 1]!) >>> (bit - 1)) & 1
        : (words[record - 4]! & ~words[record - 3]!) >>> 31;
    if (before !== 0 || granule << shift !== offset) {
      this.granule = this.#startOf(block, granule);
      return INTERIOR_ADDRESS;
    }
    return OK;
  }

  /** Finds the allocation that contains `address`: OK, UNKNOWN_ADDRESS or NOT_ALLOCATED. Sets `count` too. */
  locate(address: number): number {
    let status = this.locateStart(address);
    if (status === INTERIOR_ADDRESS) status = OK;
    if (status === OK) this.count = this.lengthAt(this.block, this.granule);
    return status;
  }

  /** The length in granules of the allocation that begins at `granule`. */
  lengthAt(block: number, granule: number): number {
    const words = this.words;
    let record = words[block + BLOCK_RECORDS]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const stops = words[record + 1]! >>> bit;
    if (stops !== 0) return lowestBit(stops) + 1;
    let length = 32 - bit;
    for (;;) {
      record += RECORD_INTEGERS;
      const stop = words[record + 1]!;
      if (stop !== 0) return length + lowestBit(stop) + 1;
      length += 32;
    }
  }

  /** The first granule of the allocation that `granule` is part of. */
  #startOf(block: number, granule: number): number {
    const words = this.words;
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

  // --- release ------------------------------------------------------------------------------------------------

  /** Releases the allocation that begins at `address`. SURPLUS_BLOCK and the failures of `locateStart` change nothing. */
  release(address: number): number {
    const status = this.locateStart(address);
    return status === OK ? this.free(this.block, this.granule) : status;
  }

  /** Releases the allocation that begins at `granule`, which is known to be one. OK or SURPLUS_BLOCK. */
  free(block: number, granule: number): number {
    const words = this.words;
    const live = words[block + BLOCK_LIVE]! - 1;
    const count = this.lengthAt(block, granule);
    this.block = block;
    this.granule = granule;
    this.count = count;
    if (live === 0 && this.#isSurplus(block)) return SURPLUS_BLOCK;
    words[block + BLOCK_LIVE] = live;
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0) {
      words[generations + granule] = 0;
      if (count > 1) words[generations + granule + 1] = 0;
    }
    this.#vacate(block, granule, count);
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
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0 && words[generations + granule] !== 0) {
      words[generations + granule + 1] = newCount === 1 ? 0 : newCount;
    }
    this.block = block;
    this.granule = granule;
    this.count = newCount;
  }

  /** Clears the granules at the end of an allocation, its stop bit among them, and leaves the rest to the index. */
  #vacate(block: number, granule: number, count: number): void {
    const words = this.words;
    const word = granule >>> 5;
    const record = words[block + BLOCK_RECORDS]! + (word << 2);
    const bit = granule & 31;
    const last = granule + count - 1;
    if (bit + count <= 32) {
      words[record] = words[record]! & ~bitRange(bit, count);
      words[record + 1] = words[record + 1]! & ~(1 << (bit + count - 1));
    } else {
      const lastRecord = words[block + BLOCK_RECORDS]! + ((last >>> 5) << 2);
      words[record] = words[record]! & ~(-1 << bit);
      for (let r = record + RECORD_INTEGERS; r < lastRecord; r += RECORD_INTEGERS) words[r] = 0;
      words[lastRecord] = words[lastRecord]! & ~(-1 >>> (31 - (last & 31)));
      words[lastRecord + 1] = words[lastRecord + 1]! & ~(1 << (last & 31));
    }
    words[block + BLOCK_USED] = words[block + BLOCK_USED]! - count;
    if (
      last + 1 === words[block + BLOCK_TAIL]! &&
      words[words[block + BLOCK_POOL]! + POOL_CURRENT] === block
    ) {
      words[block + BLOCK_TAIL] = granule; // it was the last one before the tail, which takes it back
      return;
    }
    if (bit + count <= 32) markDirtyGroup(words, block, granule >>> 10, 1 << (word & 31));
    else markDirty(words, block, word, last >>> 5);
    this.#recent.add(words[block + BLOCK_GRANULE_SHIFT]! - this.#baseShift, count, (record << 3) + bit);
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

  // --- spans --------------------------------------------------------------------------------------------------

  /**
   * The generation of the live allocation of `count` granules that begins at `granule`; given now if it had none.
   * Never 0, except where there is no room for the block's generations.
   */
  generationOf(block: number, granule: number, count: number): number {
    let generations = this.words[block + BLOCK_GENERATIONS]!;
    if (generations === 0) {
      const units = generationUnits(this.words[block + BLOCK_CAPACITY]!);
      generations = this.#take(units, false);
      if (generations === 0) return 0;
      this.words[block + BLOCK_GENERATIONS] = generations;
    }
    const words = this.words;
    const known = words[generations + granule]!;
    if (known !== 0) return known;
    // Always negative, so that it can not be taken for the length beside it.
    const generation = (words[HEADER_GENERATION]! + 1) | -0x8000_0000;
    words[HEADER_GENERATION] = generation;
    words[generations + granule] = generation;
    if (count > 1) words[generations + granule + 1] = count;
    return generation;
  }

  /** Whether the allocation that begins at `granule` is still the one that was given `generation`. */
  isLive(block: number, granule: number, generation: number): boolean {
    return this.words[this.words[block + BLOCK_GENERATIONS]! + granule] === generation;
  }

  /** The length in granules of a live allocation that has a generation and once had `count` granules. */
  currentCount(block: number, granule: number, count: number): number {
    if (count === 1) return 1;
    // Where the second granule is no longer its own, its length is not there: it is 1.
    return Math.max(this.words[this.words[block + BLOCK_GENERATIONS]! + granule + 1]!, 1);
  }

  // --- blocks -------------------------------------------------------------------------------------------------

  /**
   * How large a block to map for an allocation of `count` granules, in bytes; 0 where `maxReservedSize` has no room.
   * `smallest`: just what the allocation needs; otherwise twice the pool's last block.
   */
  planBlock(poolIndex: number, count: number, smallest: boolean): number {
    const { words, doubles } = this;
    const pool = poolAt(poolIndex);
    const blockSize = doubles[HEADER_BLOCK_SIZE]!;
    const granuleBytes = 1 << words[pool + POOL_GRANULE_SHIFT]!;
    const needed = Math.ceil(((count + words[HEADER_PADDING]!) * granuleBytes) / blockSize) * blockSize;
    const room = doubles[HEADER_MAX_RESERVED_SIZE]! - doubles[HEADER_RESERVED_SIZE]!;
    if (needed > room) return 0;
    const last = words[pool + POOL_BLOCKS + PREV]!;
    if (smallest) return needed;
    let natural = blockSize;
    if (last !== pool + POOL_BLOCKS) {
      const before = words[last + PREV]!;
      const a = doubles[((last - BLOCK_IN_POOL) >> 1) + BLOCK_SIZE]!;
      const b = before === pool + POOL_BLOCKS ? 0 : doubles[((before - BLOCK_IN_POOL) >> 1) + BLOCK_SIZE]!;
      natural = Math.min(a === b ? a * 2 : a, Math.max(LARGEST_NATURAL_BLOCK_BYTES, blockSize));
    }
    return Math.min(Math.max(natural, needed), Math.floor(room / blockSize) * blockSize);
  }

  /**
   * Adds a mapped block, empty, as the one its pool appends to. Returns it, or 0 where there is no room for its
   * metadata (nothing has changed).
   */
  addBlock(poolIndex: number, rx: number, rw: number, sizeBytes: number): number {
    const pool = poolAt(poolIndex);
    const shift = this.words[pool + POOL_GRANULE_SHIFT]!;
    const capacity = sizeBytes / 2 ** shift;
    const block = this.#take(blockUnits(capacity), true);
    if (block === 0) return 0;
    const { words, doubles } = this;
    doubles[(block >> 1) + BLOCK_RX] = rx;
    doubles[(block >> 1) + BLOCK_RW] = rw;
    doubles[(block >> 1) + BLOCK_SIZE] = sizeBytes;
    words[block + BLOCK_GRANULE_SHIFT] = shift;
    words[block + BLOCK_CAPACITY] = capacity;
    words[block + BLOCK_POOL] = pool;
    words[block + BLOCK_PADDING] = words[HEADER_PADDING]!;
    words[HEADER_SERIAL] = words[HEADER_SERIAL]! + 1;
    words[block + BLOCK_SERIAL] = words[HEADER_SERIAL]!;
    layOutBlock(words, block, capacity);
    setPadding(words, block);
    treeInsert(words, doubles, block);
    ringInsert(words, words[pool + POOL_BLOCKS + PREV]!, block + BLOCK_IN_POOL);
    words[HEADER_BLOCK_COUNT] = words[HEADER_BLOCK_COUNT]! + 1;
    doubles[HEADER_RESERVED_SIZE] = doubles[HEADER_RESERVED_SIZE]! + sizeBytes;
    this.#makeCurrent(pool, block);
    return block;
  }

  /** Forgets a block that has been unmapped, whatever it held. */
  removeBlock(block: number): void {
    const { words, doubles } = this;
    const pool = words[block + BLOCK_POOL]!;
    const capacity = words[block + BLOCK_CAPACITY]!;
    forgetIndex(words, block, capacity);
    if (words[pool + POOL_CURRENT] === block) words[pool + POOL_CURRENT] = 0;
    if (words[pool + POOL_EMPTY] === block) words[pool + POOL_EMPTY] = 0;
    ringRemove(words, block + BLOCK_IN_POOL);
    treeRemove(words, block);
    words[HEADER_BLOCK_COUNT] = words[HEADER_BLOCK_COUNT]! - 1;
    doubles[HEADER_RESERVED_SIZE] = doubles[HEADER_RESERVED_SIZE]! - doubles[(block >> 1) + BLOCK_SIZE]!;
    this.#lookup.fill(0);
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0) this.#arena.give(generations, generationUnits(capacity));
    this.#arena.give(block, blockUnits(capacity));
  }

  /** Releases all that a block holds at once, and makes it its pool's empty one. */
  clearBlock(block: number): void {
    const words = this.words;
    const pool = words[block + BLOCK_POOL]!;
    const capacity = words[block + BLOCK_CAPACITY]!;
    forgetIndex(words, block, capacity);
    const records = words[block + BLOCK_RECORDS]!;
    words.fill(0, records, records + (capacity >>> 5) * RECORD_INTEGERS);
    const generations = words[block + BLOCK_GENERATIONS]!;
    if (generations !== 0) words.fill(0, generations, generations + capacity);
    words[block + BLOCK_LIVE] = 0;
    setPadding(words, block);
    words[pool + POOL_EMPTY] = block;
  }

  /** The block with the lowest address, or 0; then `nextBlock`. */
  firstBlock(): number {
    return treeFirst(this.words);
  }

  nextBlock(block: number): number {
    return treeNext(this.words, block);
  }

  /** The block its pool has mapped longest, or 0. */
  oldestBlock(poolIndex: number): number {
    const sentinel = poolAt(poolIndex) + POOL_BLOCKS;
    const node = this.words[sentinel + NEXT]!;
    return node === sentinel ? 0 : node - BLOCK_IN_POOL;
  }

  /** The empty block a pool keeps, or 0. */
  emptyBlock(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + POOL_EMPTY]!;
  }

  /** The address (rx) of a granule. */
  addressOf(block: number, granule: number): number {
    return this.doubles[(block >> 1) + BLOCK_RX]! + (granule << this.words[block + BLOCK_GRANULE_SHIFT]!);
  }

  /** log2 of a pool's granularity in bytes. */
  granuleShiftOf(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + POOL_GRANULE_SHIFT]!;
  }

  /** A small number that no other block has at the same time. */
  blockNumber(block: number): number {
    return block >> UNIT_SHIFT;
  }

  get blockCount(): number {
    return this.words[HEADER_BLOCK_COUNT]!;
  }

  /** Bytes of all blocks together. */
  get reservedBytes(): number {
    return this.doubles[HEADER_RESERVED_SIZE]!;
  }

  /** All metadata, in bytes: the shared buffer and what this thread keeps beside it. */
  get overheadBytes(): number {
    return this.words.byteLength + this.#recent.byteLength + this.#lookup.byteLength;
  }

  #makeCurrent(pool: number, block: number): void {
    const words = this.words;
    const before = words[pool + POOL_CURRENT]!;
    if (before !== 0) {
      // An empty block stays untouched as it is, for the day it is used again.
      if (words[pool + POOL_EMPTY] !== before) closeTail(words, before, words[before + BLOCK_CAPACITY]!);
    }
    words[pool + POOL_CURRENT] = block;
    if (words[block + BLOCK_LIVE] === 0 && words[pool + POOL_EMPTY] === 0) words[pool + POOL_EMPTY] = block;
  }

  #take(unitCount: number, isBlock: boolean): number {
    const index = this.#arena.take(unitCount, isBlock);
    this.words = this.#arena.words;
    this.doubles = this.#arena.doubles;
    return index;
  }
}

/**
 * The most the buffer may have to hold: for every word of granules its record and its generations, half as much again
 * for chunks that lie free in between, and room for the fixed part of many small blocks.
 */
function mostIntegers(options: CoreOptions): number {
  const wordBytes = 32 * options.granularity;
  const perWord = RECORD_INTEGERS + 32;
  const blocks = Math.ceil(options.maxReservedSize / options.blockSize) + options.poolCount;
  const perBlock = 2 * UNIT_INTEGERS + BLOCK_INTEGERS;
  const blockIntegers = blocks * perBlock + (options.maxReservedSize / wordBytes) * perWord;
  return POOLS + options.poolCount * POOL_INTEGERS + Math.ceil(blockIntegers * 1.5) + 64 * UNIT_INTEGERS;
}

function poolAt(poolIndex: number): number {
  return POOLS + poolIndex * POOL_INTEGERS;
}

/** Whether `count` granules from `granule` on are free; they lie below the tail. */
function isFree(words: Int32Array, block: number, granule: number, count: number): boolean {
  const records = words[block + BLOCK_RECORDS]!;
  const last = granule + count - 1;
  const lastRecord = records + ((last >>> 5) << 2);
  let record = records + ((granule >>> 5) << 2);
  if (record === lastRecord) return (words[record]! & bitRange(granule & 31, count)) === 0;
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
