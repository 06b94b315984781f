/**
 * The runs that were released last and wait to be taken again by an allocation of just their length. The index has
 * not looked at them. An entry is a place, and only a hint: whoever takes one checks it.
 */
import { Block, Header, Pool, Recent, Unit } from "./layout.ts";
import { markDirty } from "./run-index.ts";

/** Remembers a run. Returns false where there is no room for it: then it is for the index. */
export function rememberRun(words: Int32Array, pool: number, place: number, count: number): boolean {
  if (count > Recent.longest) return false;
  const counter = pool + Pool.recentCounts + count;
  const top = words[counter]!;
  if (top === Recent.runs) return false;
  words[counter] = top + 1;
  words[pool + Pool.recentPlaces + (count << Recent.runsShift) + top] = place;
  return true;
}

/**
 * The block in which a recent run of `count` granules can still be, or 0: it may be gone and its metadata serve
 * another pool's, or it may have been empty since.
 */
export function blockOfRecentRun(words: Int32Array, pool: number, place: number, count: number): number {
  const record = (place >>> 5) << 2;
  const block = words[words[Header.owners]! + (record >> Unit.shift)]!;
  if (block <= 0 || words[block + Block.pool] !== pool) return 0;
  const granule = ((record - words[block + Block.records]!) << 3) + (place & 31);
  return granule < 0 || granule + count > words[block + Block.tail]! ? 0 : block;
}

/** Gives all recent runs to the index. */
export function forgetRecentRuns(words: Int32Array, pool: number): void {
  for (let count = 1; count <= Recent.longest; count++) {
    const counter = pool + Pool.recentCounts + count;
    for (let top = words[counter]! - 1; top >= 0; top--) {
      const place = words[pool + Pool.recentPlaces + (count << Recent.runsShift) + top]!;
      const block = blockOfRecentRun(words, pool, place, count);
      if (block === 0) continue;
      const granule = ((((place >>> 5) << 2) - words[block + Block.records]!) << 3) + (place & 31);
      markDirty(words, block, granule >>> 5, (granule + count - 1) >>> 5);
    }
    words[counter] = 0;
  }
}
