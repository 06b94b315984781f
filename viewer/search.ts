/** What somebody looks for: a part of a name, or an address. */
import type { Heap } from "./heap.ts";

/** Which pieces match; undefined where nothing is looked for. */
export type Matcher = ((piece: number) => boolean) | undefined;

/** `0x…` with or without `_` is an address: it matches what contains it. Anything else is a part of a name. */
export function matcherOf(heap: Heap, text: string): Matcher {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return undefined;
  const { name, length } = heap.columns;
  if (/^0x[0-9a-f_]+$/.test(wanted)) {
    const address = Number(wanted.replaceAll("_", ""));
    const place = heap.layout.placeOfAddress(address);
    if (place === undefined) return () => false;
    return (piece) => {
      const first = heap.places[piece] ?? 0;
      if (place < first || first + (length[piece] ?? 0) <= place) return false;
      const start = heap.addressOf(piece);
      return start <= address && address < start + heap.sizeOf(piece);
    };
  }
  const matches = heap.header.names.map((one) => one.toLowerCase().includes(wanted));
  return (piece) => matches[(name[piece] ?? 0) - 1] === true;
}
