/** The table of what is live: sortable, a page at a time. */
import { tagOf } from "./colours.ts";
import { byId, formatAddress, formatCount, make } from "./elements.ts";
import type { Heap } from "./heap.ts";
import type { Matcher } from "./search.ts";

const ROWS_PER_PAGE = 50;

interface Column {
  readonly title: string;
  readonly isNumber: boolean;
  /** What rows are sorted by; names by their rank. */
  readonly key: (heap: Heap, piece: number) => number;
  readonly text: (heap: Heap, piece: number) => string;
  /** Whether it has something to say; absent: always. */
  readonly isKnown?: (heap: Heap) => boolean;
}

/** The ranks of names in the order of letters, by heap; no name comes last. */
const ranksOfNames = new WeakMap<Heap, Float64Array>();

function rankOfName(heap: Heap, piece: number): number {
  let ranks = ranksOfNames.get(heap);
  if (ranks === undefined) {
    const { names } = heap.header;
    const collator = new Intl.Collator("en", { numeric: true });
    const order = names.map((_, index) => index);
    order.sort((one, other) => collator.compare(names[one] ?? "", names[other] ?? ""));
    ranks = new Float64Array(names.length + 1);
    ranks[0] = Infinity;
    for (const [rank, index] of order.entries()) ranks[index + 1] = rank;
    ranksOfNames.set(heap, ranks);
  }
  return ranks[heap.columns.name[piece] ?? 0] ?? Infinity;
}

const columns: readonly Column[] = [
  { title: "Name", isNumber: false, key: rankOfName, text: (heap, piece) => heap.nameOf(piece) },
  {
    title: "Bytes",
    isNumber: true,
    key: (heap, piece) => heap.sizeOf(piece),
    text: (heap, piece) => formatCount(heap.sizeOf(piece)),
  },
  {
    title: "Address",
    isNumber: false,
    key: (heap, piece) => heap.places[piece] ?? 0,
    text: (heap, piece) => formatAddress(heap.addressOf(piece)),
  },
  {
    title: "Tag",
    isNumber: false,
    key: rankOfName,
    text: (heap, piece) => tagOf(heap.nameOf(piece)),
    isKnown: (heap) => heap.header.names.some((name) => tagOf(name) !== ""),
  },
  {
    title: "Kind",
    isNumber: false,
    key: (heap, piece) => heap.columns.kind[piece] ?? 0,
    text: (heap, piece) => heap.kindOf(piece) + (heap.columns.retired[piece] === 1 ? ", retired" : ""),
  },
  {
    title: "Thread",
    isNumber: true,
    key: (heap, piece) => heap.columns.thread[piece] ?? 0,
    text: (heap, piece) => String(heap.columns.thread[piece] ?? 0).replace(/^0$/, "–"),
    isKnown: (heap) => heap.columns.thread.some((thread) => thread !== 0),
  },
  {
    title: "Made as",
    isNumber: true,
    key: (heap, piece) => heap.columns.order[piece] ?? 0,
    text: (heap, piece) => formatCount(heap.columns.order[piece] ?? 0).replace(/^0$/, "–"),
    isKnown: (heap) => heap.columns.order.some((order) => order !== 0),
  },
];

/** The table. */
export class FunctionTable {
  readonly #onSelect: (piece: number) => void;
  #heap: Heap | undefined;
  /** Which columns are shown. */
  #isShown: readonly boolean[] = [];
  #matcher: Matcher;
  #pieces: Uint32Array = new Uint32Array(0);
  #sortedBy = 2;
  #isDescending = false;
  #page = 0;
  #selected = -1;

