/** The map: a picture of one pixel a cell, of which a part is shown enlarged, and what is drawn over it. */
import { Camera } from "./camera.ts";
import { GROUND, packed } from "./colours.ts";
import type { Theme } from "./colours.ts";
import { FREE, PADDING } from "./heap.ts";
import type { Heap } from "./heap.ts";

/** Pixels: cells that are larger show where pieces begin, and those yet larger their names. */
const LINES_FROM = 9;
const NAMES_FROM = 13;
/** The picture is cut into tiles of so many rows: browsers have no higher canvases than 16,384. */
const TILE_ROWS = 2048;

interface Tile {
  readonly canvas: HTMLCanvasElement;
  readonly context: CanvasRenderingContext2D;
  readonly image: ImageData;
  readonly pixels: Uint32Array;
  readonly firstRow: number;
  readonly rows: number;
}

/** Draws the map on a canvas. */
export class HeapMap {
  readonly camera = new Camera();
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #heap: Heap | undefined;
  #tiles: Tile[] = [];
  #colours: Uint32Array = new Uint32Array(0);
  #theme: Theme = "light";
  #selected = -1;
  #hovered = -1;
  #isAsked = false;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = contextOf(canvas);
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Shows a heap, in these colours. */
  setHeap(heap: Heap): void {
    if (this.#heap?.layout.columns !== heap.layout.columns || this.#heap.layout.rows !== heap.layout.rows) {
      this.#tiles = tilesOf(heap);
    }
    this.#heap = heap;
    this.#hovered = -1;
    this.resize();
  }

  /** @param isFaded which pieces stand back; absent: none */
  setColours(colours: Uint32Array, theme: Theme, isFaded?: (piece: number) => boolean): void {
    this.#theme = theme;
    this.#colours = colours;
    if (isFaded !== undefined) {
      const free = packed(GROUND[theme].free);
      this.#colours = colours.map((colour, piece) => (isFaded(piece) ? mixed(colour, free, 5) : colour));
    }
    this.#paintAll();
    this.draw();
  }

  set selected(piece: number) {
    this.#selected = piece;
    this.draw();
  }

  set hovered(piece: number) {
    if (this.#hovered === piece) return;
    this.#hovered = piece;
    this.draw();
  }

  /** Paints what the heap has changed. */
  update(): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    if (heap.changedPieces === undefined) this.#paintAll();
    else this.#paintPieces(heap, heap.changedPieces);
    heap.changedPieces = [];
    this.draw();
  }

  /** The place of the map at a pixel of the canvas; undefined outside of it. */
  placeAt(pixelX: number, pixelY: number): number | undefined {
    const heap = this.#heap;
    if (heap === undefined) return undefined;
    const column = Math.floor(this.camera.x + pixelX / this.camera.scale);
    const row = Math.floor(this.camera.y + pixelY / this.camera.scale);
    const { columns, rows } = heap.layout;
    if (column < 0 || column >= columns || row < 0 || row >= rows) return undefined;
    return row * columns + column;
  }

