/**
 * Page data as bytes, and back. A header of JSON, then the columns. A column is cut into planes, all lowest bytes first, and
 * what mostly ascends is kept as differences: so gzip makes a tenth of it. Runs in browsers too.
 */
import type { PageColumns, PageData, PageHeader } from "./contract.ts";

type Column = Uint32Array | Uint8Array;
type ColumnName = keyof PageColumns;

/** How a column is kept: its bytes as they are, in planes, or the planes of differences from the value before. */
const METHODS: Readonly<Record<ColumnName, "bytes" | "planes" | "differences">> = {
  start: "planes",
  length: "planes",
  within: "planes",
  bytes: "planes",
  birth: "differences",
  death: "planes",
  asked: "planes",
  name: "differences",
  kind: "bytes",
  thread: "planes",
  order: "differences",
  retired: "bytes",
  codeStart: "differences",
  codeLength: "planes",
  code: "bytes",
  timeAt: "differences",
  timeMs: "differences",
};

const NAMES = Object.keys(METHODS) as readonly ColumnName[];

/** The header as it is written: with the length of each column that is not 0 everywhere. */
interface Written {
  readonly header: PageHeader;
  /** The number of pieces. */
  readonly count: number;
  readonly lengths: Partial<Record<ColumnName, number>>;
}

/** The columns whose length is not that of the pieces. */
const OWN_LENGTH: ReadonlySet<ColumnName> = new Set<ColumnName>(["code", "timeAt", "timeMs"]);

/** Writes page data. */
export function encodePage({ header, columns }: PageData): Uint8Array {
  const kept = NAMES.filter((name) => columns[name].some((value) => value !== 0));
  const lengths = Object.fromEntries(kept.map((name) => [name, columns[name].length]));
  const written: Written = { header, count: columns.start.length, lengths };
  const text = new TextEncoder().encode(JSON.stringify(written));
  const parts = kept.map((name) => encodeColumn(columns[name], METHODS[name]));
  const total = parts.reduce((sum, part) => sum + part.length, 4 + text.length);
  const bytes = new Uint8Array(total);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  let at = 4 + text.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Reads what {@link encodePage} wrote. */
export function decodePage(bytes: Uint8Array): PageData {
  const headerLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  let at = 4 + headerLength;
  const { header, count, lengths } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, at))) as Written;
  const read = (name: ColumnName): Uint32Array => {
    const length = lengths[name];
    if (length === undefined) return new Uint32Array(OWN_LENGTH.has(name) ? 0 : count);
    const values = decodePlanes(bytes.subarray(at, at + 4 * length), length, METHODS[name] === "differences");
    at += 4 * length;
    return values;
  };
  const readBytes = (name: ColumnName): Uint8Array => {
    const length = lengths[name];
    if (length === undefined) return new Uint8Array(OWN_LENGTH.has(name) ? 0 : count);
    at += length;
    return bytes.subarray(at - length, at);
  };
  // In the order in which they were written.
  const columns: PageColumns = {
    start: read("start"),
    length: read("length"),
    within: read("within"),
    bytes: read("bytes"),
    birth: read("birth"),
    death: read("death"),
    asked: read("asked"),
    name: read("name"),
    kind: readBytes("kind"),
    thread: read("thread"),
    order: read("order"),
    retired: readBytes("retired"),
    codeStart: read("codeStart"),
    codeLength: read("codeLength"),
    code: readBytes("code"),
    timeAt: read("timeAt"),
    timeMs: read("timeMs"),
  };
  return { header, columns };
}

function encodeColumn(column: Column, method: "bytes" | "planes" | "differences"): Uint8Array {
  if (method === "bytes") return Uint8Array.from(column);
  const count = column.length;
  const planes = new Uint8Array(4 * count);
  let before = 0;
  column.forEach((value, index) => {
    let kept = value;
    if (method === "differences") {
      const difference = (value - before) | 0;
      // Small numbers on both sides of 0 become small numbers.
      kept = (difference << 1) ^ (difference >> 31);
      before = value;
    }
    planes[index] = kept;
    planes[count + index] = kept >>> 8;
    planes[2 * count + index] = kept >>> 16;
    planes[3 * count + index] = kept >>> 24;
  });
  return planes;
}

function decodePlanes(planes: Uint8Array, count: number, isDifferences: boolean): Uint32Array {
  const values = new Uint32Array(count);
  let before = 0;
  for (let index = 0; index < count; index++) {
    const kept =
      (planes[index] ?? 0) |
      ((planes[count + index] ?? 0) << 8) |
      ((planes[2 * count + index] ?? 0) << 16) |
      ((planes[3 * count + index] ?? 0) << 24);
    if (isDifferences) before = (before + ((kept >>> 1) ^ -(kept & 1))) | 0;
    else before = kept;
    values[index] = before;
  }
  return values;
}
