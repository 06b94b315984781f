/** Makes machine code callable as a typed function. */
import { JitError } from "../base/errors.ts";
import type { Door } from "../engine/contract.ts";
import { announceCallable, isAnnouncing } from "../insight/announce.ts";
import { codeName, nameCode } from "../insight/code-names.ts";
import { refuseEntry, refuseKind, refuseLookUp, refuseReleased, refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address, NativeFunction } from "../ffi/contract.ts";
import { Caller, type Code, type Entry, type ReleaseCounter } from "./caller.ts";
import { offsetOfLookUp } from "./interior.ts";
import {
  SignatureTable,
  type ArgumentsOf,
  type ResultOf,
  type Signature,
  type TypedFunction,
} from "./signature.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { isSpan, rx: rxOf, block: blockOf } = spanAccess;

/** What this thread has made for each signature. */
const callers = new SignatureTable<Caller>((types) => new Caller(types, checkLive, doorOf));

/** How a function is made. */
export interface FunctionOptions {
  /**
   * The function's name, as stack traces show it; by default the name of the code. Code that has no name has this one from
   * then on, unless `offset` says that it is only a part of it. CPU profiles show it where the process was started with
   * `--cpu-prof` or `--prof`.
   */
  readonly name?: string;
  /** Where the code begins: bytes from the start of the span; 0 to its size − 1. Default 0. */
  readonly offset?: number;
}

const NO_OPTIONS: FunctionOptions = {};

/**
 * Makes the code of a span callable. Each call checks that the span is still live and that the arguments have their
 * types, and then goes straight to the runtime's foreign function interface.
 *
 * The first function of a signature takes some ten microseconds, each further one a fraction of one, because they share
 * what is native. The code is not checked: wrong code, or a signature that does not fit it, can crash the process. Code that is
 * released while it runs, below a callback or in another thread, runs to its end: see `JitAllocator.retire`.
 *
 * @param code the span
 * @param signature the types of the parameters and of the result; see {@link Signature}
 * @param options the function's name, which takes 0.3 µs more, and where its code begins
 * @throws JitError `ERR_RELEASED`, here and at each call after the release, a reset or the disposal of the allocator;
 *   `ERR_INTERIOR_ADDRESS` for a span that was looked up by an address inside of it, without an `offset`;
 *   `ERR_INVALID_ARGUMENT` here for an invalid signature or option, and at a call for an invalid argument;
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
  options: FunctionOptions = NO_OPTIONS,
  // Written out, because an editor shows the name of a type alias in place of what it stands for.
): (...args: ArgumentsOf<S["parameters"]>) => ResultOf<S["result"]> {
  if (!isSpan(code))
    throw refuseValue("call", code, "the code must be a Span; query(address) makes one of an address");
  const { kind } = blockOf(code);
  if (kind !== "code") throw refuseKind("call", kind, "its memory is not executable; allocate code");
  const caller = callers.of(signature);
  const { name, offset } = options === NO_OPTIONS ? options : readOptions(options);
  checkLive(code);
  const lookedUpAt = offset === undefined ? offsetOfLookUp(code) : undefined;
  if (lookedUpAt !== undefined) throw refuseLookUp(rxOf(code), lookedUpAt);
  const { owner } = blockOf(code);
  if (!owner.isExecutable) {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      "Cannot call code in simulated memory: it is not executable",
    );
  }
  if (isAnnouncing()) {
    if (name !== undefined && (offset ?? 0) === 0 && codeName(code) === undefined) nameCode(code, name);
    announceCallable(code);
  }
  if (offset !== undefined && offset !== 0) {
    const entry = { span: code, offset };
    if (offset >= owner.sizeOf(code)) {
      throw refuseValue("call code at the offset", offset, `the span has ${owner.sizeOf(code)} bytes`);
    }
    return make(caller, entry, ALWAYS_LOOK, rxOf(code) + offset, name ?? codeName(code)) as TypedFunction<S>;
  }
  const known = codeName(code);
  if (name !== undefined && known === undefined) nameCode(code, name);
  return make(caller, code, owner, rxOf(code), name ?? known) as TypedFunction<S>;
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

function make(
  caller: Caller,
  code: Code,
  owner: ReleaseCounter,
  rx: Address,
  name: string | undefined,
): NativeFunction {
  return name === undefined
    ? caller.functionOf(code, owner, rx)
    : caller.namedFunctionOf(code, owner, rx, name);
}

/** For entries: a span may have been shrunk so far that one is no longer inside, and releases alone are counted. */
const ALWAYS_LOOK: ReleaseCounter = { releaseCount: NaN };

/** Checks the options. Each is read once: a getter must not give another value after the check. */
function readOptions(options: unknown): FunctionOptions {
  if (typeof options !== "object" || options === null) {
    throw refuseValue("call code with options", options, "they are an object: { name, offset }");
  }
  const { name, offset } = options as Partial<Record<keyof FunctionOptions, unknown>>;
  if (name !== undefined && typeof name !== "string") {
    throw refuseValue("call code by the name", name, "a name is a string");
  }
  if (offset !== undefined && !isOffset(offset)) {
    throw refuseValue("call code at the offset", offset, "it is an integer from 0 on, in bytes");
  }
  return { ...(name === undefined ? {} : { name }), ...(offset === undefined ? {} : { offset }) };
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** The door of the code's allocator. */
function doorOf(code: Code): Door | undefined {
  return blockOf(isSpan(code) ? code : code.span).owner.door;
}

/**
 * Returns the release count of the span's allocator; NaN for an entry.
 * @throws JitError `ERR_RELEASED` where the span is not live, or was shrunk so that the entry is no longer inside
 */
function checkLive(code: Code): number {
  const span = isSpan(code) ? code : code.span;
  const { owner } = blockOf(span);
  if (!owner.isLive(span)) throw refuseReleased("call", rxOf(span));
  if (span === code) return owner.releaseCount;
  const { offset } = code as Entry;
  if (offset >= owner.sizeOf(span)) throw refuseEntry(rxOf(span), offset, owner.sizeOf(span));
  return NaN;
}
