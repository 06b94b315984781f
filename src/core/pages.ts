/** The pages of a block in which nothing is live. */
import { Block, Header, Size, Word } from "./layout.ts";

/** Visits pages side by side, by their numbers in the block: from `first` up to `end`, which is not among them. */
export type PageVisitor = (first: number, end: number) => void;

/**
 * Visits every run of pages in which no granule is live: all are free, in the untouched tail, or padding.
 * @param pageBytes bytes of a page: a power of two, at least a granule, at most the block
 */
export function eachFreeRun(words: Int32Array, block: number, pageBytes: number, visit: PageVisitor): void {
  const granulesPerPage = pageBytes >>> words[block + Block.granuleShift]!;
  const pageCount = Math.floor(words[block + Block.capacity]! / granulesPerPage);
  let first = -1;
  for (let page = 0; page < pageCount; page++) {
    const isFree = nothingLive(words, block, page * granulesPerPage, (page + 1) * granulesPerPage);
    if (isFree && first === -1) first = page;
    if (isFree || first === -1) continue;
    visit(first, page);
    first = -1;
  }
  if (first !== -1) visit(first, pageCount);
}

/** Whether no granule from `start` up to `end` is live. Both are multiples of 16. */
function nothingLive(words: Int32Array, block: number, start: number, end: number): boolean {
  const records = words[block + Block.records]!;
  const padding = words[Header.padding]!;
  const stop = Math.min(end, words[block + Block.tail]!);
  for (let granule = start; granule < stop; granule = (granule | 31) + 1) {
    const free = words[records + (granule >>> 5) * Size.record + Word.free]!;
    const fromGranule = -1 << (granule & 31);
    const last = Math.min(stop, (granule | 31) + 1) - 1;
    const upToLast = -1 >>> (31 - (last & 31));
    const ofPadding = granule === 0 ? padding : 0; // one granule at most: bit 0
    if ((free | ofPadding | ~(fromGranule & upToLast)) !== -1) return false;
  }
  return true;
}
