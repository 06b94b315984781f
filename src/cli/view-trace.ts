/** A trace as page data. */
import type { PageBlock, PageColumns, PageData } from "../view/contract.ts";
import { NEVER } from "../view/contract.ts";
import { regionsOf, type CellPlace, type Regions } from "../view/regions.ts";
import type { TraceNotes } from "./trace-notes.ts";
import { OperationKind, type Trace } from "./trace.ts";
import { rounded, type Placement } from "./view-replay.ts";

/** The latest time that a page knows, 49 days. */
const MOST_MS = 0xffff_ffff;
/** More blocks make a page that no browser shows: then a stretch that counts as one is twice as long. */
const MOST_BLOCKS = 2 ** 18;

/** What an allocator has where the trace does not tell. */
const DEFAULT_GRANULARITY = 64;
const DEFAULT_BLOCK_SIZE = 65_536;

const REPLAYED =
  "The trace has no addresses: it was run on a fresh allocator, and the map shows where that one put everything.";
const RECORDED =
  "The trace does not say which blocks were mapped: a stretch of memory counts as reserved from its first allocation on.";
const UNPLACED = "Allocations whose address the trace does not tell are left out.";
const TOUCHED =
  "Touched pages are those in which something has been allocated since their block was mapped: no more can be resident.";

/** Where the allocations of a recorded trace were. Blocks are what was in use at some time, in steps of a block's size. */
export function placeByNotes(trace: Trace, notes: TraceNotes): Placement {
  const { kinds, sizes, operationCount } = trace;
  const { granularity = DEFAULT_GRANULARITY, blockSize = DEFAULT_BLOCK_SIZE } = notes;
  const taken = new Float64Array(operationCount);
  for (let index = 0; index < operationCount; index++) {
    const kind = kinds[index];
    if (kind === OperationKind.alloc || kind === OperationKind.shrink)
      taken[index] = rounded(sizes[index] ?? 0, granularity);
  }
  let blocks: readonly PageBlock[] | undefined;
  for (let stretch = blockSize; blocks === undefined; stretch *= 2)
    blocks = stretchesIn(notes, taken, stretch, granularity);
  return { addresses: notes.addresses, sizes: taken, blocks, granularity };
}

/** The stretches of a length that had something in them; undefined where there are too many. */
function stretchesIn(
  { addresses, kinds, kindOf }: TraceNotes,
  taken: Float64Array,
  stretch: number,
  granularity: number,
): readonly PageBlock[] | undefined {
  const blocks = new Map<number, PageBlock>();
  for (const [index, address] of addresses.entries()) {
    if (address === 0) continue;
    const end = address + (taken[index] ?? 0);
    for (let rx = address - (address % stretch); rx < end; rx += stretch) {
      if (blocks.has(rx)) continue;
      if (blocks.size === MOST_BLOCKS) return undefined;
      const kind = kinds[(kindOf[index] ?? 0) - 1] ?? "code";
      blocks.set(rx, { rx, size: stretch, kind, granularity, padding: 0, from: index + 1 });
    }
  }
  return [...blocks.values()];
}

/** @param isReplayed whether the addresses are those of a replay */
export function pageOfTrace(
  title: string,
  trace: Trace,
  notes: TraceNotes,
  placement: Placement,
  isReplayed: boolean,
): PageData {
  const { operationCount, phases } = trace;
  const { blocks, granularity } = placement;
  const { cellSize, regions, placeOf, notes: cellNotes } = regionsOf(blocks, granularity);
  const { columns, leftOut } = columnsOf(trace, notes, placement, placeOf);
  return {
    header: {
      schema: "jit-allocator/heap-map@1",
      source: "trace",
      title,
      facts: [
        ["Operations", operationCount.toLocaleString("en-US")],
        ["Addresses", isReplayed ? "of a replay" : "recorded"],
        ["Granularity", `${granularity} bytes`],
      ],
      notes: [isReplayed ? REPLAYED : RECORDED, ...(leftOut > 0 ? [UNPLACED] : []), ...cellNotes, TOUCHED],
      cellSize,
      regions,
      blocks,
      names: notes.names,
      kinds: notes.kinds.length === 0 ? ["code"] : notes.kinds,
      operationCount,
      phases: phases.map(({ name, start }) => ({ name, at: start })),
      listings: {},
    },
    columns,
  };
}

