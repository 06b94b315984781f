/** A snapshot as page data. */
import type { HeapSnapshot } from "../insight/snapshot-format.ts";
import type { PageData } from "./contract.ts";
import { NEVER } from "./contract.ts";
import { regionsOf } from "./regions.ts";

const KINDS = ["code", "constants", "data"] as const;

/** A listing of the code of a span; undefined where there is none. */
export type Lister = (code: Uint8Array, rx: number) => string | undefined;

/** @param listingOf makes the listings of spans whose code the snapshot has */
export function pageOfSnapshot(title: string, snapshot: HeapSnapshot, listingOf?: Lister): PageData {
  const { blocks, spans, statistics, process, range } = snapshot;
  const granularity = blocks.reduce((least, block) => Math.min(least, block.granularity), 256);
  const { cellSize, regions, placeOf, notes } = regionsOf(blocks, granularity);
  const count = spans.length;
  const codes = spans.map(({ code }) => (code === undefined ? undefined : bytesOf(code)));
  const codeSize = codes.reduce((sum, code) => sum + (code?.length ?? 0), 0);
  const columns = {
    start: new Uint32Array(count),
    length: new Uint32Array(count),
    within: new Uint32Array(count),
    bytes: new Uint32Array(count),
    birth: new Uint32Array(count),
    death: new Uint32Array(count).fill(NEVER),
    asked: new Uint32Array(count),
    name: new Uint32Array(count),
    kind: new Uint8Array(count),
    thread: new Uint32Array(count),
    order: new Uint32Array(count),
    retired: new Uint8Array(count),
    codeStart: new Uint32Array(count),
    codeLength: new Uint32Array(count),
    code: new Uint8Array(codeSize),
    timeAt: new Uint32Array(0),
    timeMs: new Uint32Array(0),
  };
  const ranks = ranksOf(spans.flatMap(({ order }) => order ?? []));
  const names = new Map<string, number>();
  const listings: Record<number, string> = {};
  let codeAt = 0;
  spans.forEach((span, index) => {
    const place = placeOf(span.rx, span.size);
    columns.start[index] = place.start;
    columns.length[index] = place.length;
    columns.within[index] = place.within;
    columns.bytes[index] = place.bytes;
    columns.kind[index] = KINDS.indexOf(blocks[span.block]?.kind ?? "code");
    columns.thread[index] = span.thread ?? 0;
    columns.order[index] = ranks.get(span.order) ?? 0;
    columns.retired[index] = span.retired === true ? 1 : 0;
    if (span.name !== undefined) {
      let name = names.get(span.name);
      if (name === undefined) names.set(span.name, (name = names.size + 1));
      columns.name[index] = name;
    }
    const code = codes[index];
    if (code === undefined) return;
    columns.codeStart[index] = codeAt;
    columns.codeLength[index] = code.length;
    columns.code.set(code, codeAt);
    codeAt += code.length;
    const listing = listingOf?.(code, span.rx);
    if (listing !== undefined) listings[index] = listing;
  });
  return {
    header: {
      schema: "jit-allocator/heap-map@1",
      source: "snapshot",
      title,
      facts: [
        ["Taken", snapshot.takenAt],
        ["Process", `${process.pid}: ${process.runtime}, ${process.system}`],
        ...(range === undefined
          ? []
          : [["Range", `${hex(range.start)}, ${range.size.toLocaleString("en-US")} bytes`] as const]),
        ["Metadata", `${statistics.overheadSize.toLocaleString("en-US")} bytes`],
      ],
      notes: [
        ...notes,
        ...(spans.some(({ order }) => order !== undefined) ? [] : ["The snapshot does not know ages."]),
      ],
      cellSize,
      regions,
      blocks: blocks.map((block) => ({
        rx: block.rx,
        rw: block.rw,
        size: block.size,
        kind: block.kind,
        granularity: block.granularity,
        padding: block.padding ?? 0,
        from: 0,
      })),
      names: [...names.keys()],
      kinds: KINDS,
      operationCount: 0,
      phases: [],
      residentSize: statistics.residentSize,
      takenAt: Date.parse(snapshot.takenAt),
      listings,
    },
    columns,
  };
}

/** The rank of each number among all of them, from 1 on. */
function ranksOf(numbers: readonly number[]): ReadonlyMap<number | undefined, number> {
  const sorted = Float64Array.from(new Set(numbers)).sort();
  return new Map(Array.from(sorted, (number, index) => [number, index + 1]));
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}
