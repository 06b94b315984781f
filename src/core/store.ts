/** The buffer and the blocks in it: adds, finds and removes blocks, and plans the size of the next one. */
import { assert } from "../base/assert.ts";
import { Arena } from "./arena.ts";
import { broken } from "./broken.ts";
import { blockUnits, clearGranules, forgetDirty, generationUnits, layOutBlock, setPadding } from "./block.ts";
import { treeFind, treeFirst, treeInsert, treeNext, treeRemove } from "./block-tree.ts";
import { Block, Classes, Format, Header, Link, Lookup, Pool, Pools, Size, Spans, Unit } from "./layout.ts";
import { armTrim } from "./thrift.ts";
import { ringInit, ringInsert, ringNext, ringRemove } from "./ring.ts";

/** The largest natural block size (asmjit's largest block): larger blocks only give memory back later. */
const LARGEST_NATURAL_BLOCK_BYTES = 64 * 1024 * 1024;

/**
 * In block sizes (4 MiB by default): from here on, two halves take the place of one of asmjit's steps. For smaller steps,
 * mapping one more block costs a program of so little code more than the addresses it saves are worth.
 */
const LEAST_HALVED_STEP = 64;

/**
 * The least number of chunks (64 KiB) at which the lists of a pool are made anew. By then every class can have a chunk or
 * two, and making the lists anew costs little compared with the entries made since.
 */
export const LEAST_CHUNK_LIMIT = 256;

/** How a core is set up; every value has been checked. Sizes in bytes. */
export interface CoreOptions {
  readonly granularity: number;
  readonly poolCount: 1 | 3;
  readonly padding: boolean;
  readonly immediateRelease: boolean;
  readonly blockSize: number;
  readonly maxReservedSize: number;
}

/** The block that the look-up names for an address: mostly the one that holds it, else another block, or index 0. */
export function lookUp(words: Int32Array, address: number): number {
  return words[Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1))]!;
}

/** The index in the buffer of the pool with the number `poolIndex`, from 0. */
export function poolAt(poolIndex: number): number {
  return Pools.start + poolIndex * Size.pool;
}

/** The part of the core that knows blocks, but not the allocations in them. */
export class Store {
  words: Int32Array;
  doubles: Float64Array;
  /** The allocator of the buffer's chunks. */
  readonly arena: Arena;

  /** @param shared the buffer of another store with the same options, to be shared with it */
  constructor(options: CoreOptions, shared?: SharedArrayBuffer) {
    this.arena = new Arena(Pools.start + options.poolCount * Size.pool, mostIntegers(options), shared);
    this.words = this.arena.words;
    this.doubles = this.arena.doubles;
    if (shared !== undefined) return;
    const { words, doubles } = this;
    const shift = 31 - Math.clz32(options.granularity);
    words[Header.granuleShift] = shift;
    words[Header.poolCount] = options.poolCount;
    words[Header.padding] = options.padding ? 1 : 0;
    words[Header.immediateRelease] = options.immediateRelease ? 1 : 0;
    words[Header.frameShift] = Lookup.leastShift;
    doubles[Header.maxReservedSize] = options.maxReservedSize;
    doubles[Header.blockSize] = options.blockSize;
    for (let index = 0; index < options.poolCount; index++) layOutPool(words, index);
  }

  /** The shared buffer, for the store of another thread. */
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

  /** The number by which {@link isStoreBuffer} recognizes the buffer. */
  set seal(value: number) {
    this.words[Header.seal] = value;
  }

