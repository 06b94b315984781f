/** The buffer and the blocks in it: what is mapped, where, and how large the next one is to be. */
import { assert } from "../base/assert.ts";
import { Arena } from "./arena.ts";
import { broken } from "./broken.ts";
import { blockUnits, clearGranules, forgetDirty, generationUnits, layOutBlock, setPadding } from "./block.ts";
import { treeFind, treeFirst, treeInsert, treeNext, treeRemove } from "./block-tree.ts";
import { Block, Classes, Format, Header, Link, Lookup, Pool, Pools, Size, Spans, Unit } from "./layout.ts";
import { ringInit, ringInsert, ringNext, ringRemove } from "./ring.ts";

/** Natural block sizes stop doubling here (asmjit's largest block): larger ones only delay what they give back. */
const LARGEST_NATURAL_BLOCK_BYTES = 64 * 1024 * 1024;

/**
 * From 64 block sizes on (4 MiB by default) a step of asmjit's is made of two halves. Below, the mapping of one more block
 * would cost a program of so little code more than the addresses it saves are worth.
 */
const LEAST_HALVED_STEP = 64;

/**
 * The lists of a pool take 64 KiB before they are looked through: by then every class can have a chunk or two, and making
 * them anew costs little beside what was listed since.
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

/** The block that the look-up names for an address: mostly the one that holds it, else any other, or index 0. */
export function lookUp(words: Int32Array, address: number): number {
  return words[Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1))]!;
}

/** The index of a pool, which counts from 0. */
export function poolAt(poolIndex: number): number {
  return Pools.start + poolIndex * Size.pool;
}

/** The part of the core that knows blocks, not what is allocated in them. */
export class Store {
  words: Int32Array;
  doubles: Float64Array;
  /** Where the chunks of the buffer come from. */
  readonly arena: Arena;

  /** @param shared the buffer of a store with the same options: this one then works on it too */
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

  /** What a store of another thread works on. */
  get buffer(): SharedArrayBuffer {
    return this.arena.buffer;
  }

  /**
   * Asked before anything changes in what is not done often: it throws where there is not the room on the stack to call what
   * was never called. Whoever makes the store knows how to find out.
   */
  needRoom: () => void = needNothing;

  /** Bytes: where there was no room for metadata, the most there may be; 0 where there was no memory. */
  get metadataLimit(): number {
    return this.arena.isFull ? this.buffer.maxByteLength : 0;
  }

  /** By which {@link isStoreBuffer} knows it again. */
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

  /** The next one given is the one behind it. Whoever sets it sees to it that none is given twice. */
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

  /** The block with the lowest address, or 0; then `nextBlock`. */
  firstBlock(): number {
    return treeFirst(this.words);
  }

  nextBlock(block: number): number {
    return treeNext(this.words, this.doubles, block);
  }

  /** The block its pool has mapped longest, or 0. */
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
   * A number that no other block has at the same time, and the smallest that was free when the block was added: tables
   * by this number stay dense.
   */
  blockNumber(block: number): number {
    return this.words[block + Block.number]!;
  }

  /** Which pool a block is of, counted from 0. */
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

  /** Bytes of all blocks together. */
  get reservedBytes(): number {
    return this.doubles[Header.reservedSize]!;
  }

  /** All metadata, in bytes: what is laid out in the buffer. */
  get overheadBytes(): number {
    return this.words[Header.unitCount]! * Unit.integers * 4;
  }

  // --- adding and removing ------------------------------------------------------------------------------------

