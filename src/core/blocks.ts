/** The blocks of the buffer: finds them by address, adds, clears and removes them. Here `pool` is a pool's index in the buffer. */
import { assert } from "../base/assert.ts";
import { blockUnits, clearGranules, forgetDirty, generationUnits, layOutBlock, setPadding } from "./block.ts";
import { treeFind, treeInsert, treeRemove } from "./block-tree.ts";
import { Block, Header, Link, Pool, Spans } from "./layout.ts";
import { enterInLookUp, growLookUp, leaveLookUp } from "./lookup.ts";
import { ringInsert, ringRemove } from "./ring.ts";
import { poolAt } from "./state.ts";
import type { State } from "./state.ts";
import { armTrim } from "./thrift.ts";

/** The block that holds `address`, or 0. */
export function findBlock(state: State, address: number): number {
  const { words, doubles } = state;
  const entry = words[Header.lookup]! + ((address >>> words[Header.frameShift]!) & words[Header.lookupMask]!);
  const known = words[entry]!;
  const offset = address - doubles[(known >> 1) + Block.rx]!;
  if (known !== 0 && offset >= 0 && offset < doubles[(known >> 1) + Block.size]!) return known;
  const block = treeFind(words, doubles, address);
  if (block !== 0) words[entry] = block;
  return block;
}

/** Adds an empty mapped block. Returns it, or 0 where there is no room for its metadata (nothing has changed). */
export function createBlock(
  state: State,
  poolIndex: number,
  rx: number,
  rw: number,
  sizeBytes: number,
): number {
  const pool = poolAt(poolIndex);
  const shift = state.words[pool + Pool.granuleShift]!;
  const capacity = sizeBytes / 2 ** shift;
  const block = state.takeUnits(blockUnits(capacity), true);
  if (block === 0) return 0;
  growLookUp(state, rx, sizeBytes);
  const number = freeNumber(state);
  enterBlock(state.words, state.doubles, block, { pool: poolIndex, rx, rw, sizeBytes, number });
  return block;
}

/** The smallest number that no block has. */
function freeNumber(state: State): number {
  const numbers: number[] = [];
  for (let block = state.firstBlock(); block !== 0; block = state.nextBlock(block)) {
    numbers.push(state.blockNumber(block));
  }
  const taken = new Uint8Array(numbers.length + 1);
  for (const number of numbers) taken[number] = 1; // a number beyond the array is ignored
  return taken.indexOf(0);
}

/** Takes a block that has been unmapped out of the tree, its pool and the counts, even if it has allocations. */
export function forgetBlock(state: State, block: number): void {
  const { words, doubles } = state;
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
  leaveLookUp(state, block);
  const generations = words[block + Block.generations]!;
  if (generations !== 0) state.arena.give(generations, generationUnits(capacity));
  else if (words[block + Block.spans] !== Spans.none) state.arena.unpromise(generationUnits(capacity));
  state.arena.give(block, blockUnits(capacity));
}

/** Releases all allocations of a block at once, and makes it its pool's empty one. The caller must end their spans. */
export function clearBlock(state: State, block: number): void {
  const words = state.words;
  const pool = words[block + Block.pool]!;
  const capacity = words[block + Block.capacity]!;
  clearGranules(words, block);
  const generations = words[block + Block.generations]!;
  if (generations !== 0) words.fill(0, generations, generations + capacity);
  words[block + Block.spans] = words[block + Block.spans]! & ~(Spans.marked | Spans.watched | Spans.foreign);
  words[block + Block.live] = 0;
  words[pool + Pool.empty] = block;
}

/**
 * Lets spans be made in a block: promises the room for its table of generations, which is made when an entry may come. Returns
 * false where there is no room for one.
 */
export function admitSpans(state: State, block: number): boolean {
  if (state.words[block + Block.spans] !== Spans.none) return true;
  if (!state.promiseUnits(generationUnits(state.words[block + Block.capacity]!))) return false;
  state.words[block + Block.spans] = Spans.made;
  return true;
}

/** The index of a block's table of generations, made if it is only promised. Precondition: {@link admitSpans}. */
export function generationsOf(state: State, block: number): number {
  const words = state.words;
  const known = words[block + Block.generations]!;
  if (known !== 0) return known;
  assert(
    words[block + Block.spans] !== Spans.none,
    14,
    "a table of generations is made that nobody promised",
  );
  const generations = state.arena.takePromised(generationUnits(words[block + Block.capacity]!));
  words[block + Block.generations] = generations;
  return generations;
}

/**
 * Makes the table of a block a ledger. Returns its index, or 0 where there is no room for it. Precondition: the block is
 * empty, or has its ledger.
 */
export function ledgerOf(state: State, block: number): number {
  if (!admitSpans(state, block)) return 0;
  const generations = generationsOf(state, block);
  state.words[block + Block.spans] = Spans.ledger;
  return generations;
}

/** The addresses of a block, and the number of its pool, from 0. */
export interface BlockPlace {
  readonly pool: number;
  readonly rx: number;
  readonly rw: number;
  readonly sizeBytes: number;
  /** A number that no other block has (see `State.blockNumber`). */
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
  layOutBlock(words, block, capacity);
  armTrim(words, block);
  setPadding(words, block);
  treeInsert(words, doubles, block);
  ringInsert(words, words[pool + Pool.blocks + Link.prev]!, block + Block.inPool);
  words[Header.blockCount] = words[Header.blockCount]! + 1;
  const reservedSize = doubles[Header.reservedSize]! + place.sizeBytes;
  doubles[Header.reservedSize] = reservedSize;
  enterInLookUp(words, doubles, block);
}
