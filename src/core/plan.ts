/** Plans the size of a pool's next block. */
import { Block, Header, Pool } from "./layout.ts";
import { ringNext } from "./ring.ts";
import { poolAt } from "./state.ts";
import type { State } from "./state.ts";

/** The largest natural block size (asmjit's largest block): larger blocks only give memory back later. */
const LARGEST_NATURAL_BLOCK_BYTES = 64 * 1024 * 1024;

/**
 * In block sizes (4 MiB by default): from here on, two halves take the place of one of asmjit's steps. For smaller steps,
 * mapping one more block costs a program of so little code more than the addresses it saves are worth.
 */
const LEAST_HALVED_STEP = 64;

/**
 * The part of a pool's granules that must be free, beyond the request, for a small step: the pool then lacks no room, only
 * a hole that is long enough, and another large block would mostly stay empty.
 */
const LEAST_FREE = 1 / 16;

/** A small step, as a part of what the pool has: large enough that a pool which goes on to grow needs few of them. */
const SMALL_STEP = 1 / 32;

/**
 * The size in bytes of the block to map for an allocation of `count` granules; 0 where `maxReservedSize` has no room.
 * With `smallest` it is the least that holds the allocation, otherwise the natural size. `extraRoom` bytes count as
 * free already.
 *
 * The natural sizes are 1, 1, 4, 8, 16, 32, 32, 32, 64, 64 … block sizes. asmjit's are 2, 4, 8, 16 …. The sums of both
 * pass through the same totals (2, 6, 14, 30 …), so that never more is reserved than asmjit reserves for the same use.
 * Two halves replace a step of asmjit's where that saves more than mapping one more block costs. The bytes that the pool
 * has now tell its position in the sequence, whatever was unmapped in between.
 *
 * A pool that has room, but no hole for this request, gets a small block instead.
 */
export function planBlock(
  state: State,
  poolIndex: number,
  count: number,
  smallest: boolean,
  extraRoom = 0,
): number {
  const { words, doubles } = state;
  const pool = poolAt(poolIndex);
  const blockSize = doubles[Header.blockSize]!;
  const granuleBytes = 1 << words[pool + Pool.granuleShift]!;
  const needed = Math.ceil(((count + words[Header.padding]!) * granuleBytes) / blockSize) * blockSize;
  const room = doubles[Header.maxReservedSize]! - doubles[Header.reservedSize]! + extraRoom;
  if (needed > room) return 0;
  if (smallest) return needed;
  const natural = Math.max(naturalSize(state, pool, blockSize, count), needed);
  return Math.min(natural, Math.floor(room / blockSize) * blockSize);
}

function naturalSize(state: State, pool: number, blockSize: number, count: number): number {
  const { words, doubles } = state;
  let reserved = 0;
  let capacity = 0;
  let free = -count;
  const sentinel = pool + Pool.blocks;
  for (let node = ringNext(words, sentinel, 4); node !== sentinel; node = ringNext(words, node, 4)) {
    const block = node - Block.inPool;
    reserved += doubles[(block >> 1) + Block.size]!;
    capacity += words[block + Block.capacity]!;
    free += Math.max(words[block + Block.freed]! - words[block + Block.leftOver]!, 0);
  }
  const current = words[pool + Pool.current]!;
  free += words[current + Block.capacity]! - words[current + Block.tail]!;
  const have = reserved / blockSize;
  const most = free > capacity * LEAST_FREE ? Math.max(have * SMALL_STEP, 1) : nextStep(have);
  const natural = 2 ** Math.floor(Math.log2(most)) * blockSize;
  return Math.min(natural, Math.max(LARGEST_NATURAL_BLOCK_BYTES, blockSize));
}

/** asmjit's next step from here, two block sizes more than the pool has, or half of that step. */
function nextStep(have: number): number {
  if (have < 2) return 1;
  return have + 2 < LEAST_HALVED_STEP ? have + 2 : (have + 2) / 2;
}
