/** Prints results: as tables for the terminal, and as CSV. */
import { checkBounds, totalRatio } from "./bounds.ts";
import { tableLines } from "../src/cli/table.ts";
import { columnsOf } from "../src/cli/terminal.ts";
import { sideOf, type BenchResults, type MicroResult, type TraceResult } from "./results.ts";
import type { Side } from "./turns.ts";

const sides: readonly Side[] = ["asmjit", "address", "span"];

/** A number with three significant digits, or all of its integer digits: 0.123, 12.3, 1,234. */
export function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  if (value === 0) return "0";
  return value.toPrecision(3);
}

/** Rows as aligned columns: the first to the left, the others to the right. */
function columns(rows: readonly (readonly string[])[]): string {
  return tableLines(rows, { align: ["left", "right"], columns: columnsOf(process.stdout) }).join("\n");
}

/** One trace: nanoseconds per operation of each side in each phase, the ratio, and the bytes. */
export function traceTable(trace: TraceResult): string {
  const find = (side: Side) => sideOf(trace, side);
  const phases = trace.sides[0]?.phases ?? [];
  const rows: string[][] = [
    ["ns per operation", "operations", "asmjit", "address", "span", "asmjit/address"],
  ];
  phases.forEach((phase, index) => {
    const ns = sides.map((side) => find(side)?.phases[index]?.ns);
    const [theirs, ours] = ns;
    const ratio = theirs === undefined || ours === undefined ? undefined : theirs / ours;
    rows.push([phase.name, phase.operations.toLocaleString("en-US"), ...ns.map(figure), figure(ratio)]);
  });
  const perOperation = (side: Side): number | undefined => {
    const totalMs = find(side)?.totalMs;
    return totalMs === undefined ? undefined : (totalMs * 1e6) / trace.operations;
  };
  rows.push([
    "total",
    trace.operations.toLocaleString("en-US"),
    ...sides.map((side) => figure(perOperation(side))),
    figure(totalRatio(trace)),
  ]);
  rows.push(["total, ms", "", ...sides.map((side) => figure(find(side)?.totalMs)), ""]);
  const kib = (bytes: number | undefined): string =>
    bytes === undefined ? "-" : `${figure(bytes / 1024)} KiB`;
  const bytesRow = (title: string, of: (side: Side) => number | undefined): void => {
    const theirs = of("asmjit");
    const ours = of("address");
    const ratio = theirs === undefined || ours === undefined ? undefined : theirs / ours;
    rows.push([title, "", ...sides.map((side) => kib(of(side))), figure(ratio)]);
  };
  bytesRow("peak used", (side) => find(side)?.peakUsedBytes);
  bytesRow("peak reserved", (side) => find(side)?.peakReservedBytes);
  bytesRow("metadata", (side) => find(side)?.overheadBytes);
  return `${trace.name}: ${trace.summary}\n${columns(rows)}\n`;
}

/** The micro-benchmarks. */
export function microTable(micro: readonly MicroResult[]): string {
  return `${columns(micro.map(({ name, value, unit }) => [name, figure(value), unit]))}\n`;
}

/** The bounds, and the figures of the run. */
export function boundsTable(results: BenchResults): string {
  const rows = checkBounds(results).map(({ bound, value, verdict, detail }) => {
    const sign = bound.better === "more" ? "≥" : "≤";
    return [
      bound.measure,
      figure(value),
      `${sign} ${bound.required}`,
      `${sign} ${bound.aim}`,
      verdict,
      detail,
    ];
  });
  return `${columns([["measure", "value", "required", "aim", "verdict", "where"], ...rows])}\n`;
}

/** Every figure of every turn, one a line: trace, phase, side, turn, value, unit. */
export function toCsv(results: BenchResults): string {
  const lines = ["trace,phase,side,turn,value,unit"];
  const add = (...cells: (string | number)[]): void => {
    lines.push(
      cells
        .map((cell) => (/[",]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : cell))
        .join(","),
    );
  };
  for (const trace of results.traces) {
    for (const side of trace.sides) {
      for (const phase of side.phases) {
        phase.nsOfTurns.forEach((ns, turn) => add(trace.name, phase.name, side.side, turn + 1, ns, "ns/op"));
      }
      side.totalMsOfTurns.forEach((ms, turn) => add(trace.name, "total", side.side, turn + 1, ms, "ms"));
      add(trace.name, "peak reserved", side.side, "", side.peakReservedBytes, "bytes");
      add(trace.name, "peak used", side.side, "", side.peakUsedBytes, "bytes");
      add(trace.name, "metadata", side.side, "", side.overheadBytes, "bytes");
    }
  }
  for (const result of results.micro) {
    result.ofTurns.forEach((value, turn) =>
      add("micro", result.name, "address", turn + 1, value, result.unit),
    );
  }
  return `${lines.join("\n")}\n`;
}
