/** The state that all operations of the core work on: the buffer, its views, and what its header and blocks say. */
import { Arena } from "./arena.ts";
import { treeFirst, treeNext } from "./block-tree.ts";
import type { Spans } from "./layout.ts";
import { Block, Classes, Format, Header, Kind, Link, Lookup, Pool, Pools, Size, Unit } from "./layout.ts";
import { ringInit } from "./ring.ts";

/**
 * The least number of chunks (64 KiB) at which the lists of a pool are made anew. By then every class can have a chunk or
 * two, and making the lists anew costs little compared with the entries made since.
 */
export const LEAST_CHUNK_LIMIT = 256;

/** How a core is set up; every value has been checked. Sizes in bytes. */
export interface CoreOptions {
  readonly granularity: number;
  /** The pools of each kind: 1, or 3 with granules of 1, 2 and 4 times the granularity. */
  readonly poolsPerKind: 1 | 3;
  readonly padding: boolean;
  readonly immediateRelease: boolean;
  readonly blockSize: number;
  readonly maxReservedSize: number;
  /** Whether there is a pool for a reserve. Default false. */
  readonly hasReserve?: boolean;
}

/** All pools of a core with these options. */
function poolCountOf({ poolsPerKind, hasReserve }: CoreOptions): number {
  return Kind.count * poolsPerKind + (hasReserve === true ? 1 : 0);
}

/** The index in the buffer of the pool with the number `poolIndex`, from 0. */
export function poolAt(poolIndex: number): number {
  return Pools.start + poolIndex * Size.pool;
}

/**
 * The buffer of a core, the views of it, and the place that the last operation found.
 *
 * What the core does are functions that take it, one module for each concern, and the methods of `Core`.
 */
export class State {
  words: Int32Array;
  doubles: Float64Array;
  /** The allocator of the buffer's chunks. */
  arena: Arena;
  /** The block of the place that the last operation found. */
  block = 0;
  /** The first granule of that place, counted from the block's start. */
  granule = 0;

  /**
   * @param shared the buffer of another state with the same options, to be shared with it
   * @param spare the buffer of a state that has given it away, to be used instead of a new one if it fits
   */
  constructor(options: CoreOptions, shared?: SharedArrayBuffer, spare?: SharedArrayBuffer) {
    this.arena = new Arena(fixedIntegers(options), mostIntegers(options), shared, spare);
    this.words = this.arena.words;
    this.doubles = this.arena.doubles;
    if (shared === undefined) layOutState(this.words, this.doubles, options);
  }

  /**
   * Gives the buffer away, cleared. From then on this is the state of an allocator without blocks, in a buffer that cannot
   * grow. Precondition: there are no blocks, and no other state has the buffer.
   */
  giveBuffer(options: CoreOptions): SharedArrayBuffer {
    const { buffer, maxReservedBytes } = this;
    this.words.fill(0, 0, this.words[Header.unitCount]! << Unit.shift);
    this.arena = new Arena(fixedIntegers(options), 0);
    this.#takeViews();
    layOutState(this.words, this.doubles, { ...options, maxReservedSize: maxReservedBytes });
    return buffer;
  }

  /** The shared buffer, for the state of another thread. */
  get buffer(): SharedArrayBuffer {
    return this.arena.buffer;
  }

  /**
   * Checks that the stack has room for a first call. Called before rare operations change anything; throws a RangeError
   * otherwise. Injected, because the core knows no runtime.
   */
  needRoom: () => void = needNothing;

  /** After a failure for lack of metadata: the most bytes of metadata allowed, or 0 where the system had no memory. */
  get metadataLimit(): number {
    return this.arena.isFull ? this.buffer.maxByteLength : 0;
  }

  /** The number by which {@link isStateBuffer} recognizes the buffer. */
  set seal(value: number) {
    this.words[Header.seal] = value;
  }

  /** Makes the views anew, after another thread may have grown the buffer. */
  refreshViews(): void {
    this.arena.refreshViews();
    this.#takeViews();
  }

