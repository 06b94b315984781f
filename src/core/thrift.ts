/**
 * When the pages of a block are worth giving back unasked: when its use falls below a quarter, and again each time only a
 * quarter of that is left; and when it goes empty after more than a quarter of it was in use.
 *
 * A block has bounds of its use, in granules. The lower one is `trimBelow`. Where it lies below a quarter of the block,
 * that quarter is the upper one; else there is none. Below, the block is trimmed, and the bounds move: the
 * next trim is due at a quarter of the use, and a use of a quarter or more says that the block was filled again, so that the trim
 * was in vain. Of such trims in vain ever fewer follow: after the 1st, 2nd, 4th, 8th … and then every 1,024th time. So a
 * program in a steady state, which fills and empties the same blocks over and over, pays next to nothing.
 *
 * A release looks at the bounds now and then: where `live & lookMask` is 0 for the allocations that are left. The test
 * takes the place of a comparison with 0, so that the other releases pay a load for it. Two looks lie an eighth to a
 * sixteenth of the live allocations apart, or 16 where there are few. Releases of more than 32 granules always look.
 */
import { Block } from "./layout.ts";

/** From that many vain trims on, a power of two, one follows in that many times. A trim costs as much as some 100 releases. */
const SELDOM = 1024;

/** The least mask: a look costs as much as a release, and a block with few allocations has no more to give than pages. */
const LEAST_MASK = 15;

/** Counts and masks are at most 2³¹ − 1. */
const MOST = 0x7fff_ffff;

/** The lower bound of a block whose use is not looked at. */
const NEVER = -1;

/** Sets the bounds of a block that was not filled before. */
export function armTrim(words: Int32Array, block: number): void {
  words[block + Block.trimBelow] = words[block + Block.capacity]! >>> 2;
}

/** From now on the block is never trimmed unasked: its pages cannot be given back. */
export function disarmTrim(words: Int32Array, block: number): void {
  words[block + Block.trimBelow] = NEVER;
  words[block + Block.lookMask] = MOST;
}

/**
 * Chooses when a release looks again. In a new block, whose mask is 0, the first one does. The lowest bit of the live
 * allocations is in the mask, so that a program that releases and allocates around one count does not look each time; one
 * share below, that bit is clear.
 */
export function spaceLooks(words: Int32Array, block: number): void {
  if (words[block + Block.trimBelow] === NEVER) return;
  const live = words[block + Block.live]!;
  const share = LEAST_MASK | ((1 << (32 - Math.clz32(live >>> 4))) - 1);
  words[block + Block.lookMask] = share | (live & -live);
}

/** Whether the use of a block has left its bounds. */
export function hasLeftBounds(words: Int32Array, block: number): boolean {
  const used = words[block + Block.tail]! - words[block + Block.freed]!;
  const below = words[block + Block.trimBelow]!;
  const quarter = words[block + Block.capacity]! >>> 2;
  return used < below || (used >= quarter && below !== quarter && below !== NEVER);
}

/** Moves the bounds of a block whose use has left them. Returns whether it is to be trimmed. */
export function moveBounds(words: Int32Array, block: number): boolean {
  const used = words[block + Block.tail]! - words[block + Block.freed]!;
  const quarter = words[block + Block.capacity]! >>> 2;
  if (used >= quarter) {
    armTrim(words, block);
    words[block + Block.refills] = (words[block + Block.refills]! + 1) & MOST;
    return false;
  }
  const isDue = isWorthwhile(words[block + Block.refills]!);
  words[block + Block.trimBelow] = isDue ? used >>> 2 : 0;
  return isDue;
}

/** Counts that a block has gone empty, of which `tail` granules had been in use. Returns whether it is to be trimmed. */
export function noteEmptied(words: Int32Array, block: number, tail: number): boolean {
  if (tail < words[block + Block.capacity]! >>> 2) return false;
  words[block + Block.refills] = (words[block + Block.refills]! + 1) & MOST;
  return isWorthwhile(words[block + Block.refills]! - 1);
}

function isWorthwhile(refills: number): boolean {
  return (refills & (refills - 1)) === 0 || (refills & (SELDOM - 1)) === 0;
}
