/** Draws which granules of a block are used. */

/** A block, as `JitAllocator.blocks()` describes it. */
export interface BlockPicture {
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly granularity: number;
  readonly allocationCount: number;
  /** Bytes. */
  readonly usedSize: number;
  /** One byte a granule: 0 free, 1 used, 2 used and the last of its allocation. */
  readonly granules: Uint8Array;
}

/** The most characters in a line of the map: with the frame it fits a terminal of 80 columns. */
const MAP_WIDTH = 64;
/** In a narrower terminal the length of a line is a multiple of this, so that addresses stay easy to count. */
const MAP_STEP = 8;
/** Columns before a line of the map. */
const MAP_FRAME = 2;
/** The most lines of a map, where they have their full width; in larger blocks a character stands for several granules. */
const MAP_HEIGHT = 16;

export const FREE = "·";
export const USED = "█";
/** Half a cell, so that a gap shows where one allocation ends and the next begins. */
export const USED_LAST = "▌";
/** Several granules of which some are used. */
export const MIXED = "▒";

/** The legend of the characters: in one line, or one line each where that is too long. */
export function blockMapLegend(columns?: number): string {
  const entries = [
    `${USED} used`,
    `${USED_LAST} the last granule of an allocation`,
    `${MIXED} partly used`,
    `${FREE} free`,
  ];
  const line = entries.join("  ");
  return columns === undefined || line.length <= columns ? line : entries.join("\n");
}

/**
 * The map of one block: a title, then lines of {@link MAP_WIDTH} characters.
 * @param columns of the terminal; where it is too narrow, a line has fewer characters
 */
export function renderBlockMap(block: BlockPicture, title: string, columns = Infinity): string {
  const { granules } = block;
  const fitting = Math.floor((columns - MAP_FRAME) / MAP_STEP) * MAP_STEP;
  const width = Math.min(MAP_WIDTH, Math.max(MAP_STEP, fitting));
  const granulesPerCharacter = Math.max(1, Math.ceil(granules.length / (MAP_WIDTH * MAP_HEIGHT)));
  const scale = granulesPerCharacter === 1 ? "1 granule" : `${granulesPerCharacter} granules`;
  const lines = [
    `${title}: ${formatBytes(block.size)} in granules of ${block.granularity}, ` +
      `${count(block.allocationCount, "allocation")}, ${formatBytes(block.usedSize)} used; ${scale} per character`,
  ];
  let line = "";
  for (let start = 0; start < granules.length; start += granulesPerCharacter) {
    line += character(granules.subarray(start, start + granulesPerCharacter));
    if (line.length < width && start + granulesPerCharacter < granules.length) continue;
    lines.push(`  ${line}`);
    line = "";
  }
  return `${lines.join("\n")}\n`;
}

function character(granules: Uint8Array): string {
  if (granules.length === 1) return granules[0] === 0 ? FREE : granules[0] === 2 ? USED_LAST : USED;
  const usedCount = granules.reduce((sum, granule) => sum + (granule === 0 ? 0 : 1), 0);
  return usedCount === 0 ? FREE : usedCount === granules.length ? USED : MIXED;
}

/** `65,536 bytes` */
export function formatBytes(sizeBytes: number): string {
  return count(sizeBytes, "byte");
}

/** `1 block`, `1,024 blocks` */
export function count(value: number, noun: string): string {
  return `${value.toLocaleString("en-US")} ${noun}${value === 1 ? "" : "s"}`;
}