  /** Takes over the views of the arena, which makes new ones when the buffer grows. */
  #takeViews(): void {
    this.words = this.arena.words;
    this.doubles = this.arena.doubles;
  }

  /** The generation that was given last. */
  get generation(): number {
    return this.words[Header.generation]!;
  }

  /** Sets the last generation given: the next one follows it. The caller must see to it that none is given twice. */
  set generation(value: number) {
    this.words[Header.generation] = value;
  }

  // --- what there is ------------------------------------------------------------------------------------------

  /** The block with the lowest address, or 0. `nextBlock` goes on from there. */
  firstBlock(): number {
    return treeFirst(this.words);
  }

  nextBlock(block: number): number {
    return treeNext(this.words, this.doubles, block);
  }

  /** The pool's block that has been mapped longest, or 0. */
  oldestBlock(poolIndex: number): number {
    const sentinel = poolAt(poolIndex) + Pool.blocks;
    const node = this.words[sentinel + Link.next]!;
    return node === sentinel ? 0 : node - Block.inPool;
  }

  /** The empty block a pool keeps, or 0. */
  emptyBlock(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + Pool.empty]!;
  }

  /**
   * A number that no other block has at the same time. It was the smallest free one when the block was added, so that
   * tables indexed by it stay dense.
   */
  blockNumber(block: number): number {
    return this.words[block + Block.number]!;
  }

  /** The number of a block's pool, from 0. */
  poolIndexOf(block: number): number {
    return (this.words[block + Block.pool]! - Pools.start) / Size.pool;
  }

  /** Bytes of a block. */
  sizeOf(block: number): number {
    return this.doubles[(block >> 1) + Block.size]!;
  }

  /** Whether a block has no allocation. */
  isEmpty(block: number): boolean {
    return this.words[block + Block.live] === 0;
  }

  /** The kind of a block, from its pool. */
  kindOf(block: number): Kind {
    return this.kindOfPool(this.poolIndexOf(block));
  }

  kindOfPool(poolIndex: number): Kind {
    return Math.floor(poolIndex / this.words[Header.poolsPerKind]!) % Kind.count; // the reserve is code
  }

  /** The pool of the reserve; -1 = there is none. */
  get reservePool(): number {
    const pool = this.words[Header.reservePool]!;
    return pool === 0 ? -1 : (pool - Pools.start) / Size.pool;
  }

  /** Whether a block is the reserve. */
  isReserve(block: number): boolean {
    return this.words[block + Block.pool] === this.words[Header.reservePool];
  }

  /** All pools, of all kinds. */
  get poolCount(): number {
    return this.words[Header.poolCount]!;
  }

  /** log2 of a pool's granularity in bytes. */
  granuleShiftOf(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + Pool.granuleShift]!;
  }

  /** Whether a block is unmapped as soon as it is empty. */
  get immediateRelease(): boolean {
    return this.words[Header.immediateRelease] !== 0;
  }

  get blockCount(): number {
    return this.words[Header.blockCount]!;
  }

  /** The size of all blocks together, in bytes. */
  get reservedBytes(): number {
    return this.doubles[Header.reservedSize]!;
  }

  /** Bytes: what all blocks together may reserve. */
  get maxReservedBytes(): number {
    return this.doubles[Header.maxReservedSize]!;
  }

  /** Lowers what all blocks together may reserve, because the system has fewer addresses than the options want. */
  limitReserved(sizeBytes: number): void {
    if (sizeBytes < this.maxReservedBytes) this.doubles[Header.maxReservedSize] = sizeBytes;
  }

  /** All metadata, in bytes: the units that are laid out in the buffer. */
  get overheadBytes(): number {
    return this.words[Header.unitCount]! * Unit.integers * 4;
  }

  /** The state of the spans of a block. */
  spansOf(block: number): Spans {
    return this.words[block + Block.spans]!;
  }

  /** Takes a zeroed chunk, or returns 0. The views `words` and `doubles` may be new ones afterwards. */
  takeUnits(unitCount: number, isBlock: boolean): number {
    const index = this.arena.take(unitCount, isBlock);
    this.#takeViews();
    return index;
  }

  /** Promises units (`Arena.promise`). The views `words` and `doubles` may be new ones afterwards. */
  promiseUnits(unitCount: number): boolean {
    const isPromised = this.arena.promise(unitCount);
    this.#takeViews();
    return isPromised;
  }
}

/** The index in the buffer of the reserve's pool, the last one; 0 = there is none. */
function reserveOf(options: CoreOptions): number {
  return options.hasReserve === true ? poolAt(poolCountOf(options) - 1) : 0;
}

/** The integers that the fixed part of the buffer takes. */
function fixedIntegers(options: CoreOptions): number {
  return Pools.start + poolCountOf(options) * Size.pool;
}

