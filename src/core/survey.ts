/** Sums and copies for statistics and pictures; not on any hot path. */
import { checkExtent } from "./broken.ts";
import { treeFirst, treeNext } from "./block-tree.ts";
import { Block, Header, Size, Word } from "./layout.ts";

/** Live allocations in a block. */
export function liveCountOf(words: Int32Array, block: number): number {
  return words[block + Block.live]!;
}

/** Bytes in use in a block, including its padding. */
export function usedBytesOf(words: Int32Array, block: number): number {
  return (words[block + Block.tail]! - words[block + Block.freed]!) * 2 ** words[block + Block.granuleShift]!;
}

/** Live allocations in all blocks. */
export function totalLiveCount(words: Int32Array, doubles: Float64Array): number {
  let total = 0;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    total += liveCountOf(words, block);
  }
  return total;
}

/** Bytes in use in all blocks. */
export function totalUsedBytes(words: Int32Array, doubles: Float64Array): number {
  let total = 0;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    total += usedBytesOf(words, block);
  }
  return total;
}

/** One byte per granule: 0 = free, 1 = used, 2 = used and the last of its allocation (or padding). */
export function granulesOf(words: Int32Array, block: number): Uint8Array {
  checkExtent(words, block);
  const granules = new Uint8Array(words[block + Block.capacity]!);
  const records = words[block + Block.records]!;
  const tail = words[block + Block.tail]!;
  for (let granule = 0; granule < tail; granule++) {
    const record = records + (granule >>> 5) * Size.record;
    const free = (words[record + Word.free]! >>> (granule & 31)) & 1;
    const stop = (words[record + Word.stop]! >>> (granule & 31)) & 1;
    granules[granule] = 1 - free + stop;
  }
  return granules;
}

/** Calls `visit` for each allocation of a block, in the order of addresses. */
export function visitAllocations(
  words: Int32Array,
  block: number,
  visit: (granule: number, count: number) => void,
): void {
  const granules = granulesOf(words, block);
  let start = -1;
  for (let granule = words[Header.padding]!; granule < granules.length; granule++) {
    if (granules[granule] === 0) continue;
    if (start < 0) start = granule;
    if (granules[granule] === 1) continue;
    visit(start, granule + 1 - start);
    start = -1;
  }
}

/** The granules at which the allocations of a block begin. */
export function startsOf(words: Int32Array, block: number): number[] {
  const starts: number[] = [];
  visitAllocations(words, block, (granule) => starts.push(granule));
  return starts;
}

/** Granules at the start of each block that are no allocation's. */
export function paddingOf(words: Int32Array): number {
  return words[Header.padding]!;
}
