/** The untouched end of a block, from which granules are taken without asking the index. */
import { leadingOnes } from "./bits.ts";
import { unlistRecord } from "./class-rings.ts";
import { clearFull, setFull } from "./full-words.ts";
import { Block, Word } from "./layout.ts";
import { indexRunAt, relist } from "./run-index.ts";

/** Gives the untouched tail to the index: from now on nothing is appended to this block. */
export function closeTail(words: Int32Array, block: number): void {
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  if (tail === capacity) return;
  words[block + Block.tail] = capacity;
  const records = words[block + Block.records]!;
  const first = records + ((tail >>> 5) << 2);
  words[first] = words[first]! | (-1 << (tail & 31));
  if (words[first] === -1) setFull(words, block, tail >>> 5);
  for (let word = (tail >>> 5) + 1; word < capacity >>> 5; word++) {
    words[records + (word << 2)] = -1;
    setFull(words, block, word);
  }
  indexRunAt(words, block, tail);
}

/** Moves the tail down over the free granules right below it. Returns true where there were any. */
export function absorbIntoTail(words: Int32Array, block: number): boolean {
  const before = words[block + Block.tail]!;
  const records = words[block + Block.records]!;
  let tail = before;
  while (tail > 0) {
    const word = (tail - 1) >>> 5;
    const record = records + (word << 2);
    const free = words[record]!;
    // The free run that ends right below the tail, moved up to bit 31.
    const run = leadingOnes(free << (31 - ((tail - 1) & 31)));
    if (run === 0) break;
    if (free === -1) clearFull(words, block, word);
    tail -= run;
    words[record] = (tail & 31) === 0 ? 0 : free & ~(-1 << (tail & 31));
    words[block + Block.tail] = tail;
    if ((tail & 31) !== 0) {
      relist(words, block, word);
      break;
    }
    if (words[record + Word.next] !== 0) unlistRecord(words, words[block + Block.pool]!, record);
  }
  return tail !== before;
}

/**
 * Takes the words between the tail and `end`, where it was, out of the rings. Granules that were taken without asking
 * the index can have left a listing, and behind the tail nobody would find it when the block goes.
 */
export function unlistAboveTail(words: Int32Array, block: number, end: number): void {
  const records = words[block + Block.records]!;
  for (let word = (words[block + Block.tail]! + 31) >>> 5; word <= (end - 1) >>> 5; word++) {
    const record = records + (word << 2);
    if (words[record + Word.next] !== 0) unlistRecord(words, words[block + Block.pool]!, record);
  }
}
