/** The heap at any moment of a trace: which piece is where. */
import type { PageBlock, PageColumns, PageData, PageHeader } from "../src/view/contract.ts";
import { NEVER } from "../src/view/contract.ts";
import type { Layout } from "./layout.ts";

/** What a place of the map holds, beside the numbers of pieces (from 1 on). */
export const FREE = 0;
export const UNMAPPED = -1;
export const PADDING = -2;

/** Bytes of a page of memory. */
const PAGE_SIZE = 4096;

/** Counts of one moment. */
export interface Counts {
  readonly live: number;
  readonly liveBytes: number;
  readonly reservedBytes: number;
}

/** Series over a trace. */
export interface Series {
  /** After how many operations. */
  readonly at: number[];
  readonly live: number[];
  readonly reserved: number[];
  readonly resident: number[];
}

/** Free runs of one class: sizes are bytes. */
export interface FreeClass {
  /** The shortest run of the class; the longest is less than twice as long. */
  readonly shortest: number;
  runs: number;
  bytes: number;
}

/** The heap. Pieces are known by their index. */
export class Heap {
  readonly header: PageHeader;
  readonly columns: PageColumns;
  readonly layout: Layout;
  readonly count: number;
  /** The place on the map at which each piece begins. */
  readonly places: Uint32Array;
  /** For each place what it holds: the index of a piece plus 1, or one of the constants above. */
  readonly owners: Int32Array;
  /** The pieces that came or went since somebody asked; undefined: anything may have changed. */
  changedPieces: number[] | undefined;
  /** Bytes of a granule. */
  readonly granularity: number;
  /** All pieces by address, where a cell may be of several of them; else undefined. */
  readonly #byAddress: Uint32Array | undefined;
  /** Pieces in the order in which they end: those that do. */
  readonly #byDeath: Uint32Array;
  /** The moments at which blocks come or go, ascending. */
  readonly #blockTimes: readonly number[];
  #time = -1;
  #livePieces: Uint32Array = new Uint32Array(0);
  #livePiecesAt = -1;