  /** Makes the views anew, after another thread may have grown the buffer. */
  refreshViews(): void {
    this.arena.refreshViews();
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

  /** The block that holds `address`, or 0. */
  find(address: number): number {
    const { words, doubles } = this;
    const entry = Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1));
    const known = words[entry]!;
    const offset = address - doubles[(known >> 1) + Block.rx]!;
    if (known !== 0 && offset >= 0 && offset < doubles[(known >> 1) + Block.size]!) return known;
    const block = treeFind(words, doubles, address);
    if (block !== 0) words[entry] = block;
    return block;
  }

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

  /** log2 of a pool's granularity in bytes. */
  granuleShiftOf(poolIndex: number): number {
    return this.words[poolAt(poolIndex) + Pool.granuleShift]!;
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

  // --- adding and removing ------------------------------------------------------------------------------------

  /**
   * The size in bytes of the block to map for an allocation of `count` granules; 0 where `maxReservedSize` has no room.
   * With `smallest` it is the least that holds the allocation, otherwise the natural size. `extraRoom` bytes count as
   * free already.
   *
   * The natural sizes are 1, 1, 4, 8, 16, 32, 32, 32, 64, 64 … block sizes. asmjit's are 2, 4, 8, 16 …. The sums of both
   * pass through the same totals (2, 6, 14, 30 …), so that never more is reserved than asmjit reserves for the same use.
   * Two halves replace a step of asmjit's where that saves more than mapping one more block costs. The bytes that the pool
   * has now tell its position in the sequence, whatever was unmapped in between.
   */
  planBlock(poolIndex: number, count: number, smallest: boolean, extraRoom = 0): number {
    const { words, doubles } = this;
    const pool = poolAt(poolIndex);
    const blockSize = doubles[Header.blockSize]!;
    const granuleBytes = 1 << words[pool + Pool.granuleShift]!;
    const needed = Math.ceil(((count + words[Header.padding]!) * granuleBytes) / blockSize) * blockSize;
    const room = doubles[Header.maxReservedSize]! - doubles[Header.reservedSize]! + extraRoom;
    if (needed > room) return 0;
    if (smallest) return needed;
    const natural = Math.max(this.#naturalSize(pool, blockSize), needed);
    return Math.min(natural, Math.floor(room / blockSize) * blockSize);
  }

  #naturalSize(pool: number, blockSize: number): number {
    const { words, doubles } = this;
    let reserved = 0;
    const sentinel = pool + Pool.blocks;
    for (let node = ringNext(words, sentinel, 4); node !== sentinel; node = ringNext(words, node, 4)) {
      reserved += doubles[((node - Block.inPool) >> 1) + Block.size]!;
    }
    const have = reserved / blockSize;
    // asmjit's next step from here, two block sizes more than the pool has, or half of that step.
    const most = have < 2 ? 1 : have + 2 < LEAST_HALVED_STEP ? have + 2 : (have + 2) / 2;
    const natural = 2 ** Math.floor(Math.log2(most)) * blockSize;
    return Math.min(natural, Math.max(LARGEST_NATURAL_BLOCK_BYTES, blockSize));
  }

  /**
   * Adds an empty mapped block. Returns it, or 0 where there is no room for its metadata (nothing has changed).
   */
  addBlock(poolIndex: number, rx: number, rw: number, sizeBytes: number): number {
    const pool = poolAt(poolIndex);
    const shift = this.words[pool + Pool.granuleShift]!;
    const capacity = sizeBytes / 2 ** shift;
    const block = this.takeUnits(blockUnits(capacity), true);
    if (block === 0) return 0;
    const number = this.#freeNumber();
    enterBlock(this.words, this.doubles, block, { pool: poolIndex, rx, rw, sizeBytes, number });
    return block;
  }

  /** The smallest number that no block has. */
  #freeNumber(): number {
    const numbers: number[] = [];
    for (let block = this.firstBlock(); block !== 0; block = this.nextBlock(block)) {
      numbers.push(this.blockNumber(block));
    }
    const taken = new Uint8Array(numbers.length + 1);
    for (const number of numbers) taken[number] = 1; // a number beyond the array is ignored
    return taken.indexOf(0);
  }

  /** Forgets a block that has been unmapped, even if it has allocations. */
  removeBlock(block: number): void {
    const { words, doubles } = this;
    const pool = words[block + Block.pool]!;
    const capacity = words[block + Block.capacity]!;
    forgetDirty(words, block);
    if (words[pool + Pool.current] === block) words[pool + Pool.current] = 0;
    if (words[pool + Pool.empty] === block) words[pool + Pool.empty] = 0;
    ringRemove(words, block + Block.inPool);
    treeRemove(words, block);
    words[Header.blockCount] = words[Header.blockCount]! - 1;
    assert(words[Header.blockCount] >= 0, 4, "fewer blocks are counted than were removed");
    doubles[Header.reservedSize] = doubles[Header.reservedSize]! - doubles[(block >> 1) + Block.size]!;
    clearLookUp(words);
    const generations = words[block + Block.generations]!;
    if (generations !== 0) this.arena.give(generations, generationUnits(capacity));
    this.arena.give(block, blockUnits(capacity));
  }

  /** Releases all allocations of a block at once, and makes it its pool's empty one. The caller must end their spans. */
  clearBlock(block: number): void {
    const words = this.words;
    const pool = words[block + Block.pool]!;
    const capacity = words[block + Block.capacity]!;
    clearGranules(words, block);
    const generations = words[block + Block.generations]!;
    if (generations !== 0) words.fill(0, generations, generations + capacity);
    words[block + Block.spans] =
      words[block + Block.spans]! & ~(Spans.marked | Spans.watched | Spans.foreign);
    words[block + Block.live] = 0;
    words[pool + Pool.empty] = block;
  }

  /** The state of the spans of a block. */
  spansOf(block: number): Spans {
    return this.words[block + Block.spans]!;
  }

  /** The index of a block's table of generations, made if it has none yet; 0 where there is no room for one. */
  generationsOf(block: number): number {
    const known = this.words[block + Block.generations]!;
    if (known !== 0) return known;
    const generations = this.takeUnits(generationUnits(this.words[block + Block.capacity]!), false);
    this.words[block + Block.generations] = generations;
    if (generations !== 0) this.words[block + Block.spans] = Spans.made;
    return generations;
  }

  /** As {@link generationsOf}, but makes the table a ledger. Precondition: the block is empty, or has its ledger. */
  ledgerOf(block: number): number {
    const generations = this.generationsOf(block);
    if (generations !== 0) this.words[block + Block.spans] = Spans.ledger;
    return generations;
  }

  /** Takes a zeroed chunk, or returns 0. The views `words` and `doubles` may be new ones afterwards. */
  protected takeUnits(unitCount: number, isBlock: boolean): number {
    const index = this.arena.take(unitCount, isBlock);
    this.words = this.arena.words;
    this.doubles = this.arena.doubles;
    return index;
  }
}