/** The pieces, while they grow in number. */
class Pieces {
  readonly address: number[] = [];
  readonly place: CellPlace[] = [];
  readonly birth: number[] = [];
  readonly death: number[] = [];
  /** The operation that allocated it, from 0. */
  readonly origin: number[] = [];
  readonly asked: number[] = [];

  add(address: number, place: CellPlace, birth: number, origin: number, asked: number): number {
    this.address.push(address);
    this.place.push(place);
    this.birth.push(birth);
    this.death.push(NEVER);
    this.origin.push(origin);
    return this.asked.push(asked) - 1;
  }
}

function columnsOf(
  { kinds, slots, sizes, slotCount, operationCount }: Trace,
  notes: TraceNotes,
  placement: Placement,
  placeOf: Regions["placeOf"],
): { readonly columns: PageColumns; readonly leftOut: number } {
  const pieces = new Pieces();
  /** The piece of each slot, plus 1; 0 = none. */
  const pieceOf = new Int32Array(slotCount);
  let leftOut = 0;
  const end = (slot: number, time: number): number => {
    const piece = (pieceOf[slot] ?? 0) - 1;
    if (piece >= 0) pieces.death[piece] = time;
    pieceOf[slot] = 0;
    return piece;
  };
  for (let index = 0; index < operationCount; index++) {
    const slot = slots[index] ?? 0;
    const time = index + 1;
    const size = placement.sizes[index] ?? 0;
    const asked = sizes[index] ?? 0;
    switch (kinds[index]) {
      case OperationKind.alloc: {
        const address = placement.addresses[index] ?? 0;
        if (address === 0) {
          pieceOf[slot] = 0;
          leftOut++;
        } else pieceOf[slot] = pieces.add(address, placeOf(address, size), time, index, asked) + 1;
        break;
      }
      case OperationKind.release:
        end(slot, time);
        break;
      case OperationKind.shrink: {
        const piece = end(slot, time);
        if (piece < 0 || asked === 0) break;
        const address = pieces.address[piece] ?? 0;
        const origin = pieces.origin[piece] ?? 0;
        pieceOf[slot] = pieces.add(address, placeOf(address, size), time, origin, asked) + 1;
        break;
      }
      default:
    }
  }
  const { origin } = pieces;
  const ofOrigin = (values: ArrayLike<number>): number[] => origin.map((operation) => values[operation] ?? 0);
  const count = origin.length;
  const columns = {
    start: Uint32Array.from(pieces.place, ({ start }) => start),
    length: Uint32Array.from(pieces.place, ({ length }) => length),
    within: Uint32Array.from(pieces.place, ({ within }) => within),
    bytes: Uint32Array.from(pieces.place, ({ bytes }) => bytes),
    birth: Uint32Array.from(pieces.birth),
    death: Uint32Array.from(pieces.death),
    asked: Uint32Array.from(pieces.asked),
    name: Uint32Array.from(ofOrigin(notes.nameOf)),
    kind: Uint8Array.from(ofOrigin(notes.kindOf), (kind) => Math.max(0, kind - 1)),
    thread: Uint32Array.from(ofOrigin(notes.threadOf)),
    order: Uint32Array.from(origin, (operation) => operation + 1),
    retired: new Uint8Array(count),
    codeStart: new Uint32Array(count),
    codeLength: new Uint32Array(count),
    code: new Uint8Array(0),
    timeAt: Uint32Array.from(notes.timeAt),
    timeMs: Uint32Array.from(notes.timeUs, (time) => Math.min(MOST_MS, Math.floor(time / 1000))),
  };
  return { columns, leftOut };
}
