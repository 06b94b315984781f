/**
 * Makes everything in the core's buffer that is derived anew: after a thread stopped in the middle of an operation.
 *
 * What is believed: the header's constants, what the caller knows of the blocks, and the ledger of each block
 * (ledger.ts). None of these is moved or changed, apart from lengths that belong to no allocation, so a rebuild that
 * is stopped itself can be done again. Nothing else is even read.
 */
import { rememberChunk } from "./arena.ts";
import { bitRange } from "./bits.ts";
import { blockUnits, generationUnits } from "./block.ts";
import { setFull } from "./full-words.ts";
import { readLedger } from "./ledger.ts";
import { Bins, Block, Header, Pool, Pools, Size, Spans, Unit, Word } from "./layout.ts";
import { ringInit } from "./ring.ts";
import { clearLookUp, enterBlock, layOutPool, poolAt } from "./store.ts";
import type { BlockPlace } from "./store.ts";
import { closeTail } from "./tail.ts";

/** What is known of a block beyond doubt. */
export interface KnownBlock extends Omit<BlockPlace, "number"> {
  /** Its index: that of its chunk. */
  readonly block: number;
  /** The index of its generations. */
  readonly generations: number;
}

/** Units of the buffer that are in use, from `first` to just before `end`. */
interface Chunk {
  readonly first: number;
  readonly end: number;
  /** What the owner table says of them: the block, or 0. */
  readonly owner: number;
}

/**
 * Rebuilds all but the index of free runs, whose lists are empty then: `RunIndex.indexAll` fills them.
 * @param blocks all there are, the oldest first
 * @returns the blocks that are empty and that the pools do not keep: to be unmapped and removed
 */
export function rebuild(words: Int32Array, doubles: Float64Array, blocks: readonly KnownBlock[]): number[] {
  rebuildUnits(words, blocks);
  clearLookUp(words);
  words[Header.treeRoot] = 0;
  words[Header.blockCount] = 0;
  doubles[Header.reservedSize] = 0;
  for (let pool = 0; pool < words[Header.poolCount]!; pool++) layOutPool(words, pool);
  const surplus: number[] = [];
  for (const [number, known] of blocks.entries()) {
    if (!rebuildBlock(words, doubles, known, number)) surplus.push(known.block);
  }
  return surplus;
}

// --- units ----------------------------------------------------------------------------------------------------

/** Finds a place for the owner table, fills it, and puts what lies between the chunks into the bins. */
function rebuildUnits(words: Int32Array, blocks: readonly KnownBlock[]): void {
  const chunks: Chunk[] = [
    { first: 0, end: unitsOf(Pools.start + words[Header.poolCount]! * Size.pool), owner: 0 },
  ];
  for (const { block, generations, pool, sizeBytes } of blocks) {
    const capacity = sizeBytes / 2 ** (words[Header.granuleShift]! + pool);
    const first = block >> Unit.shift;
    chunks.push({ first, end: first + blockUnits(capacity), owner: block });
    const table = generations >> Unit.shift;
    chunks.push({ first: table, end: table + generationUnits(capacity), owner: 0 });
  }
  chunks.sort((a, b) => a.first - b.first);
  const table = placeOwnerTable(chunks, words.length >> Unit.shift);
  chunks.push(table);
  chunks.sort((a, b) => a.first - b.first);

  const owners = table.first << Unit.shift;
  const capacity = (table.end - table.first) << Unit.shift;
  const unitCount = chunks.at(-1)!.end;
  words[Header.owners] = owners;
  words[Header.ownersCapacity] = capacity;
  words[Header.unitCount] = unitCount;
  words.fill(0, owners, owners + capacity);
  for (let bin = 0; bin < Bins.count; bin++) ringInit(words, Bins.start + bin * Size.node);
  // Whoever extends the buffer takes what lies behind for zero.
  words.fill(0, unitCount << Unit.shift);
  let end = 0;
  for (const chunk of chunks) {
    if (chunk.first > end) rememberChunk(words, end, chunk.first - end);
    words.fill(chunk.owner, owners + chunk.first, owners + chunk.end);
    end = chunk.end;
  }
}

/**
 * The first gap in which a table fits that describes all units. There is one: where the table lies that described the
 * last chunk when it was taken, since nothing else can have been put over it.
 */
function placeOwnerTable(chunks: readonly Chunk[], unitLimit: number): Chunk {
  const lastEnd = chunks.at(-1)!.end;
  for (let length = 1; length <= unitLimit; length++) {
    if (length << Unit.shift < lastEnd) continue;
    let first = 0;
    for (const chunk of [...chunks, { first: unitLimit, end: unitLimit }]) {
      const end = first + length;
      if (end <= chunk.first && Math.max(lastEnd, end) <= length << Unit.shift)
        return { first, end, owner: 0 };
      first = chunk.end;
    }
  }
  throw new Error("invariant 5 is broken: the chunks leave no room for the owner table");
}

function unitsOf(integers: number): number {
  return (integers + Unit.integers - 1) >> Unit.shift;
}

// --- blocks ---------------------------------------------------------------------------------------------------

/** Returns false where the block is empty and its pool does not keep it. */
function rebuildBlock(words: Int32Array, doubles: Float64Array, known: KnownBlock, number: number): boolean {
  const { block, generations } = known;
  const shift = words[poolAt(known.pool) + Pool.granuleShift]!;
  const capacity = known.sizeBytes / 2 ** shift;
  words.fill(0, block, block + (blockUnits(capacity) << Unit.shift));
  enterBlock(words, doubles, block, { ...known, number });
  words[block + Block.generations] = generations;
  words[block + Block.spans] = Spans.ledger;
  const records = words[block + Block.records]!;
  let tail = words[block + Block.padding]!;
  let used = tail;
  let live = 0;
  readLedger(words, generations, tail, capacity, (granule, count) => {
    setFree(words, block, tail, granule);
    tail = granule + count;
    const stop = records + (((tail - 1) >>> 5) << 1) + Word.stop;
    words[stop] = words[stop]! | (1 << ((tail - 1) & 31));
    used += count;
    live += 1;
  });
  words[block + Block.freed] = tail - used;
  words[block + Block.live] = live;
  words[block + Block.tail] = tail;
  if (live === 0 && keepAsEmpty(words, block)) return true;
  closeTail(words, block);
  return live > 0;
}

/** Makes an empty, untouched block the one its pool keeps. Returns false where it keeps none, or has one. */
function keepAsEmpty(words: Int32Array, block: number): boolean {
  const pool = words[block + Block.pool]!;
  if (words[Header.immediateRelease] !== 0 || words[pool + Pool.empty] !== 0) return false;
  words[pool + Pool.empty] = block;
  return true;
}

/** Marks the granules from `start` to just before `end` free; they lie below the tail. */
function setFree(words: Int32Array, block: number, start: number, end: number): void {
  for (let granule = start; granule < end;) {
    const word = granule >>> 5;
    const count = Math.min(end, (word + 1) << 5) - granule;
    const record = words[block + Block.records]! + (word << 1);
    const free = words[record]! | bitRange(granule & 31, count);
    words[record] = free;
    if (free === -1) setFull(words, block, word);
    granule += count;
  }
}
