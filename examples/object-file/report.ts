/** What was linked, for people and for programs. */
import type { Address } from "jit-allocator";
import type { LoadedLibrary } from "./library.ts";
import { hex } from "./link-error.ts";
import { ROUNDS, type Comparison } from "./trials.ts";

/** What the program shows. */
export interface Report {
  readonly file: string;
  readonly memberCount: number;
  readonly symbolCount: number;
  readonly relocationCount: number;
  readonly tableEntryCount: number;
  readonly veneerCount: number;
  readonly linkMs: number;
  readonly spans: readonly {
    readonly kind: string;
    readonly rx: Address;
    readonly bytes: number;
    readonly size: number;
  }[];
  readonly speed: readonly (Comparison & { readonly ratio: number })[] | undefined;
}

export function reportOf(
  file: string,
  { linked }: LoadedLibrary,
  linkMs: number,
  speed: readonly Comparison[] | undefined,
): Report {
  return {
    file,
    memberCount: linked.members.length,
    symbolCount: linked.symbols.size,
    relocationCount: linked.relocationCount,
    tableEntryCount: linked.tableEntryCount,
    veneerCount: linked.veneerCount,
    linkMs,
    spans: linked.module.spans.map(({ kind, rx, size }) => ({ kind, rx, bytes: linked.bytes[kind], size })),
    speed: speed?.map((comparison) => ({ ...comparison, ratio: comparison.sharedMs / comparison.linkedMs })),
  };
}

/** Columns, the first to the left and the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length))) ?? [];
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(pad).join("  ").trimEnd()).join("\n");
}

const count = (value: number): string => value.toLocaleString("en");

export function textOf(report: Report): string {
  const { file, spans, speed } = report;
  const facts = [
    ["members", count(report.memberCount)],
    ["symbols for others", count(report.symbolCount)],
    ["relocations", count(report.relocationCount)],
    ["entries of the offset table", count(report.tableEntryCount)],
    ["veneers", count(report.veneerCount)],
    ["linked in", `${report.linkMs.toFixed(1)} ms`],
  ];
  const places = [
    ["kind", "bytes", "of span", "at"],
    ...spans.map(({ kind, rx, bytes, size }) => [kind, count(bytes), count(size), hex(rx)]),
  ];
  const parts = [file, table(facts), table(places)];
  if (speed !== undefined) {
    const head = [`best of ${ROUNDS}`, "linked", speed[0]?.sharedObject ?? "", "as fast"];
    const rows = speed.map(({ title, linkedMs, sharedMs, ratio }) => [
      title,
      `${linkedMs.toFixed(1)} ms`,
      `${sharedMs.toFixed(1)} ms`,
      `${ratio.toFixed(2)}×`,
    ]);
    parts.push(table([head, ...rows]));
  }
  return parts.join("\n\n");
}
