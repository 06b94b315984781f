/** Makes machine code callable as a typed function. */
import { JitError } from "../base/errors.ts";
import { refuseReleased, refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import { Caller } from "./caller.ts";
import {
  SignatureTable,
  type ArgumentsOf,
  type NativeValues,
  type Signature,
  type TypedFunction,
} from "./signature.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { isSpan, rx: rxOf, block: blockOf } = spanAccess;

/** What this thread has made for each signature. */
const callers = new SignatureTable<Caller>((signature) => new Caller(signature, checkLive));

/**
 * Makes the code of a span callable. Each call checks that the span is still live and that the arguments have their
 * types, and then goes straight to the runtime's foreign function interface.
 *
 * The first function of a signature takes some ten microseconds, each further one a fraction of one, because they share
 * what is native. The code is not checked: wrong code, or a signature that does not fit it, can crash the process. Do not
 * release code while it runs.
 *
 * @param code the span; the code begins at its start
 * @param signature the types of the parameters and of the result; see {@link Signature}
 * @throws JitError `ERR_RELEASED`, here and at each call after the release, a reset or the disposal of the allocator;
 *   `ERR_INVALID_ARGUMENT` here for an invalid signature, and at a call for an invalid argument;
 *   `ERR_FEATURE_NOT_ENABLED` where native code cannot be called
 * @example
 * ```ts
 * const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
 * add(2, 3); // 5
 * ```
 */
export function toFunction<const S extends Signature>(
  code: Span,
  signature: S,
  // Written out, because an editor shows the name of a type alias in place of what it stands for.
): (...args: ArgumentsOf<S["parameters"]>) => NativeValues[S["result"]] {
  if (!isSpan(code))
    throw refuseValue("call", code, "the code must be a Span; query(address) makes one of an address");
  const caller = callers.of(signature);
  checkLive(code);
  const { owner } = blockOf(code);
  if (!owner.isExecutable) {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      "Cannot call code in simulated memory: it is not executable",
    );
  }
  return caller.functionOf(code, owner, rxOf(code)) as TypedFunction<S>;
}

/**
 * Checks a signature and returns it, with the types of its literals: for signatures that are kept, or used more than once.
 * Without it TypeScript takes the types in a variable for any `string`.
 *
 * @param types the signature
 * @returns `types` itself
 * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid signature
 * @example
 * ```ts
 * const binary = signature({ parameters: ["i32", "i32"], result: "i32" });
 * const add = toFunction(span, binary); // (a: number, b: number) => number
 * ```
 */
export function signature<const S extends Signature>(types: S): S {
  callers.of(types);
  return types;
}

/** Returns the release count of the span's allocator. @throws JitError `ERR_RELEASED` where the span is not live */
function checkLive(code: Span): number {
  const { owner } = blockOf(code);
  if (!owner.isLive(code)) throw refuseReleased("call", rxOf(code));
  return owner.releaseCount;
}
