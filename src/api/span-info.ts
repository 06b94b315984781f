/** What is said of an allocation when it is made. */
import { quietly } from "../base/diagnostics.ts";
import { JitError } from "../base/errors.ts";
import { kindNumber } from "../engine/kinds.ts";
import type { KindNumber, SpanKind } from "../engine/kinds.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { checkMustSucceed, refuseValue } from "../engine/refusals.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import { codeNameAt } from "../insight/code-names.ts";
import { nameAllocated } from "../insight/naming.ts";

/** Facts about an allocation, beside its size. */
export interface SpanInfo {
  /** What the memory is for; default `code`. */
  readonly kind?: SpanKind;
  /** The name for people and tools, for example that of the function or the table. It lasts as long as the allocation. */
  readonly name?: string;
  /**
   * Whether it may take the reserve (option `reserveForMustSucceed`) where there is no other room: for code alone. Default false.
   */
  readonly mustSucceed?: boolean;
}

/** {@link SpanInfo}, checked. */
interface CheckedSpanInfo {
  readonly kind: KindNumber;
  readonly mustSucceed: boolean;
  readonly name: string | undefined;
}

/** Checks what a caller says of an allocation. Each field is read once: a getter must not give another value after the check. */
function readSpanInfo(info: unknown): CheckedSpanInfo {
  if (typeof info !== "object" || info === null) {
    throw refuseValue(
      "allocate with",
      info,
      "what follows the size is an object: { kind, name, mustSucceed }",
    );
  }
  const { kind, name, mustSucceed } = info as Partial<Record<keyof SpanInfo, unknown>>;
  return {
    kind: kindNumber(kind),
    name: checkName("allocate memory", name),
    mustSucceed: checkMustSucceed("allocate memory", mustSucceed),
  };
}

/** @throws JitError `ERR_INVALID_ARGUMENT` for what is neither a string nor undefined */
export function checkName(action: string, name: unknown): string | undefined {
  if (name === undefined || typeof name === "string") return name;
  throw refuseValue(`${action} with the name`, name, "a name is a string");
}

/** Allocates as `info` says, and keeps the name. @throws JitError `ERR_INVALID_ARGUMENT` before anything changes */
export function allocAs(engine: AllocatorOperations, size: number, info: unknown): Span {
  const { kind, name, mustSucceed } = readSpanInfo(info);
  const span = engine.allocOf(size, kind, mustSucceed);
  if (name !== undefined) nameAllocated(span, name);
  return span;
}

/** The name of the live allocation that contains an address; undefined where there is none, or it has no name. */
export function nameIn(engine: AllocatorOperations, rx: Address): string | undefined {
  try {
    return codeNameAt(
      engine,
      quietly(() => engine.queryAddress(rx)),
    );
  } catch (error) {
    if (error instanceof JitError) return undefined;
    throw error;
  }
}
