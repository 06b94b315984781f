/**
 * When the pages of a block are worth giving back unasked: when its use falls below a quarter, and again each time only a
 * quarter of that is left; and when it goes empty after more than a quarter of it was in use.
 *
 * A block keeps two bounds of its use, in granules: `trimBelow`, and that plus `trimSpan`. A release compares them only
 * where many come in a row; between the bounds it does nothing else. Below, the block is trimmed, and the bounds move: the
 * next trim is due at a quarter of the use, and a use of a quarter or more says that the block was filled again, so that the trim
 * was in vain. Of such trims in vain ever fewer follow: after the 1st, 2nd, 4th, 8th … and then every 1,024th time. So a
 * program in a steady state, which fills and empties the same blocks over and over, pays next to nothing.
 */
import { Block } from "./layout.ts";

/** No use is above the bounds. */
const UNBOUNDED = 0x7fff_ffff;

/** From that many vain trims on, a power of two, one follows in that many times. A trim costs as much as some 100 releases. */
const SELDOM = 1024;

/** Sets the bounds of a block that was not filled before. */
export function armTrim(words: Int32Array, block: number): void {
  words[block + Block.trimBelow] = words[block + Block.capacity]! >>> 2;
  words[block + Block.trimSpan] = UNBOUNDED;
}

/** From now on the block is never trimmed unasked: its pages cannot be given back. */
export function disarmTrim(words: Int32Array, block: number): void {
  words[block + Block.trimBelow] = 0;
  words[block + Block.trimSpan] = UNBOUNDED;
}

/** Whether the use of a block has left its bounds. */
export function hasLeftBounds(words: Int32Array, block: number): boolean {
  const used = words[block + Block.tail]! - words[block + Block.freed]!;
  return (used - words[block + Block.trimBelow]!) >>> 0 > words[block + Block.trimSpan]!;
}

/** Moves the bounds of a block whose use has left them. Returns whether it is to be trimmed. */
export function moveBounds(words: Int32Array, block: number): boolean {
  const used = words[block + Block.tail]! - words[block + Block.freed]!;
  const quarter = words[block + Block.capacity]! >>> 2;
  if (used >= quarter) {
    armTrim(words, block);
    words[block + Block.refills] = (words[block + Block.refills]! + 1) & UNBOUNDED;
    return false;
  }
  const isDue = isWorthwhile(words[block + Block.refills]!);
  words[block + Block.trimBelow] = isDue ? used >>> 2 : 0;
  words[block + Block.trimSpan] = quarter - 1 - words[block + Block.trimBelow]!;
  return isDue;
}

/** Counts that a block has gone empty, of which `tail` granules had been in use. Returns whether it is to be trimmed. */
export function noteEmptied(words: Int32Array, block: number, tail: number): boolean {
  if (tail < words[block + Block.capacity]! >>> 2) return false;
  words[block + Block.refills] = (words[block + Block.refills]! + 1) & UNBOUNDED;
  return isWorthwhile(words[block + Block.refills]! - 1);
}

function isWorthwhile(refills: number): boolean {
  return (refills & (refills - 1)) === 0 || (refills & (SELDOM - 1)) === 0;
}