function needNothing(): void {
  // The default, until a check is injected.
}

/** Whether a buffer belongs to a store with these options and that seal. */
export function isStoreBuffer(buffer: SharedArrayBuffer, options: CoreOptions, seal: number): boolean {
  if (buffer.byteLength < (Pools.start + options.poolCount * Size.pool) * 4) return false;
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
    words[Header.poolCount] === options.poolCount &&
    words[Header.padding] === (options.padding ? 1 : 0) &&
    words[Header.immediateRelease] === (options.immediateRelease ? 1 : 0) &&
    // The system may have had fewer addresses.
    doubles[Header.maxReservedSize]! <= options.maxReservedSize &&
    doubles[Header.maxReservedSize]! >= options.blockSize &&
    doubles[Header.blockSize] === options.blockSize
  );
}

/** Sets up an empty pool: its granularity, its ring and its lists. */
export function layOutPool(words: Int32Array, poolIndex: number): void {
  const pool = poolAt(poolIndex);
  words.fill(0, pool, pool + Size.pool);
  words[pool + Pool.granuleShift] = words[Header.granuleShift]! + poolIndex;
  words[pool + Pool.chunkLimit] = LEAST_CHUNK_LIMIT;
  ringInit(words, pool + Pool.blocks);
  ringInit(words, pool + Pool.dirtyBlocks);
  words.fill(-1, pool + Pool.classTops, pool + Pool.classTops + Classes.count);
}

/** The addresses of a block, and the number of its pool, from 0. */
export interface BlockPlace {
  readonly pool: number;
  readonly rx: number;
  readonly rw: number;
  readonly sizeBytes: number;
  /** A number that no other block has (see `Store.blockNumber`). */
  readonly number: number;
}

/** Writes an empty block into its zeroed chunk, and adds it to the tree, to its pool's ring and to the counts. */
export function enterBlock(words: Int32Array, doubles: Float64Array, block: number, place: BlockPlace): void {
  const pool = poolAt(place.pool);
  const shift = words[pool + Pool.granuleShift]!;
  const capacity = place.sizeBytes / 2 ** shift;
  doubles[(block >> 1) + Block.rx] = place.rx;
  doubles[(block >> 1) + Block.rw] = place.rw;
  doubles[(block >> 1) + Block.size] = place.sizeBytes;
  words[block + Block.rxLow] = place.rx;
  words[block + Block.number] = place.number;
  words[block + Block.granuleShift] = shift;
  words[block + Block.capacity] = capacity;
  words[block + Block.pool] = pool;
  words[block + Block.padding] = words[Header.padding]!;
  layOutBlock(words, block, capacity);
  armTrim(words, block);
  setPadding(words, block);
  treeInsert(words, doubles, block);
  ringInsert(words, words[pool + Pool.blocks + Link.prev]!, block + Block.inPool);
  words[Header.blockCount] = words[Header.blockCount]! + 1;
  const reservedSize = doubles[Header.reservedSize]! + place.sizeBytes;
  doubles[Header.reservedSize] = reservedSize;
  fitFrames(words, reservedSize);
}

/** Clears the look-up; the tree still knows all blocks and fills it again. */
export function clearLookUp(words: Int32Array): void {
  words.fill(0, Lookup.start, Lookup.start + Lookup.entries);
}

/** Enlarges the frames of the look-up until they cover twice `reservedSize` bytes: blocks side by side, mapped twice. */
function fitFrames(words: Int32Array, reservedSize: number): void {
  const before = words[Header.frameShift]!;
  if (before < Lookup.leastShift) broken(1, `frames of 2**${before} bytes`);
  let shift = before;
  while (Lookup.entries * 2 ** shift < 2 * reservedSize) shift += 1;
  if (shift === before) return;
  words[Header.frameShift] = shift;
  clearLookUp(words);
}

/**
 * The most integers that the buffer may need: for every word of granules its record, its generations and its entries in
 * lists (at most 16 runs, each listed twice, and as many stale entries); half as much again for free chunks in between;
 * and room for the fixed part of many small blocks.
 */
function mostIntegers(options: CoreOptions): number {
  const wordBytes = 32 * options.granularity;
  const perWord = Size.record + 32 + 64;
  const blocks = Math.ceil(options.maxReservedSize / options.blockSize) + options.poolCount;
  const perBlock = 2 * Unit.integers + Size.block;
  const blockIntegers = blocks * perBlock + (options.maxReservedSize / wordBytes) * perWord;
  return Pools.start + options.poolCount * Size.pool + Math.ceil(blockIntegers * 1.5) + 64 * Unit.integers;
}