/** Lays out the fixed part of a buffer, which an arena has made: an allocator without blocks. */
function layOutState(words: Int32Array, doubles: Float64Array, options: CoreOptions): void {
  const shift = 31 - Math.clz32(options.granularity);
  words[Header.granuleShift] = shift;
  words[Header.poolCount] = poolCountOf(options);
  words[Header.poolsPerKind] = options.poolsPerKind;
  words[Header.reservePool] = reserveOf(options);
  words[Header.padding] = options.padding ? 1 : 0;
  words[Header.immediateRelease] = options.immediateRelease ? 1 : 0;
  layOutLookUp(words);
  doubles[Header.maxReservedSize] = options.maxReservedSize;
  doubles[Header.blockSize] = options.blockSize;
  for (let index = 0; index < poolCountOf(options); index++) layOutPool(words, index);
}

function needNothing(): void {
  // The default, until a check is injected.
}

/** Whether a buffer belongs to a state with these options and that seal. */
export function isStateBuffer(buffer: SharedArrayBuffer, options: CoreOptions, seal: number): boolean {
  if (buffer.byteLength < fixedIntegers(options) * 4) return false;
  const words = new Int32Array(buffer, 0, Size.header);
  // In this order: another thread may be growing it.
  const unitCount = Atomics.load(words, Header.unitCount);
  return (
    unitCount * Unit.integers * 4 <= buffer.byteLength &&
    words[Header.maxIntegers] === buffer.maxByteLength >> 2 &&
    isSetUp(words, new Float64Array(buffer, 0, Size.header >> 1), options, seal)
  );
}

/** Whether the header's constants have the values that these options and that seal give them. */
export function isSetUp(
  words: Int32Array,
  doubles: Float64Array,
  options: CoreOptions,
  seal: number,
): boolean {
  return (
    words[Header.magic] === Format.magic &&
    words[Header.version] === Format.version &&
    words[Header.seal] === seal &&
    words[Header.granuleShift] === 31 - Math.clz32(options.granularity) &&
    words[Header.poolCount] === poolCountOf(options) &&
    words[Header.poolsPerKind] === options.poolsPerKind &&
    words[Header.reservePool] === reserveOf(options) &&
    words[Header.padding] === (options.padding ? 1 : 0) &&
    words[Header.immediateRelease] === (options.immediateRelease ? 1 : 0) &&
    // The system may have had fewer addresses.
    doubles[Header.maxReservedSize]! <= options.maxReservedSize &&
    doubles[Header.maxReservedSize]! >= options.blockSize &&
    doubles[Header.blockSize] === options.blockSize
  );
}

/** Sets up the look-up (lookup.ts) of an allocator without blocks: a table in the fixed part of the buffer, which is exact. */
export function layOutLookUp(words: Int32Array): void {
  words[Header.lookup] = Lookup.start;
  words[Header.lookupMask] = Lookup.entries - 1;
  words[Header.frameShift] = Lookup.leastShift;
  words[Header.isExact] = 1;
  words.fill(0, Lookup.start, Lookup.start + Lookup.entries);
}

/** log2 of a pool's granularity, from the header's constants alone: what a pool says of itself may be half written. */
export function shiftOfPool(words: Int32Array, poolIndex: number): number {
  return words[Header.granuleShift]! + (poolIndex % words[Header.poolsPerKind]!);
}

/** Sets up an empty pool: its granularity, its ring and its lists. */
export function layOutPool(words: Int32Array, poolIndex: number): void {
  const pool = poolAt(poolIndex);
  words.fill(0, pool, pool + Size.pool);
  words[pool + Pool.granuleShift] = shiftOfPool(words, poolIndex);
  words[pool + Pool.chunkLimit] = LEAST_CHUNK_LIMIT;
  ringInit(words, pool + Pool.blocks);
  ringInit(words, pool + Pool.dirtyBlocks);
  words.fill(-1, pool + Pool.classTops, pool + Pool.classTops + Classes.count);
}

/**
 * The most integers that the buffer may need: for every word of granules its record, its generations and its entries in
 * lists (at most 16 runs, each listed twice, and as many stale entries); half as much again for free chunks in between;
 * and room for the fixed part of many small blocks.
 */
function mostIntegers(options: CoreOptions): number {
  const wordBytes = 32 * options.granularity;
  const perWord = Size.record + 32 + 64;
  const blocks = Math.ceil(options.maxReservedSize / options.blockSize) + poolCountOf(options);
  const perBlock = 2 * Unit.integers + Size.block;
  const blockIntegers = blocks * perBlock + (options.maxReservedSize / wordBytes) * perWord;
  return fixedIntegers(options) + Math.ceil(blockIntegers * 1.5) + 64 * Unit.integers;
}
