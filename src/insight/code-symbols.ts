/** The symbols that code is added with: names for places inside a span. */
import { isIndex, refuseValue } from "../engine/refusals.ts";

/** A named part of a piece of code: a function of several, a loop, a table. */
export interface CodeSymbol {
  /** The name for people and tools. */
  name: string;
  /** Where it begins: bytes from the start of the span. */
  offset: number;
  /** Bytes, 0 or more. Symbols may overlap; each lies inside the span. */
  size: number;
}

/**
 * Checks the symbols of code and copies them. Each field is read once: a getter must not give another value after the check.
 * @param sizeBytes the size of the code, as far as it is known
 * @throws JitError `ERR_INVALID_ARGUMENT`
 */
export function readSymbols(symbols: unknown, sizeBytes: number): readonly Readonly<CodeSymbol>[] {
  if (!Array.isArray(symbols)) {
    throw refuseValue("add code with the symbols", symbols, "they are an array of { name, offset, size }");
  }
  return Array.from({ length: symbols.length }, (_, index) => readSymbol(symbols[index], sizeBytes));
}

function readSymbol(symbol: unknown, sizeBytes: number): Readonly<CodeSymbol> {
  if (typeof symbol !== "object" || symbol === null) {
    throw refuseValue("add code with the symbol", symbol, "it is an object: { name, offset, size }");
  }
  const { name, offset, size } = symbol as Partial<Record<keyof CodeSymbol, unknown>>;
  if (typeof name !== "string")
    throw refuseValue("add code with a symbol of the name", name, "it is a string");
  if (!isIndex(offset) || !isIndex(size)) {
    const [what, value] = isIndex(offset) ? (["size", size] as const) : (["offset", offset] as const);
    throw refuseValue(`add code with a symbol of the ${what}`, value, "it is an integer from 0 on, in bytes");
  }
  const checked = { name, offset, size };
  checkPlace(checked, sizeBytes);
  return Object.freeze(checked);
}

/** @throws JitError `ERR_INVALID_ARGUMENT` where a symbol is not inside the code */
export function checkSymbols(symbols: readonly Readonly<CodeSymbol>[], sizeBytes: number): void {
  for (const symbol of symbols) checkPlace(symbol, sizeBytes);
}

function checkPlace({ name, offset, size }: CodeSymbol, sizeBytes: number): void {
  if (offset + size > sizeBytes) {
    throw refuseValue(
      "add code with the symbol",
      name,
      `it lies from ${offset} to ${offset + size}, and the code has ${sizeBytes} bytes`,
    );
  }
}
