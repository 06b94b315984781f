/**
 * The names that people gave code. They live as long as the allocation: a name is looked up with the span that was named,
 * and a span knows when its memory is gone. So releases, by whichever way, need not know of names, and the next allocation
 * at the same address never has the old one. As long as nothing has a name, nothing is looked up.
 */
import type { SpanOwner } from "../engine/contract.ts";
import { spanNames } from "../engine/span-names.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import type { CodeSymbol } from "./code-symbols.ts";

const { rx: rxOf, block: blockOf } = spanAccess;

function isLive(span: Span): boolean {
  return blockOf(span).owner.isLive(span);
}

/** What is known of code beside its bytes. */
interface CodeFacts {
  readonly name: string | undefined;
  /** Names of parts of it. */
  readonly symbols: readonly Readonly<CodeSymbol>[];
}

/** Code with a name, or with symbols. */
interface KnownCode extends CodeFacts {
  readonly span: Span;
}

const NO_FACTS: CodeFacts = { name: undefined, symbols: [] };

/** The size up to which a table is not searched for names that have ended: what a small program has anyway. */
const FIRST_SWEEP_SIZE = 256;

/** The names of one allocator, in this thread. */
class NameTable {
  readonly #byAddress = new Map<Address, KnownCode>();
  #nextSweepSize = FIRST_SWEEP_SIZE;

  /** Keeps facts of a live span, in place of those that were known of its allocation. */
  set(span: Span, given: Partial<CodeFacts>): void {
    const start = rxOf(span);
    const { name, symbols } = this.at(start);
    // Field by field: spreading objects takes longer than all the rest.
    this.#byAddress.set(start, {
      span,
      name: given.name ?? name,
      symbols: given.symbols ?? symbols,
    });
    if (this.#byAddress.size >= this.#nextSweepSize) this.#sweep();
  }

  /** What is known of the live allocation that begins at an address. */
  at(start: Address): CodeFacts {
    const known = this.#byAddress.get(start);
    if (known === undefined) return NO_FACTS;
    if (isLive(known.span)) return known;
    this.#byAddress.delete(start);
    return NO_FACTS;
  }

  /** Drops what has ended. The table may double before the next time, so that this costs each name a constant time. */
  #sweep(): void {
    for (const [start, { span }] of this.#byAddress) {
      if (!isLive(span)) this.#byAddress.delete(start);
    }
    this.#nextSweepSize = Math.max(FIRST_SWEEP_SIZE, 2 * this.#byAddress.size);
  }
}

/** By the object that the allocator's spans call. Undefined until something gets a name. */
let tables: WeakMap<SpanOwner, NameTable> | undefined;

function keep(span: Span, facts: Partial<CodeFacts>): void {
  const { owner } = blockOf(span);
  if (tables === undefined) {
    tables = new WeakMap();
    spanNames.nameOf = (shown) => (spanAccess.isSpan(shown) ? codeName(shown) : undefined);
  }
  let table = tables.get(owner);
  if (table === undefined) tables.set(owner, (table = new NameTable()));
  table.set(span, facts);
}

function factsOf(span: Span): CodeFacts {
  if (tables === undefined) return NO_FACTS;
  const facts = tables.get(blockOf(span).owner)?.at(rxOf(span)) ?? NO_FACTS;
  // The facts may be those of a later allocation.
  return facts === NO_FACTS || isLive(span) ? facts : NO_FACTS;
}

let told: ((span: Span, name: string) => void) | undefined;

/** Tells of each name that is given from now on. */
export function tellNames(tell: (span: Span, name: string) => void): void {
  told = tell;
}

/** Gives the code of a live span a name, in place of one that it may have. */
export function nameCode(span: Span, name: string): void {
  keep(span, { name });
  told?.(span, name);
}

/** Keeps names of parts of a live span's code, as `readSymbols` returned them. */
export function setCodeSymbols(span: Span, symbols: readonly Readonly<CodeSymbol>[]): void {
  keep(span, { symbols });
}

/** The name of the code of a span; undefined where it has none, or has ended. */
export function codeName(span: Span): string | undefined {
  return factsOf(span).name;
}

/** The symbols of the code in a span, in the order that they were given in; none once the span is released. */
export function codeSymbols(span: Span): readonly Readonly<CodeSymbol>[] {
  return factsOf(span).symbols;
}

/** The name of the live allocation of an allocator that begins at an address; undefined where it has none. */
export function codeNameAt(owner: SpanOwner, start: Address): string | undefined {
  return tables?.get(owner)?.at(start).name;
}

/** The name of code that begins at an address, and lies in the allocator of a span. */
export function nameOfTarget(span: Span, target: Address): string | undefined {
  return codeNameAt(blockOf(span).owner, target);
}

/** Keeps an allocator's names when another object takes over its spans: it has just been shared. */
export function moveNames(from: SpanOwner, to: SpanOwner): void {
  const table = tables?.get(from);
  if (table !== undefined) tables?.set(to, table);
}