  /** Brings a piece into view. */
  show(piece: number): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const { columns } = heap.layout;
    const first = heap.places[piece] ?? 0;
    const length = heap.columns.length[piece] ?? 1;
    const row = Math.floor(first / columns);
    const rows = Math.floor((first + length - 1) / columns) - row + 1;
    if (rows > 1) this.camera.show(0, row, columns, rows);
    else this.camera.show(first % columns, row, length, 1);
    this.draw();
  }

  resize(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = devicePixelRatio;
    this.#canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.#canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    const { columns, rows } = this.#heap?.layout ?? { columns: 1, rows: 1 };
    this.camera.setSizes(columns, rows, Math.max(1, clientWidth), Math.max(1, clientHeight));
    this.draw();
  }

  /** Draws with the next frame. */
  draw(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      this.#draw();
    });
  }

  /** Makes all pixels. */
  #paintAll(): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const { columns } = heap.layout;
    const colourAt = this.#colourAt(heap);
    for (const { context, image, pixels, firstRow } of this.#tiles) {
      const offset = firstRow * columns;
      for (let index = 0; index < pixels.length; index++) pixels[index] = colourAt(offset + index);
      context.putImageData(image, 0, 0);
    }
    heap.changedPieces = [];
  }

  /** Makes the pixels of pieces that came or went. */
  #paintPieces(heap: Heap, pieces: readonly number[]): void {
    const { columns } = heap.layout;
    const colourAt = this.#colourAt(heap);
    const changed = new Map<Tile, { from: number; to: number }>();
    for (const piece of pieces) {
      const first = heap.places[piece] ?? 0;
      const end = first + (heap.columns.length[piece] ?? 0);
      // The cell before it may be the last of its neighbour, or no longer.
      for (let place = Math.max(0, first - 1); place < end; place++) {
        const row = Math.floor(place / columns);
        const tile = this.#tiles[Math.floor(row / TILE_ROWS)];
        if (tile === undefined) continue;
        const rows = changed.get(tile) ?? { from: row, to: row };
        rows.from = Math.min(rows.from, row);
        rows.to = Math.max(rows.to, row);
        changed.set(tile, rows);
        tile.pixels[place - tile.firstRow * columns] = colourAt(place);
      }
    }
    for (const [{ context, image, firstRow }, { from, to }] of changed) {
      context.putImageData(image, 0, 0, 0, from - firstRow, columns, to - from + 1);
    }
  }

  /** The colour of each place. */
  #colourAt({ owners }: Heap): (place: number) => number {
    const ground = GROUND[this.#theme];
    const [free, padding, unmapped] = [packed(ground.free), packed(ground.padding), packed(ground.unmapped)];
    const colours = this.#colours;
    return (place) => {
      const owner = owners[place] ?? 0;
      if (owner > 0) {
        const colour = colours[owner - 1] ?? 0;
        // The last cell of a piece is a little closer to the ground, so that neighbours can be told apart.
        return owners[place + 1] === owner ? colour : mixed(colour, free, 2);
      }
      return owner === FREE ? free : owner === PADDING ? padding : unmapped;
    };
  }

  #draw(): void {
    const heap = this.#heap;
    const context = this.#context;
    const ratio = devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = css(GROUND[this.#theme].unmapped);
    context.fillRect(0, 0, width, height);
    if (heap === undefined) return;
    const { scale, x, y } = this.camera;
    const { columns, rows } = heap.layout;
    const fromRow = Math.max(0, Math.floor(y));
    const toRow = Math.min(rows, Math.ceil(y + height / scale));
    const fromColumn = Math.max(0, Math.floor(x));
    const toColumn = Math.min(columns, Math.ceil(x + width / scale));
    context.imageSmoothingEnabled = scale < 1;
    for (const { canvas, firstRow, rows: tileRows } of this.#tiles) {
      const from = Math.max(fromRow, firstRow);
      const to = Math.min(toRow, firstRow + tileRows);
      if (from >= to) continue;
      const across = toColumn - fromColumn;
      const [left, top] = [(fromColumn - x) * scale, (from - y) * scale];
      const source = [fromColumn, from - firstRow, across, to - from] as const;
      context.drawImage(canvas, ...source, left, top, across * scale, (to - from) * scale);
    }
    if (scale >= LINES_FROM) this.#drawLines(heap, fromRow, toRow, fromColumn, toColumn);
    this.#drawBlocks(heap, fromRow, toRow);
    if (this.#hovered >= 0) this.#outline(heap, this.#hovered, 1.5);
    if (this.#selected >= 0 && heap.isLive(this.#selected)) this.#outline(heap, this.#selected, 3);
  }

  /** Lines where pieces begin, and their names where there is room. */
  #drawLines(heap: Heap, fromRow: number, toRow: number, fromColumn: number, toColumn: number): void {
    const context = this.#context;
    const { scale, x, y } = this.camera;
    const { columns } = heap.layout;
    const { owners } = heap;
    context.fillStyle = css(GROUND[this.#theme].unmapped);
    const withNames = scale >= NAMES_FROM;
    context.font = `${Math.min(13, Math.floor(scale * 0.72))}px ui-monospace, monospace`;
    context.textBaseline = "middle";
    for (let row = fromRow; row < toRow; row++) {
      const top = (row - y) * scale;
      context.fillRect(0, top, (toColumn - x) * scale, 1);
      for (let column = fromColumn; column < toColumn; column++) {
        const place = row * columns + column;
        const owner = owners[place] ?? 0;
        if (owner === (owners[place - 1] ?? 0) && owner <= 0) continue;
        const isStart = owner > 0 && heap.places[owner - 1] === place;
        const isFirstSeen = isStart || column === fromColumn;
        if (isStart) context.fillRect((column - x) * scale, top, 1, scale);
        if (!withNames || !isFirstSeen || owner <= 0) continue;
        this.#drawName(heap, owner - 1, row, column, top);
      }
    }
  }

  #drawName(heap: Heap, piece: number, row: number, column: number, top: number): void {
    const { scale, x } = this.camera;
    const { columns } = heap.layout;
    const end = (heap.places[piece] ?? 0) + (heap.columns.length[piece] ?? 0);
    const cells = Math.min(end, (row + 1) * columns) - (row * columns + column);
    const name = heap.nameOf(piece);
    const left = Math.max(0, (column - x) * scale) + 3;
    const room = (column - x + cells) * scale - left - 2;
    // A letter is some six tenths as wide as high.
    const letters = Math.floor(room / (Math.min(13, Math.floor(scale * 0.72)) * 0.61));
    if (name === "" || letters < 3) return;
    const context = this.#context;
    const before = context.fillStyle;
    context.fillStyle = isDark(this.#colours[piece] ?? 0) ? "#ffffff" : "#101418";
    context.fillText(name.length <= letters ? name : `${name.slice(0, letters - 1)}…`, left, top + scale / 2);
    context.fillStyle = before;
  }

  /** A line above each block. */
  #drawBlocks(heap: Heap, fromRow: number, toRow: number): void {
    const context = this.#context;
    const { scale, x, y } = this.camera;
    const { columns } = heap.layout;
    context.fillStyle = this.#theme === "light" ? "#10141880" : "#ffffff80";
    for (const { rx, from, to } of heap.header.blocks) {
      if (from > heap.time || (to !== undefined && to <= heap.time)) continue;
      const place = heap.layout.placeOfAddress(rx) ?? 0;
      const row = Math.floor(place / columns);
      if (row < fromRow || row >= toRow || scale * columns < 8) continue;
      const column = place % columns;
      context.fillRect((column - x) * scale, (row - y) * scale - 0.5, (columns - column) * scale, 1);
    }
  }

  #outline(heap: Heap, piece: number, width: number): void {
    const context = this.#context;
    const { scale, x, y } = this.camera;
    const { columns } = heap.layout;
    const first = heap.places[piece] ?? 0;
    const end = first + (heap.columns.length[piece] ?? 0);
    context.beginPath();
    for (let place = first; place < end;) {
      const row = Math.floor(place / columns);
      const rowEnd = Math.min(end, (row + 1) * columns);
      // Whole rows are one rectangle.
      const isWhole = place === row * columns && end >= (row + 1) * columns;
      const rows = isWhole ? Math.floor((end - place) / columns) : 1;
      const cells = isWhole ? columns : rowEnd - place;
      const size = [Math.max(cells * scale, 3), Math.max(rows * scale, 3)] as const;
      context.rect(((place % columns) - x) * scale, (row - y) * scale, ...size);
      place += isWhole ? rows * columns : cells;
    }
    const [outer, inner] = this.#theme === "light" ? ["#ffffff", "#000000"] : ["#000000", "#ffffff"];
    context.lineWidth = width + 2;
    context.strokeStyle = outer;
    context.stroke();
    context.lineWidth = width;
    context.strokeStyle = inner;
    context.stroke();
  }
}

function tilesOf(heap: Heap): Tile[] {
  const { columns, rows } = heap.layout;
  return Array.from({ length: Math.ceil(rows / TILE_ROWS) }, (_, index) => {
    const firstRow = index * TILE_ROWS;
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = Math.min(TILE_ROWS, rows - firstRow);
    const context = contextOf(canvas);
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    return { canvas, context, image, pixels, firstRow, rows: canvas.height };
  });
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("This browser draws no pictures: it gives no canvas");
  return context;
}

/** A part of one colour and the rest of another: `parts` of six are the other. */
function mixed(one: number, other: number, parts: number): number {
  const mix = (shift: number): number =>
    ((((one >>> shift) & 0xff) * (6 - parts) + ((other >>> shift) & 0xff) * parts) / 6) << shift;
  const [blue, green, red] = [mix(16) & 0xff_0000, mix(8) & 0xff00, mix(0)];
  return (0xff00_0000 | blue | green | red) >>> 0;
}

function isDark(colour: number): boolean {
  const [red, green, blue] = [colour & 0xff, (colour >>> 8) & 0xff, (colour >>> 16) & 0xff];
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140;
}

function css([red, green, blue]: readonly [number, number, number]): string {
  return `rgb(${red} ${green} ${blue})`;
}