  /**
   * How large a block to map for an allocation of `count` granules, in bytes; 0 where `maxReservedSize` has no room.
   * `smallest`: just what the allocation needs; otherwise what is natural. `extraRoom` bytes count as free already.
   *
   * The natural sizes are 1, 1, 4, 8, 16, 32, 32, 32, 64, 64 … block sizes. asmjit's are 2, 4, 8, 16 …, and the sums of
   * these pass through the same totals (2, 6, 14, 30 …): for the same use never more is reserved. A step of asmjit's
   * is taken in two halves where that saves more than the mapping of one more block costs. What the pool has now says
   * where in the row it is, whatever was unmapped in between.
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
    // asmjit's next step from here, which is two more than what there is, or the half of it.
    const most = have < 2 ? 1 : have + 2 < LEAST_HALVED_STEP ? have + 2 : (have + 2) / 2;
    const natural = 2 ** Math.floor(Math.log2(most)) * blockSize;
    return Math.min(natural, Math.max(LARGEST_NATURAL_BLOCK_BYTES, blockSize));
  }

  /**
   * Adds a mapped block, empty. Returns it, or 0 where there is no room for its metadata (nothing has changed).
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
    for (const number of numbers) taken[number] = 1; // of one that is too large nothing is written
    return taken.indexOf(0);
  }

  /** Forgets a block that has been unmapped, whatever it held. */
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

  /** Releases all that a block holds at once, and makes it its pool's empty one. Spans of it are not told. */
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

  /** What there is of spans in a block. */
  spansOf(block: number): Spans {
    return this.words[block + Block.spans]!;
  }

  /** The generations of a block, made if it has none yet; 0 where there is no room for them. */
  generationsOf(block: number): number {
    const known = this.words[block + Block.generations]!;
    if (known !== 0) return known;
    const generations = this.takeUnits(generationUnits(this.words[block + Block.capacity]!), false);
    this.words[block + Block.generations] = generations;
    if (generations !== 0) this.words[block + Block.spans] = Spans.made;
    return generations;
  }

  /** The same as a ledger, which for a block without allocations is empty. */
  ledgerOf(block: number): number {
    const generations = this.generationsOf(block);
    if (generations !== 0) this.words[block + Block.spans] = Spans.ledger;
    return generations;
  }

  /** A zeroed chunk, or 0; the views may be new ones then. */
  protected takeUnits(unitCount: number, isBlock: boolean): number {
    const index = this.arena.take(unitCount, isBlock);
    this.words = this.arena.words;
    this.doubles = this.arena.doubles;
    return index;
  }
}

function needNothing(): void {
  // Nobody has said how.
}

/** Whether a buffer is that of a store with these options and that seal. */
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

/** Whether what is set once says what it was set to. */
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
    doubles[Header.maxReservedSize] === options.maxReservedSize &&
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

/** Where a block is mapped, and for which pool, which counts from 0. */
export interface BlockPlace {
  readonly pool: number;
  readonly rx: number;
  readonly rw: number;
  readonly sizeBytes: number;
  /** One that no other block has. */
  readonly number: number;
}

/** Writes an empty block into its zeroed chunk, and enters it in the tree, in its pool's ring and in the counts. */
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
  setPadding(words, block);
  treeInsert(words, doubles, block);
  ringInsert(words, words[pool + Pool.blocks + Link.prev]!, block + Block.inPool);
  words[Header.blockCount] = words[Header.blockCount]! + 1;
  const reservedSize = doubles[Header.reservedSize]! + place.sizeBytes;
  doubles[Header.reservedSize] = reservedSize;
  fitFrames(words, reservedSize);
}

/** Forgets which block lies where; the tree knows, and is asked again. */
export function clearLookUp(words: Int32Array): void {
  words.fill(0, Lookup.start, Lookup.start + Lookup.entries);
}

/** Makes the frames of the look-up so large that blocks of that many bytes in all, mapped twice, have one each. */
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
 * The most the buffer may have to hold: for every word of granules its record, its generations and what is listed of it
 * (16 runs at the most, each of them twice, and as many listings that are out of date), half as much again for chunks
 * that lie free in between, and room for the fixed part of many small blocks.
 */
function mostIntegers(options: CoreOptions): number {
  const wordBytes = 32 * options.granularity;
  const perWord = Size.record + 32 + 64;
  const blocks = Math.ceil(options.maxReservedSize / options.blockSize) + options.poolCount;
  const perBlock = 2 * Unit.integers + Size.block;
  const blockIntegers = blocks * perBlock + (options.maxReservedSize / wordBytes) * perWord;
  return Pools.start + options.poolCount * Size.pool + Math.ceil(blockIntegers * 1.5) + 64 * Unit.integers;
}
