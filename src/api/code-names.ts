/** The names that spans were given when their code was added. Nothing is looked up as long as no code has one. */
import type { Span } from "../engine/span.ts";

let names: WeakMap<Span, string> | undefined;

/** Gives the code of a span a name. */
export function nameCode(span: Span, name: string): void {
  (names ??= new WeakMap()).set(span, name);
}

/** The name that the code of a span was given; undefined = none. */
export function codeName(span: Span): string | undefined {
  return names?.get(span);
}
