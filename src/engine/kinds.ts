/** The kinds of memory: their names, and the numbers by which the core knows them. */
import { Kind } from "../core/layout.ts";
import { refuseValue } from "./refusals.ts";

/**
 * What a span is for, and so how its memory can be accessed: `code` runs, and is written through the other view (`rw`).
 * `constants` can be read at their address, are written as code is, and never run. `data` can be read and written at its
 * address, and never runs.
 */
export type SpanKind = "code" | "constants" | "data";

/** A kind, as the core knows it. */
export type KindNumber = Kind;

/** In the order of the core's numbers. */
const KINDS: readonly SpanKind[] = ["code", "constants", "data"];

const NUMBERS: Readonly<Record<SpanKind, Kind>> = {
  code: Kind.code,
  constants: Kind.constants,
  data: Kind.data,
};

/** The core's number of a kind that a caller named. @throws JitError `ERR_INVALID_ARGUMENT` where there is none of that name */
export function kindNumber(kind: unknown): Kind {
  if (kind === undefined) return Kind.code;
  // Only strings are looked up: converting another value to one runs its own code, or fails.
  if (typeof kind === "string" && Object.hasOwn(NUMBERS, kind)) return NUMBERS[kind as SpanKind];
  throw refuseValue("allocate memory of the kind", kind, 'the kind is "code", "constants" or "data"');
}

/** The name of a kind. */
export function kindName(kind: Kind): SpanKind {
  return KINDS[kind] ?? "code";
}
