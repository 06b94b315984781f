/** What is known of the piece that is selected. */
import { NEVER } from "../src/view/contract.ts";
import { formatSize, tagOf } from "./colours.ts";
import { byId, formatAddress, formatCount, make, terms } from "./elements.ts";
import type { Heap } from "./heap.ts";

/** Bytes that are shown where there is no listing. */
const MOST_BYTES = 4096;
const BYTES_PER_LINE = 16;

/** Shows what a piece is; -1 = none. */
export function showDetails(heap: Heap, piece: number): void {
  const place = byId("selected", HTMLElement);
  const listing = byId("listing", HTMLElement);
  if (piece < 0) {
    place.replaceChildren(make("p", { class: "help" }, "Click an allocation on the map or in the table."));
    listing.replaceChildren();
    return;
  }
  const { columns, header } = heap;
  const [name, address, size] = [heap.nameOf(piece), heap.addressOf(piece), heap.sizeOf(piece)];
  const asked = columns.asked[piece] ?? 0;
  const thread = columns.thread[piece] ?? 0;
  const order = columns.order[piece] ?? 0;
  const [birth, death] = [columns.birth[piece] ?? 0, columns.death[piece] ?? NEVER];
  const block = heap.blockAt(address);
  const rows: (readonly [string, Node | string])[] = [
    ["Name", make("span", { class: "name" }, name === "" ? "no name" : name)],
    ["Address", make("span", { class: "address" }, formatAddress(address))],
    ["Size", `${formatCount(size)} bytes${size >= 1024 ? ` (${formatSize(size)})` : ""}`],
  ];
  if (asked > 0) rows.push(["Asked", `${formatCount(asked)} bytes`]);
  rows.push([
    "Kind",
    heap.kindOf(piece) + (columns.retired[piece] === 1 ? ", retired and not free yet" : ""),
  ]);
  const tag = tagOf(name);
  if (tag !== "") rows.push(["Tag", tag]);
  if (thread > 0) rows.push(["Thread", String(thread)]);
  if (order > 0) rows.push(["Made as", formatCount(order)]);
  if (header.source === "trace") {
    const end = death === NEVER ? "the end" : `operation ${formatCount(death)}`;
    rows.push(["There", `from operation ${formatCount(birth)} to ${end}`]);
  }
  if (block !== undefined) {
    const offset = address - block.rx;
    rows.push(["Block", `${formatAddress(block.rx)}, ${formatSize(block.size)}, at ${formatCount(offset)}`]);
    if (block.rw !== undefined && block.rw !== block.rx) {
      rows.push(["Writable at", make("span", { class: "address" }, formatAddress(block.rw + offset))]);
    }
  }
  if (!heap.isLive(piece)) rows.push(["", "It is not there at this moment."]);
  fill(place, make("dl", { class: "facts" }, ...terms(rows)));
  const text = header.listings[piece] ?? bytesAsText(heap, piece, address);
  if (text === "") listing.replaceChildren();
  else fill(listing, make("pre", { tabindex: "0", "aria-label": "Code" }, text));
}

/** Puts an element into another, unless it says the same: a screen reader would read it again, and a listing jump. */
function fill(place: HTMLElement, content: HTMLElement): void {
  if (place.firstElementChild?.outerHTML !== content.outerHTML) place.replaceChildren(content);
}

/** The bytes, 16 a line. */
function bytesAsText(heap: Heap, piece: number, address: number): string {
  const { code, codeStart, codeLength } = heap.columns;
  const [start, length] = [codeStart[piece] ?? 0, codeLength[piece] ?? 0];
  const shown = Math.min(length, MOST_BYTES);
  const lines: string[] = [];
  for (let at = 0; at < shown; at += BYTES_PER_LINE) {
    const bytes = code.subarray(start + at, start + Math.min(at + BYTES_PER_LINE, shown));
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    lines.push(`${(address + at).toString(16)}  ${digits}`);
  }
  if (shown < length) lines.push(`… ${formatCount(length - shown)} more bytes`);
  return lines.join("\n");
}
