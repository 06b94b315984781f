/** Sets rows in columns, and breaks the widest column of text where the terminal is too narrow for the table. */
import { widthOf } from "./wrap.ts";

/** Columns between two columns of a table. */
const GAP = 2;
/** A column of text gets no narrower than this. */
const LEAST_WIDTH = 12;

/** How a table looks. */
export interface TableLayout {
  /** `left` for text, `right` for numbers, by column; the last one stands for those that follow. Default: all left. */
  readonly align?: readonly ("left" | "right")[];
  /** Spaces before each line. */
  readonly indent?: number;
  /** The columns of the terminal; undefined = the table may be as wide as it is. */
  readonly columns?: number | undefined;
}

/** The lines of a table. Cells may have colours; a missing cell is empty. */
export function tableLines(
  rows: readonly (readonly string[])[],
  { align = [], indent = 0, columns }: TableLayout = {},
): string[] {
  const isRight = (column: number): boolean => (align[column] ?? align.at(-1)) === "right";
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
  narrow(widths, isRight, (columns ?? Infinity) - indent);
  return rows.flatMap((row) => {
    const cells = row.map((cell, column) =>
      isRight(column) ? [cell] : breakCell(cell, widths[column] ?? Infinity),
    );
    const height = Math.max(1, ...cells.map((lines) => lines.length));
    return Array.from({ length: height }, (_, index) => {
      const line = cells.map((lines, column) => {
        const text = lines[index] ?? "";
        const space = " ".repeat(Math.max(0, (widths[column] ?? 0) - widthOf(text)));
        return isRight(column) ? space + text : text + space;
      });
      return (" ".repeat(indent) + line.join(" ".repeat(GAP))).trimEnd();
    });
  });
}

/** Takes what is too much from the widest column of text, as far as it goes. */
function narrow(widths: number[], isRight: (column: number) => boolean, columns: number): void {
  const excess = widths.reduce((sum, width) => sum + width + GAP, -GAP) - columns;
  if (excess <= 0) return;
  let widest = -1;
  for (const [column, width] of widths.entries())
    if (!isRight(column) && width > (widths[widest] ?? 0)) widest = column;
  const width = widths[widest];
  if (width !== undefined && width > LEAST_WIDTH) widths[widest] = Math.max(LEAST_WIDTH, width - excess);
}

/** Breaks a cell between words; a longer word stays whole. */
function breakCell(cell: string, width: number): string[] {
  if (widthOf(cell) <= width) return [cell];
  const lines: string[] = [];
  let line = "";
  for (const word of cell.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && widthOf(longer) > width) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return [...lines, line];
}
