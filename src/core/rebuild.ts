/**
 * Rebuilds all derived data in the core's buffer, after a thread stopped in the middle of an operation.
 *
 * A rebuild believes the header's constants, the caller's list of blocks, and the ledger of each block (ledger.ts). It
 * neither moves nor changes these, apart from lengths that belong to no allocation, so a rebuild that is stopped itself
 * can be done again. It reads nothing else.
 */
import { rememberChunk } from "./arena.ts";
import { bitRange } from "./bits.ts";
import { blockUnits, generationUnits } from "./block.ts";
import { enterBlock } from "./blocks.ts";
import type { BlockPlace } from "./blocks.ts";
import { setFull } from "./full-words.ts";
import { readLedger } from "./ledger.ts";
import { Bins, Block, Header, Pool, Pools, Size, Spans, Unit, Word } from "./layout.ts";
import { ringInit } from "./ring.ts";
import { layOutLookUp, layOutPool, poolAt, shiftOfPool } from "./state.ts";
import { closeTail } from "./tail.ts";

/** The facts about a block that a rebuild believes. */
export interface KnownBlock extends Omit<BlockPlace, "number"> {
  /** Its index: that of its chunk. */
  readonly block: number;
  /** The index of its generations. */
  readonly generations: number;
}

/** Units of the buffer that are in use, from `first` up to, but not including, `end`. */
interface Chunk {
  readonly first: number;
  readonly end: number;
  /** The entry of these units in the owner table: the block, or 0. */
  readonly owner: number;
}

/**
 * Rebuilds everything but the index of free runs, whose lists it empties: `indexAll` fills them.
 * @param blocks all blocks, the oldest first
 * @returns the empty blocks that the pools do not keep: to be unmapped and removed
 */
export function rebuild(words: Int32Array, doubles: Float64Array, blocks: readonly KnownBlock[]): number[] {
  rebuildUnits(words, blocks);
  layOutLookUp(words);
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

/** Finds a place for the owner table, fills it, and puts the free chunks between the others into the bins. */
function rebuildUnits(words: Int32Array, blocks: readonly KnownBlock[]): void {
  const chunks: Chunk[] = [
    { first: 0, end: unitsOf(Pools.start + words[Header.poolCount]! * Size.pool), owner: 0 },
  ];
  for (const { block, generations, pool, sizeBytes } of blocks) {
    const capacity = sizeBytes / 2 ** shiftOfPool(words, pool);
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
  words[Header.promised] = 0; // each block has its ledger
  words.fill(0, owners, owners + capacity);
  for (let bin = 0; bin < Bins.count; bin++) ringInit(words, Bins.start + bin * Size.node);
  // `Arena` takes new units without clearing them, so the rest of the buffer must be zero.
  words.fill(0, unitCount << Unit.shift);
  let end = 0;
  for (const chunk of chunks) {
    if (chunk.first > end) rememberChunk(words, end, chunk.first - end);
    words.fill(chunk.owner, owners + chunk.first, owners + chunk.end);
    end = chunk.end;
  }
}

/**
 * Finds the smallest owner table that describes all units, in the first gap where it fits. There is a gap: the place of
 * the table that described the last chunk when that was taken, since nothing else can lie there.
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

/** Rebuilds one block from its ledger. Returns false where the block is empty and its pool does not keep it. */
function rebuildBlock(words: Int32Array, doubles: Float64Array, known: KnownBlock, number: number): boolean {
  const { block, generations } = known;
  const shift = words[poolAt(known.pool) + Pool.granuleShift]!;
  const capacity = known.sizeBytes / 2 ** shift;
  words.fill(0, block, block + (blockUnits(capacity) << Unit.shift));
  enterBlock(words, doubles, block, { ...known, number });
  words[block + Block.generations] = generations;
  words[block + Block.spans] = Spans.ledger;
  const records = words[block + Block.records]!;
  let tail = words[Header.padding]!;
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

/** Makes an empty, untouched block the one its pool keeps. Returns false where the pool keeps none, or already has one. */
function keepAsEmpty(words: Int32Array, block: number): boolean {
  const pool = words[block + Block.pool]!;
  const isKept = words[Header.immediateRelease] === 0 || pool === words[Header.reservePool];
  if (!isKept || words[pool + Pool.empty] !== 0) return false;
  words[pool + Pool.empty] = block;
  return true;
}

/** Marks the granules from `start` up to, but not including, `end` free; they lie below the tail. */
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
