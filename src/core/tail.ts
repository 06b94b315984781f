/** The tail: the untouched end of a block, from which bump allocation takes granules without the index. */
import { assert } from "../base/assert.ts";
import { leadingOnes } from "./bits.ts";
import { checkExtent } from "./broken.ts";
import { clearFull, setFull } from "./full-words.ts";
import { Block, Header } from "./layout.ts";

/**
 * Makes the untouched tail free granules like others: from now on nothing is appended to this block. Returns the granule at
 * which the tail began, which is the block's capacity where there was none.
 */
export function closeTail(words: Int32Array, block: number): number {
  checkExtent(words, block);
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  assert(tail >= words[Header.padding]! && tail <= capacity, 9, "the tail is not inside its block");
  if (tail === capacity) return tail;
  words[block + Block.tail] = capacity;
  words[block + Block.freed] = words[block + Block.freed]! + capacity - tail;
  const records = words[block + Block.records]!;
  const first = records + ((tail >>> 5) << 1);
  words[first] = words[first]! | (-1 << (tail & 31));
  if (words[first] === -1) setFull(words, block, tail >>> 5);
  for (let word = (tail >>> 5) + 1; word < capacity >>> 5; word++) {
    words[records + (word << 1)] = -1;
    setFull(words, block, word);
  }
  return tail;
}

/** Moves the tail down over the free granules right below it. Returns true where there were any. */
export function absorbIntoTail(words: Int32Array, block: number): boolean {
  const before = words[block + Block.tail]!;
  const records = words[block + Block.records]!;
  let tail = before;
  while (tail > 0) {
    const word = (tail - 1) >>> 5;
    const record = records + (word << 1);
    const free = words[record]!;
    // The free run that ends right below the tail, moved up to bit 31.
    const run = leadingOnes(free << (31 - ((tail - 1) & 31)));
    if (run === 0) break;
    if (free === -1) clearFull(words, block, word);
    tail -= run;
    words[record] = (tail & 31) === 0 ? 0 : free & ~(-1 << (tail & 31));
    words[block + Block.tail] = tail;
    if ((tail & 31) !== 0) break;
  }
  words[block + Block.freed] = words[block + Block.freed]! - (before - tail);
  assert(words[block + Block.freed]! >= 0, 8, "fewer granules are counted as freed than the tail took back");
  return tail !== before;
}
