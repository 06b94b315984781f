/** Counts the free runs of blocks by size class; for statistics, not on any hot path. */
import { classOfRun, leastLengthOf } from "./classes.ts";
import { freeFrom } from "./free-runs.ts";
import { Block, Header, Size, Word } from "./layout.ts";

/** The free runs of one length, or of one class. */
export interface RunCount {
  /** Bytes: the shortest run there can be in the class. */
  readonly leastSize: number;
  count: number;
  /** Bytes of all of them. */
  totalSize: number;
}

/**
 * Adds the free runs of a block to the counts by class. What is free at the end of the block is part of the run before it.
 * @returns the longest run in bytes
 */
export function countFreeRuns(words: Int32Array, block: number, counts: Map<number, RunCount>): number {
  const granuleBytes = 2 ** words[block + Block.granuleShift]!;
  const tail = words[block + Block.tail]!;
  const capacity = words[block + Block.capacity]!;
  let longest = 0;
  const add = (length: number): void => {
    if (length === 0) return;
    const leastSize = leastLengthOf(classOfRun(length)) * granuleBytes;
    const known = counts.get(leastSize) ?? { leastSize, count: 0, totalSize: 0 };
    known.count += 1;
    known.totalSize += length * granuleBytes;
    counts.set(leastSize, known);
    longest = Math.max(longest, length);
  };
  for (let granule = words[Header.padding]!; granule < tail;) {
    const length = freeFrom(words, block, granule);
    if (length === 0) {
      granule = nextFree(words, block, granule, tail);
    } else if (granule + length >= tail) {
      add(capacity - granule);
      return longest * granuleBytes;
    } else {
      add(length);
      granule += length;
    }
  }
  add(capacity - tail);
  return longest * granuleBytes;
}

/** The first free granule behind one that is in use; `tail` where there is none. */
function nextFree(words: Int32Array, block: number, granule: number, tail: number): number {
  const records = words[block + Block.records]!;
  for (let at = granule; at < tail; at = (at | 31) + 1) {
    const free = words[records + (at >>> 5) * Size.record + Word.free]! >>> (at & 31);
    if (free !== 0) return Math.min(at + 31 - Math.clz32(free & -free), tail);
  }
  return tail;
}
