/** What is said of an allocation when it is made. */
import { nameCode } from "./code-names.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { kindNumber } from "../engine/kinds.ts";
import type { KindNumber, SpanKind } from "../engine/kinds.ts";
import { refuseValue } from "../engine/refusals.ts";
import type { Span } from "../engine/span.ts";

/** Facts about an allocation, beside its size. */
export interface SpanInfo {
  /** What the memory is for; default `code`. */
  readonly kind?: SpanKind;
  /** The name for people and tools, for example that of the function or the table. */
  readonly name?: string;
}

/** {@link SpanInfo}, checked. */
interface CheckedSpanInfo {
  readonly kind: KindNumber;
  readonly name: string | undefined;
}

/** Checks what a caller says of an allocation. Each field is read once: a getter must not give another value after the check. */
function readSpanInfo(info: unknown): CheckedSpanInfo {
  if (typeof info !== "object" || info === null) {
    throw refuseValue("allocate with", info, "what follows the size is an object: { kind, name }");
  }
  const { kind, name } = info as Partial<Record<keyof SpanInfo, unknown>>;
  return { kind: kindNumber(kind), name: checkName("allocate memory", name) };
}

/** Allocates memory of the kind, and gives it the name, that a caller says. */
export function allocFor(
  operations: Pick<AllocatorOperations, "allocOf">,
  size: number,
  info: unknown,
): Span {
  const { kind, name } = readSpanInfo(info);
  const span = operations.allocOf(size, kind);
  if (name !== undefined) nameCode(span, name);
  return span;
}

/** @throws JitError `ERR_INVALID_ARGUMENT` for what is neither a string nor undefined */
export function checkName(action: string, name: unknown): string | undefined {
  if (name === undefined || typeof name === "string") return name;
  throw refuseValue(`${action} with the name`, name, "a name is a string");
}
