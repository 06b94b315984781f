/** What `top` shows, and what keys change about it. */
import type { HeapSnapshot, SnapshotSpan } from "../index.ts";

/** What the table is sorted by. */
export const ORDERS = ["size", "name", "address", "age"] as const;
export type Order = (typeof ORDERS)[number];

/** The smallest part of the heap that the map shows, in bytes. */
const LEAST_WINDOW = 1024;

/** What is shown, and how. */
export interface View {
  readonly order: Order;
  readonly isReversed: boolean;
  /** The first line of the table. */
  readonly scroll: number;
  /** How often the heap was halved. */
  readonly zoom: number;
  /** The middle of what the map shows, from 0 to 1. */
  readonly middle: number;
  readonly isPaused: boolean;
  readonly hasHelp: boolean;
}

export const FIRST_VIEW: View = {
  order: "size",
  isReversed: false,
  scroll: 0,
  zoom: 0,
  middle: 0.5,
  isPaused: false,
  hasHelp: false,
};

/** The keys, for people. */
export const KEY_HELP: readonly (readonly [keys: string, meaning: string])[] = [
  ["s n a o", "sort by size, name, address, age (the oldest first)"],
  ["r", "the other way round"],
  ["↑ ↓ PgUp PgDn", "move in the table"],
  ["+ -", "show half of the map, or twice as much; the table has what is on the map"],
  ["← →", "move on the map"],
  ["0", "the whole heap"],
  ["space", "stop, or go on"],
  ["h ?", "this help"],
  ["q Esc Ctrl-C", "quit"],
];

const ORDER_KEYS: Readonly<Record<string, Order>> = { s: "size", n: "name", a: "address", o: "age" };

/** How far keys move in the table. @param page lines of the table that are seen */
function scrolledBy(key: string, page: number): number {
  switch (key) {
    case "\x1b[A":
    case "k":
      return -1;
    case "\x1b[B":
    case "j":
      return 1;
    case "\x1b[5~":
      return -page;
    case "\x1b[6~":
      return page;
    default:
      return 0;
  }
}

/** The view after a key; undefined = quit. @param page lines of the table that are seen @param lines all that it has */
export function pressed(view: View, key: string, page: number, lines: number): View | undefined {
  const order = ORDER_KEYS[key];
  if (order !== undefined) return { ...view, order, isReversed: false, scroll: 0 };
  const scrolled = scrolledBy(key, page);
  if (scrolled !== 0) {
    const last = Math.max(0, lines - page);
    return { ...view, scroll: Math.min(last, Math.max(0, view.scroll + scrolled)) };
  }
  const step = 2 ** -view.zoom / 4;
  switch (key) {
    case "q":
    case "\x1b":
    case "\x03":
      return undefined;
    case "r":
      return { ...view, isReversed: !view.isReversed, scroll: 0 };
    case "+":
    case "=":
      return { ...view, zoom: Math.min(view.zoom + 1, 40), scroll: 0 };
    case "-":
      return withMiddle({ ...view, zoom: Math.max(view.zoom - 1, 0), scroll: 0 }, view.middle);
    case "\x1b[D":
      return withMiddle({ ...view, scroll: 0 }, view.middle - step);
    case "\x1b[C":
      return withMiddle({ ...view, scroll: 0 }, view.middle + step);
    case "0":
      return { ...view, zoom: 0, middle: 0.5, scroll: 0 };
    case " ":
      return { ...view, isPaused: !view.isPaused };
    case "h":
    case "?":
      return { ...view, hasHelp: !view.hasHelp };
    default:
      return view;
  }
}

/** A window stays on the map. */
function withMiddle(view: View, middle: number): View {
  const half = 2 ** -view.zoom / 2;
  return { ...view, middle: Math.min(Math.max(middle, half), 1 - half) };
}

/** A part of the heap: of all blocks one behind the other, without what is between them. Bytes. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/** Where each block begins among all of them, and where the last one ends. */
export function offsetsOf({ blocks }: HeapSnapshot): readonly number[] {
  const offsets = [0];
  for (const { size } of blocks) offsets.push((offsets.at(-1) ?? 0) + size);
  return offsets;
}

/** The part that the map shows. */
export function windowOf({ zoom, middle }: View, totalBytes: number): Window {
  const size = Math.min(totalBytes, Math.max(LEAST_WINDOW, totalBytes / 2 ** zoom));
  const start = Math.min(Math.max(0, middle * totalBytes - size / 2), totalBytes - size);
  return { start: Math.floor(start), end: Math.ceil(start + size) };
}

/** The allocations of a part of the heap, in the order that is wanted. */
export function spansIn(snapshot: HeapSnapshot, view: View, window: Window): SnapshotSpan[] {
  const offsets = offsetsOf(snapshot);
  const shown = snapshot.spans.filter((span) => {
    const start = placeOf(span, snapshot, offsets);
    return start < window.end && start + span.size > window.start;
  });
  const compare = comparisons[view.order];
  shown.sort((one, other) => compare(one, other) || one.rx - other.rx);
  return view.isReversed ? shown.reverse() : shown;
}

/** Where an allocation begins among all blocks. */
export function placeOf(
  { rx, block }: SnapshotSpan,
  { blocks }: HeapSnapshot,
  offsets: readonly number[],
): number {
  return (offsets[block] ?? 0) + rx - (blocks[block]?.rx ?? 0);
}

const comparisons: Readonly<Record<Order, (one: SnapshotSpan, other: SnapshotSpan) => number>> = {
  size: (one, other) => other.size - one.size,
  name: (one, other) => {
    if (one.name === undefined || other.name === undefined)
      return Number(one.name === undefined) - Number(other.name === undefined);
    return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
  },
  address: (one, other) => one.rx - other.rx,
  age: (one, other) => (one.order ?? Infinity) - (other.order ?? Infinity) || 0,
};
