/** The addresses of a range that no block has, for an allocator whose blocks all lie in one range. */
import { treeFirst, treeNext } from "./block-tree.ts";
import { Block } from "./layout.ts";

/** Visits a gap. Returns true to stop. */
export type GapVisitor = (start: number, sizeBytes: number) => boolean;

/** Visits the gaps between `start` and `end`, from the lowest on. Blocks outside of the two do not count; one may reach over an end. */
export function eachGap(
  words: Int32Array,
  doubles: Float64Array,
  start: number,
  end: number,
  visit: GapVisitor,
): void {
  let free = start;
  for (let block = treeFirst(words); block !== 0; block = treeNext(words, doubles, block)) {
    const rx = doubles[(block >> 1) + Block.rx]!;
    const size = doubles[(block >> 1) + Block.size]!;
    if (rx + size <= start || rx >= end) continue;
    if (rx > free && visit(free, rx - free)) return;
    free = rx + size;
  }
  if (end > free) visit(free, end - free);
}

/** The end of the gap that an address lies in; the address itself where a block begins or lies there. */
export function gapEnd(
  words: Int32Array,
  doubles: Float64Array,
  start: number,
  end: number,
  address: number,
): number {
  let found = address;
  eachGap(words, doubles, start, end, (gap, gapBytes) => {
    if (address < gap || address >= gap + gapBytes) return gap > address;
    found = gap + gapBytes;
    return true;
  });
  return found;
}

/** The place for `sizeBytes` in the lowest or the highest gap that is long enough, at that end of it; -1 where there is none. */
export function placeInGap(
  words: Int32Array,
  doubles: Float64Array,
  start: number,
  end: number,
  sizeBytes: number,
  side: "lowest" | "highest",
): number {
  let found = -1;
  eachGap(words, doubles, start, end, (gap, gapBytes) => {
    if (gapBytes < sizeBytes) return false;
    found = side === "lowest" ? gap : gap + gapBytes - sizeBytes;
    return side === "lowest";
  });
  return found;
}
