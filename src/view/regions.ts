/** The addresses that the map shows, as cells. */
import type { PageRegion } from "./contract.ts";

/** The most cells of a map: a picture of 64 MB. */
const MOST_CELLS = 2 ** 24;

/** A stretch of memory; bytes. */
interface Stretch {
  readonly rx: number;
  readonly size: number;
}

/** Addresses as cells, counted through all regions. */
export interface Regions {
  readonly cellSize: number;
  readonly regions: readonly PageRegion[];
  /** Where memory lies that begins in a region. */
  readonly placeOf: (address: number, size: number) => CellPlace;
  /** What people have to know of the cells. */
  readonly notes: readonly string[];
}

/** Memory as cells: what the columns of a page say of a piece. */
export interface CellPlace {
  readonly start: number;
  readonly length: number;
  readonly within: number;
  readonly bytes: number;
}

/**
 * Joins the stretches that touch or overlap. A cell is the granularity, or as many of them as it takes to have few enough
 * cells.
 */
export function regionsOf(stretches: readonly Stretch[], granularity: number): Regions {
  const joined: { start: number; end: number }[] = [];
  for (const { rx, size } of [...stretches].sort((one, other) => one.rx - other.rx)) {
    const last = joined.at(-1);
    if (last !== undefined && rx <= last.end) last.end = Math.max(last.end, rx + size);
    else joined.push({ start: rx, end: rx + size });
  }
  const total = joined.reduce((sum, { start, end }) => sum + end - start, 0);
  let cellSize = granularity;
  while (total / cellSize > MOST_CELLS) cellSize *= 2;
  const regions = joined.map(({ start, end }) => ({ start, cells: Math.ceil((end - start) / cellSize) }));
  const firstCells: number[] = [];
  let cells = 0;
  for (const region of regions) {
    firstCells.push(cells);
    cells += region.cells;
  }
  const placeOf = (address: number, size: number): CellPlace => {
    let low = 0;
    let high = regions.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((regions[middle]?.start ?? 0) <= address) low = middle;
      else high = middle - 1;
    }
    const offset = address - (regions[low]?.start ?? 0);
    const within = offset % cellSize;
    const length = Math.max(1, Math.ceil((within + size) / cellSize));
    const start = (firstCells[low] ?? 0) + (offset - within) / cellSize;
    return { start, length, within, bytes: size === length * cellSize ? 0 : size };
  };
  const note = `A cell of the map stands for ${cellSize} bytes: allocations that share one cover each other there, and nowhere else.`;
  return { cellSize, regions, placeOf, notes: cellSize > granularity ? [note] : [] };
}
