/** What stands around compiled code: the rows it leaves over, and the rows for which it is not exact. */
import type { ColumnData, PlainFilter } from "./javascript.ts";

/** The columns of a filter, in its order. */
export type Columns = readonly ColumnData[];

/**
 * Looks at whole vectors of rows from `from` on, while they end at `to` or before, and appends the rows that pass to
 * the first `count` of the selection.
 *
 * @returns how many rows are selected then. If the code came to rows for which it is not exact, `~count`, and
 *   `selection[count]` is the first of them
 */
export type Kernel = (count: number, from: number, to: number) => number;

/** A filter as some compiler made it. */
export interface CompiledFilter {
  /** Of vectors: the kernel leaves fewer rows than this. */
  readonly lanes: number;
  /** The code, over certain columns. */
  readonly bind: (selection: Uint32Array, columns: Columns) => Kernel;
}

/** @returns how many of the rows are selected: the first of the selection */
export type BoundFilter = (from: number, to: number) => number;

/** After the first row that the code cannot decide, plain JavaScript looks at this many. */
const LEAST_PLAIN_ROWS = 64;
/** While the code stops again at once, that many more each time: calls cost as much as some hundred rows. */
const MOST_PLAIN_ROWS = 4096;

/** A filter whose selection is that of plain JavaScript, for all numbers. */
export function bindFilter(
  { lanes, bind }: CompiledFilter,
  plain: PlainFilter,
  selection: Uint32Array,
  columns: Columns,
): BoundFilter {
  const kernel = bind(selection, columns);
  return (from, to) => {
    let count = 0;
    let row = from;
    let plainRows = LEAST_PLAIN_ROWS;
    while (to - row >= lanes) {
      const result = kernel(count, row, to);
      if (result >= 0) {
        count = result;
        row = to - ((to - row) % lanes);
        break;
      }
      count = ~result;
      const stop = selection[count] ?? row;
      plainRows = stop === row ? Math.min(2 * plainRows, MOST_PLAIN_ROWS) : LEAST_PLAIN_ROWS;
      row = Math.min(stop + plainRows, to);
      count = plain(selection, count, stop, row, ...columns);
    }
    return row < to ? plain(selection, count, row, to, ...columns) : count;
  };
}
