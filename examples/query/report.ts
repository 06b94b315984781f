/** The measurements as tables for a terminal. */
import type { Engine } from "./engines.ts";
import type { Costs } from "./measure.ts";

/** A measurement of all engines. */
export interface Measurement {
  readonly title: string;
  readonly unit: "ns/row" | "ms";
  readonly costs: Costs;
}

/** A column of a table: its heading, and a cell for each row. */
interface Column {
  readonly heading: string;
  readonly cells: readonly string[];
}

/** Columns that belong together, below a title. */
interface Group {
  readonly title: string;
  readonly columns: readonly Column[];
}

const GAP = "  ";

/** Three digits that mean something. */
function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function factor(slow: number, quick: number): string {
  return `${short(slow / quick)}×`;
}

function costsOf(costs: Costs, engines: readonly Engine[]): readonly number[] {
  return engines.map((engine) => costs.get(engine) ?? NaN);
}

/** The cost, and how many times as quick that is as the quickest JavaScript and as WebAssembly. */
function groupOf({ unit, costs }: Measurement, engines: readonly Engine[]): readonly Column[] {
  const bestOf = (kind: Engine["kind"]): number =>
    Math.min(
      ...costsOf(
        costs,
        engines.filter((engine) => engine.kind === kind),
      ),
    );
  const [javascript, webassembly] = [bestOf("javascript"), bestOf("webassembly")];
  const times = costsOf(costs, engines);
  return [
    { heading: unit, cells: times.map(short) },
    { heading: "JS", cells: times.map((time) => factor(javascript, time)) },
    { heading: "Wasm", cells: times.map((time) => factor(webassembly, time)) },
  ];
}

function widthOf({ heading, cells }: Column): number {
  return Math.max(heading.length, ...cells.map(({ length }) => length));
}

function widthOfGroup({ columns }: Group): number {
  return columns.reduce((sum, column) => sum + GAP.length + widthOf(column), 0);
}

/** The group with a first column so wide that the title fits above. */
function withRoomForTitle(group: Group): Group {
  const [first, ...others] = group.columns;
  const missing = GAP.length + group.title.length - widthOfGroup(group);
  if (first === undefined || missing <= 0) return group;
  const heading = first.heading.padStart(widthOf(first) + missing);
  return { ...group, columns: [{ ...first, heading }, ...others] };
}

/** Lines of cells, the first column to the left, the others to the right. */
function linesOf(columns: readonly Column[]): readonly string[] {
  const height = columns[0]?.cells.length ?? 0;
  const line = (cell: (column: Column) => string): string =>
    columns
      .map((column, index) =>
        index === 0 ? cell(column).padEnd(widthOf(column)) : cell(column).padStart(widthOf(column)),
      )
      .join(GAP)
      .trimEnd();
  return [
    line(({ heading }) => heading),
    ...Array.from({ length: height }, (_, row) => line(({ cells }) => cells[row] ?? "")),
  ];
}

/** As many of the groups side by side as the terminal has room for, the others beneath them. */
function tables(groups: readonly Group[], engines: readonly Engine[], terminalColumns: number): string {
  const names: Column = { heading: "", cells: engines.map(({ name }) => name) };
  const rest = groups.map(withRoomForTitle);
  const parts: string[] = [];
  while (rest.length > 0) {
    const fitting: Group[] = [];
    let width = widthOf(names);
    for (let group = rest[0]; group !== undefined; group = rest[0]) {
      width += widthOfGroup(group);
      if (fitting.length > 0 && width > terminalColumns) break;
      fitting.push(group);
      rest.shift();
    }
    const titles = fitting.map((group) => group.title.padStart(widthOfGroup(group))).join("");
    const lines = linesOf([names, ...fitting.flatMap(({ columns }) => columns)]);
    const head = titles.trim() === "" ? [] : [" ".repeat(widthOf(names)) + titles];
    parts.push([...head, ...lines].join("\n"));
  }
  return parts.join("\n\n");
}

/** The measurements, each with its cost and what that is beside the others. */
export function comparison(
  measurements: readonly Measurement[],
  engines: readonly Engine[],
  terminalColumns: number,
): string {
  const groups = measurements.map((measurement) => ({
    title: measurement.title,
    columns: groupOf(measurement, engines),
  }));
  return tables(groups, engines, terminalColumns);
}

/** A column for each measurement, with nothing but its costs. */
export function costTable(
  measurements: readonly Measurement[],
  engines: readonly Engine[],
  terminalColumns: number,
): string {
  const groups = measurements.map(({ title, costs }) => ({
    title: "",
    columns: [{ heading: title, cells: costsOf(costs, engines).map(short) }],
  }));
  return tables(groups, engines, terminalColumns);
}

/** Breaks a paragraph between words. */
export function fill(text: string, terminalColumns: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > terminalColumns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join("\n");
}
