/** The page: reads its data, and puts the map, the table, the chart and the controls together. */
import type { PageData } from "../src/view/contract.ts";
import { Chart } from "./chart.ts";
import { COLOURINGS, coloursOf, formatSize } from "./colours.ts";
import type { Colouring } from "./colours.ts";
import { showDetails } from "./details.ts";
import { byId, formatCount, legendItem, make, terms } from "./elements.ts";
import { Heap } from "./heap.ts";
import type { Series } from "./heap.ts";
import { Layout } from "./layout.ts";
import { unpack } from "./load.ts";
import { HeapMap } from "./map.ts";
import { Player } from "./player.ts";
import { listenToMap } from "./pointer.ts";
import { matcherOf } from "./search.ts";
import { slowly } from "./slowly.ts";
import { FunctionTable } from "./table.ts";
import { ThemeSwitch } from "./theme.ts";

/** Moments of a trace at which bytes are counted for the chart. */
const SAMPLES = 600;
/** Snapshots of a running program that the chart keeps. */
const MOST_LIVE_SAMPLES = 2000;
/** Milliseconds: counts and tables follow a trace that plays, or somebody who types, no more often. */
const SLOW_MS = 400;

class Page {
  readonly #canvas = byId("map", HTMLCanvasElement);
  readonly #search = byId("search", HTMLInputElement);
  readonly #colouring = byId("colouring", HTMLSelectElement);
  readonly #map = new HeapMap(this.#canvas);
  readonly #table = new FunctionTable((piece) => this.#select(piece, true));
  readonly #chart = new Chart((at) => this.#player.moveTo(at));
  readonly #player = new Player((time) => this.#moveTo(time));
  readonly #theme = new ThemeSwitch(() => this.#recolour());
  /** Of a running program: what each of its snapshots came to. */
  readonly #liveSeries: Series = { at: [], live: [], reserved: [], resident: [] };
  #heap: Heap | undefined;
  #series: Series | undefined;
  #selected = -1;
  readonly #find = slowly(() => this.#showFound(), SLOW_MS);
  readonly #followTrace = slowly(() => {
    this.#update();
    this.#showSelected();
  }, SLOW_MS);

  constructor() {
    this.#colouring.append(...COLOURINGS.map((one) => make("option", { value: one }, one)));
    this.#colouring.addEventListener("change", () => this.#recolour());
    this.#search.addEventListener("input", () => this.#find.soon());
    this.#search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      this.#find.now();
      const [first] = this.#table.pieces;
      if (this.#search.value.trim() !== "" && first !== undefined) this.#select(first, true);
    });
    const camera = this.#map.camera;
    const buttons = {
      "zoom-in": () => camera.zoom(1.5),
      "zoom-out": () => camera.zoom(1 / 1.5),
      "zoom-fit": () => camera.fit(),
    };
    for (const [id, act] of Object.entries(buttons)) {
      byId(id, HTMLButtonElement).addEventListener("click", () => {
        act();
        this.#map.draw();
      });
    }
    listenToMap(this.#canvas, this.#map, {
      clicked: (place) => this.#select(this.#heap?.pieceAt(place) ?? -1, false),
      hovered: (place) => this.#hover(place),
      stepped: (by) => this.#stepTo(by),
    });
  }

  /** Shows data: the first, or what came later from the same program. */
  show(data: PageData): void {
    const before = this.#heap;
    const { header } = data;
    byId("main", HTMLElement).hidden = false;
    const heap = new Heap(
      data,
      new Layout(header, this.#canvas.clientWidth / Math.max(1, this.#canvas.clientHeight)),
    );
    this.#heap = heap;
    byId("title", HTMLElement).textContent = header.title;
    if (before === undefined) this.#chooseColouring(heap);
    else this.#selected = this.#sameIn(before, heap);
    byId("facts", HTMLElement).replaceChildren(...terms(header.facts));
    byId("notes", HTMLElement).replaceChildren(...header.notes.map((note) => make("li", {}, note)));
    this.#map.setHeap(heap);
    if (header.source === "trace") {
      byId("timeline", HTMLElement).hidden = false;
      byId("player", HTMLElement).hidden = false;
      this.#series = heap.series(SAMPLES);
      this.#player.setTrace(data, firstMomentOf(heap.header.operationCount, this.#series));
    }
    this.#recolour();
    this.#update();
    this.#showSelected();
  }

  /** Adds a snapshot of a running program to the chart. */
  addToChart({ header }: PageData): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    byId("timeline", HTMLElement).hidden = false;
    const { liveBytes, reservedBytes } = heap.counts();
    const series = this.#liveSeries;
    series.at.push((header.takenAt ?? 0) / 1000);
    series.live.push(liveBytes);
    series.reserved.push(reservedBytes);
    series.resident.push(header.residentSize ?? 0);
    if (series.at.length > MOST_LIVE_SAMPLES)
      for (const values of Object.values(series) as number[][]) values.shift();
    this.#series = series;
    this.#drawChart();
  }

  /** By tag where names have tags, else by what there is. */
  #chooseColouring(heap: Heap): void {
    const hasTags = heap.header.names.some((name) => /[:.]/.test(name));
    const hasAges = heap.columns.order.some((order) => order > 0);
    const chosen: Colouring = hasTags ? "tag" : heap.header.source === "trace" && hasAges ? "age" : "kind";
    this.#colouring.value = chosen;
  }

  /** The piece of a later snapshot that is at the address of the selected one; -1 where there is none. */
  #sameIn(before: Heap, heap: Heap): number {
    if (this.#selected < 0) return -1;
    return heap.pieceFrom(before.addressOf(this.#selected));
  }

  #moveTo(time: number): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    heap.moveTo(time);
    this.#map.update();
    this.#chart.mark(time);
    this.#followTrace.soon();
  }

  #recolour(): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const { theme } = this.#theme;
    const colouring = COLOURINGS.find((one) => one === this.#colouring.value) ?? "kind";
    const { colours, legend } = coloursOf(heap, colouring, theme);
    const matcher = matcherOf(heap, this.#search.value);
    const isFaded = matcher === undefined ? undefined : (piece: number): boolean => !matcher(piece);
    this.#map.setColours(colours, theme, isFaded);
    byId("legend", HTMLElement).replaceChildren(
      ...legend.map(({ label, colour }) => legendItem(label, colour)),
    );
    this.#drawChart();
  }

  #drawChart(): void {
    if (this.#series === undefined || this.#heap === undefined) return;
    const isTrace = this.#heap.header.source === "trace";
    const axis = isTrace ? "operations" : "clock";
    this.#chart.show(this.#series, axis, this.#theme.theme, isTrace ? "touched pages" : "resident");
    if (isTrace) this.#chart.mark(this.#heap.time);
  }

  #showFound(): void {
    this.#recolour();
    this.#update();
    // The count itself changes with each step of a trace, which nobody wants to be read.
    byId("said", HTMLElement).textContent = byId("found", HTMLElement).textContent;
  }

  /** Brings counts and tables up to the moment that the map shows. */
  #update(): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const { live, liveBytes, reservedBytes } = heap.counts();
    const classes = heap.freeClasses();
    const freeBytes = classes.reduce((sum, { bytes }) => sum + bytes, 0);
    const { blocks } = heap.header;
    const blockCount = blocks.filter(
      ({ from, to }) => from <= heap.time && (to === undefined || heap.time < to),
    ).length;
    const used = reservedBytes === 0 ? 0 : (100 * liveBytes) / reservedBytes;
    const counts: readonly (readonly [string, string])[] = [
      ["live allocations", formatCount(live)],
      ["live bytes", formatCount(liveBytes)],
      ["reserved bytes", formatCount(reservedBytes)],
      ["of it live", `${used.toFixed(1)}%`],
      ["blocks", formatCount(blockCount)],
      ["free runs", formatCount(classes.reduce((sum, { runs }) => sum + runs, 0))],
    ];
    byId("counts", HTMLElement).replaceChildren(
      ...counts.map(([term, value]) => make("div", {}, ...terms([[term, value]]))),
    );
    const rows = classes
      .filter(({ runs }) => runs > 0)
      .map(({ shortest, runs, bytes }) => {
        const meter = make("div", { class: "meter" });
        meter.style.width = `${((100 * bytes) / freeBytes).toFixed(1)}%`;
        return make(
          "tr",
          {},
          make("td", {}, formatSize(shortest)),
          make("td", { class: "number" }, formatCount(runs)),
          make("td", { class: "number" }, formatCount(bytes)),
          make("td", {}, meter),
        );
      });
    byId("free", HTMLTableElement).tBodies[0]?.replaceChildren(...rows);
    this.#table.show(heap, matcherOf(heap, this.#search.value));
    const text = `${formatCount(live)} live allocations, ${formatSize(liveBytes)} of ${formatSize(reservedBytes)}`;
    this.#canvas.setAttribute("aria-label", text);
  }

  #select(piece: number, show: boolean): void {
    this.#selected = piece;
    if (show && piece >= 0) this.#map.show(piece);
    this.#showSelected();
  }

  #showSelected(): void {
    if (this.#heap === undefined) return;
    this.#map.selected = this.#selected;
    this.#table.selected = this.#selected;
    showDetails(this.#heap, this.#selected);
  }

  #hover(place: number | undefined): void {
    const piece = place === undefined ? -1 : (this.#heap?.pieceAt(place) ?? -1);
    this.#map.hovered = piece;
    const heap = this.#heap;
    this.#canvas.title =
      piece < 0 || heap === undefined
        ? ""
        : `${heap.nameOf(piece) || "no name"}, ${formatCount(heap.sizeOf(piece))} bytes`;
  }

  /** Selects the neighbour by address of what is selected. */
  #stepTo(by: 1 | -1): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const pieces = heap.livePieces();
    const index = pieces.indexOf(this.#selected);
    const next = index < 0 ? (by > 0 ? pieces[0] : pieces.at(-1)) : pieces[index + by];
    if (next !== undefined) this.#select(next, true);
  }
}

