/**
 * Spans that were looked up by an address inside of them. They are whole spans, and a call of one would begin at its start,
 * which is hardly what was meant. Nothing is looked up as long as there are none.
 */
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";

let offsets: WeakMap<Span, number> | undefined;

/** Notes by which address (rx) a span was looked up, if that is not its start. Returns the span. */
export function lookedUpBy(rx: Address, span: Span): Span {
  const offset = rx - spanAccess.rx(span);
  if (offset !== 0) (offsets ??= new WeakMap()).set(span, offset);
  return span;
}

/** How far behind its start a span was looked up, in bytes; undefined = at its start, or not at all. */
export function offsetOfLookUp(span: Span): number | undefined {
  return offsets?.get(span);
}
