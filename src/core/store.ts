/** The buffer and the blocks in it: what is mapped, where, and how large the next one is to be. */
import { Arena } from "./arena.ts";
import { blockUnits, forgetIndex, generationUnits, layOutBlock, setPadding } from "./block.ts";
import { treeFind, treeFirst, treeInsert, treeNext, treeRemove } from "./block-tree.ts";
import {
  BLOCK_CAPACITY,
  BLOCK_GENERATIONS,
  BLOCK_GRANULE_SHIFT,
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
  CLASS_COUNT,
  HEADER_BLOCK_COUNT,
  HEADER_BLOCK_SIZE,
  HEADER_GRANULE_SHIFT,
  HEADER_IMMEDIATE_RELEASE,
  HEADER_MAX_RESERVED_SIZE,
  HEADER_PADDING,
  HEADER_POOL_COUNT,
  HEADER_RESERVED_SIZE,
  HEADER_SERIAL,
  LOOKUP,
  LOOKUP_ENTRIES,
  LOOKUP_SCALE,
  NEXT,
  POOL_BLOCKS,
  POOL_CLASSES,
  POOL_CURRENT,
  POOL_DIRTY_BLOCKS,
  POOL_EMPTY,
  POOL_GRANULE_SHIFT,
  POOL_INTEGERS,
  POOLS,
  PREV,
  RECORD_INTEGERS,
  UNIT_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
import { ringInit, ringInsert, ringRemove } from "./ring.ts";
import { closeTail } from "./run-index.ts";

/** Natural block sizes stop doubling here (asmjit's largest block): larger ones only delay what they give back. */
const LARGEST_NATURAL_BLOCK_BYTES = 64 * 1024 * 1024;

/** How a core is set up; every value has been checked. Sizes in bytes. */
export interface CoreOptions {
  readonly granularity: number;
  readonly poolCount: 1 | 3;
  readonly padding: boolean;
  readonly immediateRelease: boolean;
  readonly blockSize: number;
  readonly maxReservedSize: number;
}

/** The index of a pool, which counts from 0. */
export function poolAt(poolIndex: number): number {
  return POOLS + poolIndex * POOL_INTEGERS;
}

/** The part of the core that knows blocks, not what is allocated in them. */
export class Store {
  words: Int32Array;
  doubles: Float64Array;
  readonly #arena: Arena;

  constructor(options: CoreOptions) {
    this.#arena = new Arena(POOLS + options.poolCount * POOL_INTEGERS, mostIntegers(options));
    this.words = this.#arena.words;
    this.doubles = this.#arena.doubles;
    const { words, doubles } = this;
    const shift = 31 - Math.clz32(options.granularity);
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

  // --- what there is ------------------------------------------------------------------------------------------

  /** The block that holds `address`, or 0. */
  find(address: number): number {
    const { words, doubles } = this;
    const entry = LOOKUP + ((address * LOOKUP_SCALE) & (LOOKUP_ENTRIES - 1));
    const known = words[entry]!;
    const offset = address - doubles[(known >> 1) + BLOCK_RX]!;
    if (known !== 0 && offset >= 0 && offset < doubles[(known >> 1) + BLOCK_SIZE]!) return known;
    const block = treeFind(words, doubles, address);
    if (block !== 0) words[entry] = block;
    return block;
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

  /** A small number that no other block has at the same time. */
  blockNumber(block: number): number {
    return block >> UNIT_SHIFT;
  }

  /** log2 of a pool's granularity in bytes. */
  granuleShiftOf(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + POOL_GRANULE_SHIFT]!;
  }

  get blockCount(): number {
    return this.words[HEADER_BLOCK_COUNT]!;
  }

  /** Bytes of all blocks together. */
  get reservedBytes(): number {
    return this.doubles[HEADER_RESERVED_SIZE]!;
  }

  /** All metadata, in bytes. */
  get overheadBytes(): number {
    return this.words.byteLength;
  }

  // --- adding and removing ------------------------------------------------------------------------------------

  /**
   * How large a block to map for an allocation of `count` granules, in bytes; 0 where `maxReservedSize` has no room.
   * `smallest`: just what the allocation needs; otherwise what is natural. `extraRoom` bytes count as free already.
   *
   * Each natural size comes twice before it doubles, so that half of what is reserved is never more than a third
   * unused, and the sum never more than asmjit's, which begins with twice the block size and doubles each time.
   */
  planBlock(poolIndex: number, count: number, smallest: boolean, extraRoom = 0): number {
    const { words, doubles } = this;
    const pool = poolAt(poolIndex);
    const blockSize = doubles[HEADER_BLOCK_SIZE]!;
    const granuleBytes = 1 << words[pool + POOL_GRANULE_SHIFT]!;
    const needed = Math.ceil(((count + words[HEADER_PADDING]!) * granuleBytes) / blockSize) * blockSize;
    const room = doubles[HEADER_MAX_RESERVED_SIZE]! - doubles[HEADER_RESERVED_SIZE]! + extraRoom;
    if (needed > room) return 0;
    if (smallest) return needed;
    const natural = Math.max(this.#naturalSize(pool, blockSize), needed);
    return Math.min(natural, Math.floor(room / blockSize) * blockSize);
  }

  #naturalSize(pool: number, blockSize: number): number {
    const { words, doubles } = this;
    const sizeOf = (node: number): number =>
      node === pool + POOL_BLOCKS ? 0 : doubles[((node - BLOCK_IN_POOL) >> 1) + BLOCK_SIZE]!;
    const last = words[pool + POOL_BLOCKS + PREV]!;
    const lastSize = sizeOf(last);
    const isSecond = sizeOf(words[last + PREV]!) === lastSize;
    const largest = Math.max(LARGEST_NATURAL_BLOCK_BYTES, blockSize);
    return Math.max(Math.min(isSecond ? lastSize * 2 : lastSize, largest), blockSize);
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
    this.makeCurrent(pool, block);
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
    words.fill(0, LOOKUP, LOOKUP + LOOKUP_ENTRIES);
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

  /** From now on the pool appends to this block; what is left of the tail it appended to goes to the index. */
  makeCurrent(pool: number, block: number): void {
    const words = this.words;
    const before = words[pool + POOL_CURRENT]!;
    // An empty block stays untouched as it is, for the day it is used again.
    if (before !== 0 && words[pool + POOL_EMPTY] !== before) {
      closeTail(words, before, words[before + BLOCK_CAPACITY]!);
    }
    words[pool + POOL_CURRENT] = block;
    if (words[block + BLOCK_LIVE] === 0 && words[pool + POOL_EMPTY] === 0) words[pool + POOL_EMPTY] = block;
  }

  /** The generations of a block, made if it has none yet; 0 where there is no room for them. */
  generationsOf(block: number): number {
    const known = this.words[block + BLOCK_GENERATIONS]!;
    if (known !== 0) return known;
    const generations = this.#take(generationUnits(this.words[block + BLOCK_CAPACITY]!), false);
    this.words[block + BLOCK_GENERATIONS] = generations;
    return generations;
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
