/** Draws what `top` shows: counts, the map of all blocks, and the table of allocations. */
import type { HeapSnapshot, SnapshotSpan } from "../index.ts";
import { formatAddress } from "../base/errors.ts";
import { count, formatBytes, FREE, MIXED, USED, USED_LAST } from "./block-map.ts";
import { tableLines } from "./table.ts";
import { cutText, safeText } from "./text-width.ts";
import { KEY_HELP, offsetsOf, placeOf, spansIn, windowOf, type View, type Window } from "./top-view.ts";

/** The size of what is drawn, in characters. */
export interface Extent {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
}

/** The most lines of the map: a third of the frame, and so many. */
const MOST_MAP_LINES = 12;
/** Lines that are neither the map's nor the table's: three of counts, three empty or titles, and the last. */
const OTHER_LINES = 7;
/** The columns before a line of the map: an address. */
const ADDRESS_COLUMNS = "0x7fff_ffff_ffff ".length;

/** The lines of the map and of the table in a frame. */
export function shares(rows: number): { map: number; table: number } {
  const map = Math.max(1, Math.min(MOST_MAP_LINES, Math.floor(rows / 3)));
  return { map, table: Math.max(1, rows - map - OTHER_LINES) };
}

/**
 * The lines of a frame: as many as there is room for, none longer than that.
 * @param snapshot undefined where none has come yet
 * @param note what stands in the last line before the keys
 */
export function frameLines(
  snapshot: HeapSnapshot | undefined,
  view: View,
  extent: Extent,
  note?: string,
): string[] {
  const { columns, rows } = extent;
  const content = [
    ...(snapshot === undefined ? ["jit-allocator"] : countLines(snapshot)),
    ...(view.hasHelp ? ["", ...tableLines(KEY_HELP, { indent: 2 })] : bodyLines(snapshot, view, extent)),
  ];
  const keys = "q quit  s n a o sort  + - zoom  ← → move  h help";
  const state = note ?? (view.isPaused ? "stopped; space goes on" : "");
  const last = state === "" ? keys : `${state}  ${keys}`;
  const fitted = content.slice(0, rows - 1).map((line) => cut(line, columns));
  const [title = "", ...rest] = fitted;
  const filler = Array.from({ length: Math.max(0, rows - 1 - fitted.length) }, () => "");
  const styled = (line: string, style: number): string =>
    extent.color ? `\x1b[${style}m${line}\x1b[0m` : line;
  const lines = [styled(title, 1), ...rest, ...filler, styled(cut(last, columns), 7)];
  return lines.slice(-rows);
}

/** The map and the table. */
function bodyLines(snapshot: HeapSnapshot | undefined, view: View, { columns, rows }: Extent): string[] {
  if (snapshot === undefined) return [];
  const { map, table } = shares(rows);
  const offsets = offsetsOf(snapshot);
  const window = windowOf(view, offsets.at(-1) ?? 0);
  const spans = spansIn(snapshot, view, window);
  return [
    "",
    ...mapLines(snapshot, window, map, Math.max(8, columns - ADDRESS_COLUMNS)),
    titleOf(view, spans.length, snapshot.spans.length),
    ...spanTable(snapshot, spans.slice(clampedScroll(view, spans.length, table)), table),
  ];
}

/** The first line of the table, which there may be no longer. */
function clampedScroll({ scroll }: View, spanCount: number, table: number): number {
  return Math.max(0, Math.min(scroll, spanCount - (table - 1)));
}

/** A line that fits, and has nothing that commands a terminal: names come from other programs. */
function cut(line: string, columns: number): string {
  return cutText(safeText(line), columns);
}

function countLines({ process, takenAt, statistics, range }: HeapSnapshot): string[] {
  const { allocationCount, usedSize, reservedSize, blockCount, residentSize, retiredSize } = statistics;
  const time = takenAt.slice("2026-01-01T".length, "2026-01-01T00:00:00".length);
  const retired = retiredSize === 0 ? "" : `, ${formatBytes(retiredSize)} retired`;
  const place = range === undefined ? "" : `, range from ${formatAddress(range.start)}`;
  const share = reservedSize === 0 ? 0 : (100 * usedSize) / reservedSize;
  return [
    `jit-allocator, process ${process.pid} (${process.runtime}, ${process.system}), ${time} UTC`,
    `${count(allocationCount, "allocation")}, ${formatBytes(usedSize)} of ${formatBytes(reservedSize)} used (${share.toFixed(1)}%) in ${count(blockCount, "block")}`,
    `${formatBytes(residentSize)} resident${retired}, ${formatBytes(statistics.overheadSize)} of metadata${place}`,
  ];
}