/** What a trace shows first: its end, or where most was live if nothing is left at the end. */
function firstMomentOf(operationCount: number, { at, live }: Series): number {
  if ((live.at(-1) ?? 0) > 0) return operationCount;
  return at[live.indexOf(Math.max(0, ...live))] ?? operationCount;
}

/** Shows the next snapshots of the program that serves the page. */
function follow(page: Page, address: string): void {
  const state = byId("live", HTMLElement);
  state.hidden = false;
  const events = new EventSource(address);
  const say = (text: string, name: string): void => {
    byId("live-state", HTMLElement).textContent = text;
    state.dataset["state"] = name;
  };
  // Each is shown when the one before has been.
  let shown = Promise.resolve();
  events.addEventListener("open", () => say("live", "open"));
  events.addEventListener("error", () => say("the program does not answer", "lost"));
  events.addEventListener("failed", () => say("the heap cannot be looked at", "lost"));
  events.addEventListener("message", (event: MessageEvent<string>) => {
    shown = shown
      .then(() => unpack(event.data))
      .then((data) => {
        page.show(data);
        page.addToChart(data);
      })
      .catch(fail);
  });
}

function fail(error: unknown): void {
  const place = byId("failure", HTMLElement);
  place.hidden = false;
  place.textContent = `The map cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
  console.error(error);
}

async function start(): Promise<void> {
  const source = byId("heap-map", HTMLScriptElement);
  const data = await unpack(source.textContent);
  // What is unpacked is not needed twice.
  source.textContent = "";
  const page = new Page();
  page.show(data);
  const events = source.dataset["events"] ?? "";
  if (events !== "") {
    page.addToChart(data);
    follow(page, events);
  }
  // Behind the first picture.
  requestAnimationFrame(() =>
    setTimeout(() => {
      performance.mark("heap-map-shown");
      document.documentElement.dataset["ready"] = "";
    }),
  );
}

start().catch(fail);