  constructor({ header, columns }: PageData, layout: Layout) {
    this.header = header;
    this.columns = columns;
    this.layout = layout;
    this.count = columns.start.length;
    this.places = columns.start.map((cell) => layout.placeOfCell(cell));
    this.owners = new Int32Array(layout.columns * layout.rows);
    this.granularity = header.blocks.reduce(
      (least, one) => Math.min(least, one.granularity),
      header.cellSize,
    );
    if (this.granularity < header.cellSize) {
      const addresses = Float64Array.from(this.places, (_, piece) => this.addressOf(piece));
      this.#byAddress = Uint32Array.from(this.places.keys()).sort(
        (one, other) => (addresses[one] ?? 0) - (addresses[other] ?? 0),
      );
    }
    this.#byDeath = orderByDeath(columns.death, header.operationCount);
    const times = header.blocks.flatMap(({ from, to }) => (to === undefined ? [from] : [from, to]));
    this.#blockTimes = [...new Set(times)].sort((one, other) => one - other);
    this.moveTo(header.operationCount);
  }

  /** After how many operations it is shown. */
  get time(): number {
    return this.#time;
  }

  isLive(piece: number): boolean {
    return this.isLiveAt(piece, this.#time);
  }

  isLiveAt(piece: number, time: number): boolean {
    const { birth, death } = this.columns;
    return (birth[piece] ?? NEVER) <= time && time < (death[piece] ?? 0);
  }

  /** The address at which a piece begins. */
  addressOf(piece: number): number {
    return (this.layout.addressOfPlace(this.places[piece] ?? 0) ?? 0) + (this.columns.within[piece] ?? 0);
  }

  /** Bytes that a piece takes. */
  sizeOf(piece: number): number {
    const bytes = this.columns.bytes[piece] ?? 0;
    return bytes > 0 ? bytes : (this.columns.length[piece] ?? 0) * this.header.cellSize;
  }

  nameOf(piece: number): string {
    return this.header.names[(this.columns.name[piece] ?? 0) - 1] ?? "";
  }

  kindOf(piece: number): string {
    return this.header.kinds[this.columns.kind[piece] ?? 0] ?? "";
  }

  /** The piece at a place; -1 where there is none. */
  pieceAt(place: number): number {
    return Math.max(-1, (this.owners[place] ?? 0) - 1);
  }

  /** The live piece that begins at an address; -1 where there is none. */
  pieceFrom(address: number): number {
    const pieces = this.livePieces();
    const next = firstAbove(address, pieces.length, (index) => this.addressOf(pieces[index] ?? 0));
    const piece = pieces[next - 1] ?? -1;
    return piece >= 0 && this.addressOf(piece) === address ? piece : -1;
  }

  /** The block that has an address now. */
  blockAt(address: number): PageBlock | undefined {
    return this.#blocksAt(this.#time).find(({ rx, size }) => rx <= address && address < rx + size);
  }

  /** Shows the heap as it was after that many operations. */
  moveTo(time: number): void {
    const before = this.#time;
    if (time === before) return;
    this.#time = time;
    const [low, high] = before < time ? [before, time] : [time, before];
    const hasBlocksBetween = this.#blockTimes.some((moment) => low < moment && moment <= high);
    // Far away, all pieces are looked at, which takes a hundredth of a second for a million.
    const isFar = before < 0 || hasBlocksBetween || high - low > this.count / 4;
    // What goes may uncover another piece, where cells are shared.
    if (isFar || this.#byAddress !== undefined) this.#rebuild();
    else this.#step(before, time, low, high);
  }

  /** What is live, in the order of addresses. */
  livePieces(): Uint32Array {
    if (this.#livePiecesAt !== this.#time) {
      this.#livePieces = this.#byAddress?.filter((piece) => this.isLive(piece)) ?? this.#piecesOnMap();
      this.#livePiecesAt = this.#time;
    }
    return this.#livePieces;
  }

  #piecesOnMap(): Uint32Array {
    const { owners, places } = this;
    const pieces = new Uint32Array(this.count);
    let live = 0;
    let before = 0;
    for (let place = 0; place < owners.length; place++) {
      const owner = owners[place] ?? 0;
      if (owner === before) continue;
      before = owner;
      if (owner > 0 && places[owner - 1] === place) pieces[live++] = owner - 1;
    }
    return pieces.slice(0, live);
  }

  counts(): Counts {
    const pieces = this.livePieces();
    let liveBytes = 0;
    for (const piece of pieces) liveBytes += this.sizeOf(piece);
    const reservedBytes = this.#blocksAt(this.#time).reduce((sum, { size }) => sum + size, 0);
    return { live: pieces.length, liveBytes, reservedBytes };
  }

  /** Free runs by class: each class is twice as long as the one before. */
  freeClasses(): FreeClass[] {
    const classes: FreeClass[] = [];
    const add = (bytes: number): void => {
      const index = 31 - Math.clz32(bytes / this.granularity);
      while (classes.length <= index)
        classes.push({ shortest: 2 ** classes.length * this.granularity, runs: 0, bytes: 0 });
      const known = classes[index];
      if (known === undefined) return;
      known.runs++;
      known.bytes += bytes;
    };
    const pieces = this.livePieces();
    const blocks = this.#blocksAt(this.#time).toSorted((one, other) => one.rx - other.rx);
    const { layout, places } = this;
    const { cellSize } = this.header;
    const { within } = this.columns;
    let [next, reached] = [0, 0];
    // Bytes of the map: looking up the address of each piece would take longer. A run ends with its block.
    for (const { rx, size, padding } of blocks) {
      const place = layout.placeOfAddress(rx) ?? 0;
      const first = place * cellSize + rx - (layout.addressOfPlace(place) ?? rx);
      const end = first + size;
      reached = Math.max(reached, first + padding);
      for (; next < pieces.length; next++) {
        const piece = pieces[next] ?? 0;
        const start = (places[piece] ?? 0) * cellSize + (within[piece] ?? 0);
        if (start >= end) break;
        if (start > reached) add(start - reached);
        reached = Math.max(reached, start + this.sizeOf(piece));
      }
      if (reached < end) add(end - reached);
    }
    return classes;
  }

  /** Live, reserved and touched bytes over the trace, at so many moments. */
  series(samples: number): Series {
    const { operationCount, cellSize, blocks } = this.header;
    const { birth, death, length } = this.columns;
    // A cell that is larger than a page counts as a whole.
    const pageSize = Math.max(PAGE_SIZE, cellSize);
    const series: Series = { at: [], live: [], reserved: [], resident: [] };
    const pages = new Uint8Array(Math.ceil((this.owners.length * cellSize) / pageSize) + 1);
    const cellsOfPage = pageSize / cellSize;
    let [liveBytes, touched, born, dead] = [0, 0, 0, 0];
    for (let sample = 0; sample <= samples; sample++) {
      const time = Math.round((operationCount * sample) / samples);
      if (time === series.at.at(-1)) continue;
      const before = series.at.at(-1) ?? -1;
      for (; born < this.count && (birth[born] ?? 0) <= time; born++) {
        const cells = length[born] ?? 0;
        const place = this.places[born] ?? 0;
        liveBytes += this.sizeOf(born);
        for (let page = Math.floor(place / cellsOfPage); page * cellsOfPage < place + cells; page++) {
          if (pages[page] === 0) touched++;
          pages[page] = 1;
        }
      }
      for (; dead < this.#byDeath.length; dead++) {
        const piece = this.#byDeath[dead] ?? 0;
        if ((death[piece] ?? 0) > time) break;
        liveBytes -= this.sizeOf(piece);
      }
      for (const { rx, size, to } of blocks) {
        if (to === undefined || to > time || to <= before) continue;
        const first = Math.floor((this.layout.placeOfAddress(rx) ?? 0) / cellsOfPage);
        for (let page = first; page < first + size / pageSize; page++) {
          if (pages[page] === 1) touched--;
          pages[page] = 0;
        }
      }
      series.at.push(time);
      series.live.push(liveBytes);
      series.reserved.push(this.#blocksAt(time).reduce((sum, { size }) => sum + size, 0));
      series.resident.push(touched * pageSize);
    }
    return series;
  }

  #blocksAt(time: number): readonly PageBlock[] {
    return this.header.blocks.filter(({ from, to = NEVER }) => from <= time && time < to);
  }

  #rebuild(): void {
    const { owners, places, layout } = this;
    const { length } = this.columns;
    owners.fill(UNMAPPED);
    for (const { rx, size, padding } of this.#blocksAt(this.#time)) {
      const first = layout.placeOfAddress(rx) ?? 0;
      owners.fill(FREE, first, first + size / layout.cellSize);
      owners.fill(PADDING, first, first + padding / layout.cellSize);
    }
    for (let piece = 0; piece < this.count; piece++) {
      if (!this.isLive(piece)) continue;
      const first = places[piece] ?? 0;
      const end = first + (length[piece] ?? 0);
      for (let place = first; place < end; place++) owners[place] = piece + 1;
    }
    this.changedPieces = undefined;
  }

  /** Goes a short way: first takes away what ends, then adds what begins, whichever way it goes. */
  #step(before: number, time: number, low: number, high: number): void {
    const { birth, death } = this.columns;
    const born: number[] = [];
    for (let piece = firstAbove(low, this.count, (index) => birth[index] ?? 0); piece < this.count; piece++) {
      if ((birth[piece] ?? 0) > high) break;
      born.push(piece);
    }
    const dead: number[] = [];
    const byDeath = this.#byDeath;
    const deathAt = (index: number): number => death[byDeath[index] ?? 0] ?? 0;
    for (let index = firstAbove(low, byDeath.length, deathAt); index < byDeath.length; index++) {
      if (deathAt(index) > high) break;
      dead.push(byDeath[index] ?? 0);
    }
    const [ending, beginning] = before < time ? [dead, born] : [born, dead];
    for (const piece of ending) if (this.isLiveAt(piece, before)) this.#put(piece, FREE);
    for (const piece of beginning) if (this.isLive(piece)) this.#put(piece, piece + 1);
  }

  #put(piece: number, owner: number): void {
    const first = this.places[piece] ?? 0;
    const end = first + (this.columns.length[piece] ?? 0);
    for (let place = first; place < end; place++) this.owners[place] = owner;
    this.changedPieces?.push(piece);
  }
}

/** The index of the first of `count` ascending values that is above a bound. */
function firstAbove(bound: number, count: number, valueAt: (index: number) => number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (valueAt(middle) <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** By counting: sorting a million numbers by a comparison takes a second. */
function orderByDeath(death: Uint32Array, operationCount: number): Uint32Array {
  const places = new Uint32Array(operationCount + 2);
  let ending = 0;
  for (const time of death) {
    if (time === NEVER) continue;
    ending++;
    places[time + 1] = (places[time + 1] ?? 0) + 1;
  }
  for (let time = 1; time < places.length; time++)
    places[time] = (places[time] ?? 0) + (places[time - 1] ?? 0);
  const order = new Uint32Array(ending);
  death.forEach((time, piece) => {
    if (time === NEVER) return;
    const place = places[time] ?? 0;
    places[time] = place + 1;
    order[place] = piece;
  });
  return order;
}