function titleOf({ order, isReversed, zoom }: View, shown: number, all: number): string {
  const part =
    zoom === 0 ? count(all, "allocation") : `${shown} of ${count(all, "allocation")}, those on the map`;
  return `${part}, by ${order}${isReversed ? ", reversed" : ""}`;
}

function spanTable({ blocks }: HeapSnapshot, spans: readonly SnapshotSpan[], lines: number): string[] {
  const hasThreads = spans.some(({ thread }) => thread !== undefined);
  const rows = spans
    .slice(0, lines - 1)
    .map((span) => [
      formatAddress(span.rx),
      span.size.toLocaleString("en-US"),
      span.retired === true ? "retired" : safeText(blocks[span.block]?.kind ?? ""),
      ...(hasThreads ? [span.thread === undefined ? "" : String(span.thread), String(span.order ?? "")] : []),
      safeText(span.name ?? ""),
    ]);
  const heads = ["address", "bytes", "kind", ...(hasThreads ? ["thread", "order"] : []), "name"];
  const align = hasThreads
    ? (["left", "right", "left", "right", "right", "left"] as const)
    : (["left", "right", "left", "left"] as const);
  return tableLines([heads, ...rows], { align });
}

/** The map of a part of the heap: each line begins with the address of its first byte. */
export function mapLines(snapshot: HeapSnapshot, window: Window, lines: number, width: number): string[] {
  const { blocks, spans } = snapshot;
  if (blocks.length === 0) return ["no block is mapped"];
  const granularity = blocks.reduce((least, block) => Math.min(least, block.granularity), Infinity);
  const cells = lines * width;
  const cellBytes = Math.max(
    granularity,
    Math.ceil((window.end - window.start) / cells / granularity) * granularity,
  );
  const first = Math.floor(window.start / cellBytes) * cellBytes;
  const total = Math.min(cells, Math.ceil((window.end - first) / cellBytes));
  const offsets = offsetsOf(snapshot);
  const used = new Float64Array(total);
  const ends = new Uint8Array(total);
  const add = (start: number, size: number): void => {
    const end = start + size;
    const last = Math.min(total - 1, Math.ceil((end - first) / cellBytes) - 1);
    for (let cell = Math.max(0, Math.floor((start - first) / cellBytes)); cell <= last; cell++) {
      const from = first + cell * cellBytes;
      used[cell] = (used[cell] ?? 0) + Math.min(end, from + cellBytes) - Math.max(start, from);
    }
    if (last >= 0 && end <= first + (last + 1) * cellBytes) ends[last] = 1;
  };
  blocks.forEach(({ padding }, index) => {
    if (padding !== undefined) add(offsets[index] ?? 0, padding);
  });
  for (const span of spans) add(placeOf(span, snapshot, offsets), span.size);
  const text = Array.from(used, (bytes, cell) => {
    if (bytes === 0) return FREE;
    if (bytes < cellBytes) return MIXED;
    return ends[cell] === 1 && cellBytes === granularity ? USED_LAST : USED;
  });
  const result: string[] = [];
  for (let cell = 0; cell < total; cell += width) {
    const address = addressAt(snapshot, offsets, first + cell * cellBytes);
    result.push(
      `${formatAddress(address).padEnd(ADDRESS_COLUMNS)}${text.slice(cell, cell + width).join("")}`,
    );
  }
  result.push(`${formatBytes(cellBytes)} a character: ${USED} used ${MIXED} partly ${FREE} free`);
  return result;
}

function addressAt({ blocks }: HeapSnapshot, offsets: readonly number[], at: number): number {
  let index = blocks.length - 1;
  while (index > 0 && (offsets[index] ?? 0) > at) index--;
  return (blocks[index]?.rx ?? 0) + at - (offsets[index] ?? 0);
}