  constructor(onSelect: (piece: number) => void) {
    this.#onSelect = onSelect;
    byId("page-back", HTMLButtonElement).addEventListener("click", () => this.#turn(-1));
    byId("page-on", HTMLButtonElement).addEventListener("click", () => this.#turn(1));
    const row = make("tr");
    for (const [index, { title, isNumber }] of columns.entries()) {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => this.#sortBy(index));
      row.append(make("th", { scope: "col", ...(isNumber ? { class: "number" } : {}) }, button));
    }
    this.#head.replaceChildren(row);
  }

  get #head(): HTMLTableSectionElement {
    const { tHead } = byId("table", HTMLTableElement);
    if (tHead === null) throw new Error("The table has no head");
    return tHead;
  }

  /** What it shows, in its order. */
  get pieces(): Uint32Array {
    return this.#pieces;
  }

  /** Shows what is live now, and matches. */
  show(heap: Heap, matcher: Matcher): void {
    if (this.#heap !== heap) this.#isShown = columns.map(({ isKnown }) => isKnown?.(heap) ?? true);
    this.#heap = heap;
    this.#matcher = matcher;
    const live = heap.livePieces();
    this.#pieces = matcher === undefined ? live : live.filter(matcher);
    this.#sort();
    const found = `${formatCount(this.#pieces.length)} ${matcher === undefined ? "live" : `of ${formatCount(live.length)} live`}`;
    byId("found", HTMLElement).textContent = found;
    this.#render();
  }

  set selected(piece: number) {
    if (piece === this.#selected) return;
    this.#selected = piece;
    const index = this.#pieces.indexOf(piece);
    if (index >= 0) this.#page = Math.floor(index / ROWS_PER_PAGE);
    this.#render();
  }

  #sortBy(index: number): void {
    this.#isDescending = this.#sortedBy === index ? !this.#isDescending : columns[index]?.isNumber === true;
    this.#sortedBy = index;
    this.#page = 0;
    if (this.#heap !== undefined) this.show(this.#heap, this.#matcher);
  }

  #sort(): void {
    const heap = this.#heap;
    const column = columns[this.#sortedBy];
    if (heap === undefined || column === undefined) return;
    // They come in the order of addresses.
    if (this.#sortedBy === 2) {
      if (this.#isDescending) this.#pieces = this.#pieces.toReversed();
      return;
    }
    const keys = Float64Array.from(this.#pieces, (piece) => column.key(heap, piece));
    const order = Uint32Array.from(this.#pieces, (_, index) => index);
    const sign = this.#isDescending ? -1 : 1;
    order.sort((one, other) => {
      const [a = 0, b = 0] = [keys[one], keys[other]];
      return a === b ? one - other : a < b ? -sign : sign;
    });
    this.#pieces = order.map((index) => this.#pieces[index] ?? 0);
  }

  #turn(by: number): void {
    this.#page += by;
    this.#render();
  }

  #render(): void {
    const heap = this.#heap;
    if (heap === undefined) return;
    const pages = Math.max(1, Math.ceil(this.#pieces.length / ROWS_PER_PAGE));
    this.#page = Math.min(Math.max(0, this.#page), pages - 1);
    byId("page", HTMLElement).textContent = `page ${formatCount(this.#page + 1)} of ${formatCount(pages)}`;
    byId("page-back", HTMLButtonElement).disabled = this.#page === 0;
    byId("page-on", HTMLButtonElement).disabled = this.#page === pages - 1;
    for (const [index, cell] of [...(this.#head.rows[0]?.cells ?? [])].entries()) {
      const isSorted = index === this.#sortedBy;
      cell.setAttribute("aria-sort", isSorted ? (this.#isDescending ? "descending" : "ascending") : "none");
      cell.hidden = this.#isShown[index] === false;
      const title = columns[index]?.title ?? "";
      const button = cell.querySelector("button");
      if (button !== null)
        button.textContent = isSorted ? `${title} ${this.#isDescending ? "↓" : "↑"}` : title;
    }
    const first = this.#page * ROWS_PER_PAGE;
    const rows = [...this.#pieces.subarray(first, first + ROWS_PER_PAGE)].map((piece) =>
      this.#row(heap, piece),
    );
    const body = byId("table", HTMLTableElement).tBodies[0];
    const focused = document.activeElement?.getAttribute("data-piece");
    body?.replaceChildren(...rows);
    // Playing makes rows anew; whoever is in one stays there.
    if (focused !== null && focused !== undefined) {
      body
        ?.querySelector<HTMLElement>(`[data-piece="${CSS.escape(focused)}"]`)
        ?.focus({ preventScroll: true });
    }
  }

  #row(heap: Heap, piece: number): HTMLTableRowElement {
    const row = make("tr", piece === this.#selected ? { "aria-current": "true" } : {});
    for (const [index, { text, isNumber, title }] of columns.entries()) {
      if (this.#isShown[index] === false) continue;
      const content = text(heap, piece);
      if (index > 0) {
        const kind = isNumber ? "number" : title === "Address" ? "address" : "";
        row.append(make("td", kind === "" ? {} : { class: kind }, content));
        continue;
      }
      const button = make(
        "button",
        {
          type: "button",
          "data-piece": String(piece),
          title: content,
          ...(content === "" ? { class: "nameless" } : {}),
        },
        content === "" ? "no name" : content,
      );
      button.addEventListener("click", () => this.#onSelect(piece));
      row.append(make("td", {}, button));
    }
    return row;
  }
}
