/** Breaks lines between words, so that a terminal does not break them inside of words. */
import { stripVTControlCharacters } from "node:util";
import { textWidth } from "./text-width.ts";

/** In a terminal with fewer columns than this, lines are not broken here. */
const LEAST_COLUMNS = 20;
/** The last column of a table is wrapped beneath itself if it has at least this many columns of the terminal. */
const LEAST_COLUMN = 30;

/** The columns that a text of one line takes. It may have colours. */
export function widthOf(text: string): number {
  return textWidth(stripVTControlCharacters(text));
}

/**
 * Breaks lines that are longer than `columns` between words. The rest of a line begins under its last column that leaves
 * room for it; columns are set apart by two spaces. A word that is longer than a line stays whole.
 *
 * @param columns of the terminal; undefined = there is none, and lines stay as they are
 */
export function wrap(text: string, columns: number | undefined): string {
  if (columns === undefined || columns < LEAST_COLUMNS) return text;
  return paragraphsOf(text.split("\n"), columns)
    .map((line) => (widthOf(line) <= columns ? line : wrapLine(line, columns)))
    .join("\n");
}

/** The lines. Where a line of a paragraph is too long, the paragraph becomes one line, so that it is filled anew. */
function paragraphsOf(lines: readonly string[], columns: number): readonly string[] {
  const result: string[] = [];
  for (let index = 0; index < lines.length; index++) {
    const isProse = (line: string | undefined): boolean => line !== undefined && /^\S+( \S+)+$/.test(line);
    let end = index + 1;
    if (isProse(lines[index])) while (isProse(lines[end])) end++;
    const paragraph = lines.slice(index, end);
    if (paragraph.some((line) => widthOf(line) > columns)) result.push(paragraph.join(" "));
    else result.push(...paragraph);
    index = end - 1;
  }
  return result;
}

function wrapLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  const starts = [...plain.matchAll(/ {2,}(?=\S)/g)].map((gap) => gap.index + gap[0].length);
  // "  - " begins an item of a list.
  const item = /^ *- /.exec(plain)?.[0].length ?? 0;
  const fitting = starts.filter((start) => start <= Math.max(columns - LEAST_COLUMN, 0));
  const indent = Math.max(item, fitting.at(-1) ?? 0);
  // A last column without room beside the others begins beneath them.
  const cut = starts.length > fitting.length ? line.search(/ {2,}(?=\S+(?: \S+)*$)/) : -1;
  if (cut < 0) return fill(line, indent, columns);
  const rest = `${" ".repeat(indent)}${line.slice(cut).trimStart()}`;
  return `${fill(line.slice(0, cut), indent, columns)}\n${fill(rest, indent, columns)}`;
}

/** Breaks one line; the lines that follow begin at `indent`. */
function fill(line: string, indent: number, columns: number): string {
  const lines: string[] = [];
  let current = "";
  for (const [index, word] of line.split(" ").entries()) {
    const longer = index === 0 ? word : `${current} ${word}`;
    const isRoom = widthOf(longer) <= columns || widthOf(current) <= indent;
    if (isRoom) {
      current = longer;
    } else {
      lines.push(current.trimEnd());
      // Spaces that set columns apart are not carried over.
      current = word === "" ? " ".repeat(Math.max(0, indent - 1)) : " ".repeat(indent) + word;
    }
  }
  return [...lines, current.trimEnd()].join("\n");
}
