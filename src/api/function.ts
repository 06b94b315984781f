/** Makes machine code callable as a typed function. */
import { JitError, describe } from "../base/errors.ts";
import type {
  Address,
  NativeCallable,
  NativeFunction,
  NativeSignature,
  NativeType,
} from "../ffi/contract.ts";
import { argumentNames, compile, GeneratedCache } from "../base/generated.ts";
import { refusedCall, systemFfi } from "../ffi/select.ts";
import { isTypedArray, kindOfBytes } from "../base/intrinsics.ts";
import { refuseReleased, refuseValue } from "../engine/refusals.ts";
import { spanAccess } from "../engine/span.ts";
import type { SpanOwner } from "../engine/contract.ts";
import type { Span } from "../engine/span.ts";

/** The TypeScript type of each type in a signature. */
export interface NativeValues {
  /** Results only. */
  void: void;
  /** −128 to 127. */
  i8: number;
  /** 0 to 255. */
  u8: number;
  /** −32,768 to 32,767. */
  i16: number;
  /** 0 to 65,535. */
  u16: number;
  /** −2**31 to 2**31 − 1. */
  i32: number;
  /** 0 to 2**32 − 1. */
  u32: number;
  /** Any number, rounded to the nearest single-precision number. */
  f32: number;
  /** Any number. */
  f64: number;
  /** −2n**63n to 2n**63n − 1n. */
  i64: bigint;
  /** 0n to 2n**64n − 1n. */
  u64: bigint;
  /** 0 to 2**53 − 1. */
  pointer: Address;
  /** Parameters only. The code gets the address of its first byte, valid while the call lasts. */
  buffer: ArrayBufferView | ArrayBuffer;
}

/** The types a parameter can have. */
export type ParameterType = Exclude<keyof NativeValues, "void">;
/** The types a result can have. */
export type ResultType = Exclude<keyof NativeValues, "buffer">;

/**
 * The parameters and the result of a piece of machine code, which follows the platform's C calling convention.
 *
 * | type | in TypeScript |
 * |---|---|
 * | `void` | undefined; results only |
 * | `i8` `u8` `i16` `u16` `i32` `u32` | number, an integer in the range of the type |
 * | `f32` `f64` | number |
 * | `i64` `u64` | bigint in the range of the type |
 * | `pointer` | Address: an integer from 0 to 2**53 − 1 |
 * | `buffer` | a TypedArray, DataView or ArrayBuffer; parameters only. The code gets its address, valid during the call |
 */
export interface Signature {
  /** In the order of the arguments; at most 32. */
  readonly parameters: readonly ParameterType[];
  /** `void` where there is none. */
  readonly result: ResultType;
}

/** The arguments that a list of parameter types describes. */
export type ArgumentsOf<P extends readonly ParameterType[]> = {
  -readonly [I in keyof P]: P[I] extends ParameterType ? NativeValues[P[I]] : never;
};

/** The function that a signature describes: its arguments and its result are inferred. */
export type TypedFunction<S extends Signature> = (
  ...args: ArgumentsOf<S["parameters"]>
) => NativeValues[S["result"]];

/** Least and greatest value of each integer type that is a number in TypeScript. */
const RANGES: Readonly<Partial<Record<NativeType, readonly [number, number]>>> = {
  i8: [-0x80, 0x7f],
  u8: [0, 0xff],
  i16: [-0x8000, 0x7fff],
  u16: [0, 0xffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
  u32: [0, 0xffff_ffff],
  pointer: [0, Number.MAX_SAFE_INTEGER],
};
const BIGINT_RANGES: Readonly<Partial<Record<NativeType, readonly [bigint, bigint]>>> = {
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
  u64: [0n, 2n ** 64n - 1n],
};
const PARAMETER_TYPES: readonly NativeType[] = [
  ...(Object.keys(RANGES) as NativeType[]),
  ...(Object.keys(BIGINT_RANGES) as NativeType[]),
  "f32",
  "f64",
  "buffer",
];
const RESULT_TYPES: readonly NativeType[] = [...PARAMETER_TYPES.filter((type) => type !== "buffer"), "void"];

/** More than any compiler passes, and few enough for every foreign function interface. */
const MOST_PARAMETERS = 32;

/**
 * Makes the code of a span callable. Each call checks that the span is still live and that the arguments have their
 * types, and then goes straight to the runtime's foreign function interface.
 *
 * Make the function once and keep it: making one takes some microseconds. The code is not checked: wrong code, or a
 * signature that does not fit it, can crash the process. Do not release code while it runs.
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
export function toFunction<const S extends Signature>(code: Span, signature: S): TypedFunction<S> {
  if (!spanAccess.isSpan(code))
    throw refuseValue("call", code, "the code must be a Span; query(address) makes one of an address");
  const checked = checkSignature(signature);
  checkLive(code);
  const { owner } = spanAccess.block(code);
  if (!owner.isExecutable) {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      "Cannot call code in simulated memory: it is not executable",
    );
  }
  const target = systemFfi().callable(spanAccess.rx(code), checked);
  return guardOf(checked.parameters, target.fast !== undefined)(code, target, owner) as TypedFunction<S>;
}

/** Checks the signature and copies it, so that no getter of the caller's is ever read again. */
function checkSignature(signature: unknown): NativeSignature {
  if (typeof signature !== "object" || signature === null) {
    throw refuseValue("call code with signature", signature, "a signature is { parameters, result }");
  }
  const { parameters, result } = signature as Partial<Record<"parameters" | "result", unknown>>;
  const count: unknown = Array.isArray(parameters) ? parameters.length : undefined;
  if (!Array.isArray(parameters) || typeof count !== "number" || !(count <= MOST_PARAMETERS)) {
    throw refuseValue(
      "call code with parameters",
      parameters,
      `they are an array of at most ${MOST_PARAMETERS}`,
    );
  }
  return {
    parameters: Array.from({ length: count }, (_, index) =>
      checkType("parameter", parameters[index], PARAMETER_TYPES),
    ),
    result: checkType("result", result, RESULT_TYPES),
  };
}

function checkType(what: string, type: unknown, known: readonly NativeType[]): NativeType {
  const found = known.find((candidate) => candidate === type);
  if (found === undefined)
    throw refuseValue(`call code with ${what}`, type, `it is one of ${known.join(" ")}`);
  return found;
}

/** Puts the checks before the calls of one function. Precondition: the span is live. */
type Guard = (code: Span, target: NativeCallable, owner: SpanOwner) => NativeFunction;

/** Guards by the types of the parameters: compiling a guard takes longer than making a function with it. */
const guards = new GeneratedCache<Guard>();

function guardOf(types: readonly NativeType[], isFast: boolean): Guard {
  return guards.get([isFast, ...types].join(), () => makeGuard(types, isFast));
}

/**
 * Compiles a guard. For two parameters of the types i32 and f64, where the target has no fast way to call yet, it is:
 *
 * ```text
 * let releaseCount = owner.releaseCount;
 * return (a0, a1, surplus = undefined) => {
 *   if (!(typeof a0 === "number" && (a0 | 0) === a0)) checks[0](a0);
 *   if (!(typeof a1 === "number")) checks[1](a1);
 *   if (surplus !== undefined) refuseSurplus();
 *   if (owner.releaseCount !== releaseCount) releaseCount = checkLive(code);
 *   try {
 *     const { fast } = target;
 *     if (fast === undefined) return target.call(a0, a1);
 *     return fast(a0, a1);
 *   } catch (error) {
 *     throw refusedCall(error);
 *   }
 * };
 * ```
 *
 * Where the target has one, `fast` is taken from it once, and calls have nothing to choose.
 *
 * A call looks up whether the span is live only if anything was released since the last call. That check is the last
 * one, because nothing may come between it and the call. The parameter `surplus` catches a call with too many arguments;
 * its default value keeps it out of the function's `length`.
 *
 * The checks cost a call little or nothing, for two reasons:
 * - Compilers leave out a branch that was never taken. `releaseCount` begins as the allocator's, since the span is known
 *   to be live then, so the first call looks nothing up.
 * - Compilers treat as a constant whatever is written once: a `const`, and the target's `fast`, which is added only when
 *   there is a fast way ({@link NativeCallable.fast}). A variable that is undefined at first would be loaded at each call.
 */
function makeGuard(types: readonly NativeType[], isFast: boolean): Guard {
  const checks = types.map(argumentCheck);
  const refuseSurplus = (): never => {
    throw tooManyArguments(types.length);
  };
  const names = argumentNames(types.length);
  const list = names.join(", ");
  const lines = names.map((name, index) => {
    const shortcut = SHORTCUTS[types[index] ?? "void"]?.(name);
    return `${shortcut === undefined ? "" : `if (!(${shortcut})) `}checks[${index}](${name});`;
  });
  const [start, choice] = isFast
    ? ["const { fast } = target;", ""]
    : ["", `const { fast } = target; if (fast === undefined) return target.call(${list});`];
  const make = compile<(...values: unknown[]) => Guard>(
    ["checks", "refuseSurplus", "checkLive", "isTypedArray", "refusedCall"],
    `return (code, target, owner) => {
      let releaseCount = owner.releaseCount;
      ${start}
      return (${[...names, "surplus = undefined"].join(", ")}) => {
        ${lines.join("\n")}
        if (surplus !== undefined) refuseSurplus();
        if (owner.releaseCount !== releaseCount) releaseCount = checkLive(code);
        try {
          ${choice}
          return fast(${list});
        } catch (error) {
          throw refusedCall(error);
        }
      };
    };`,
  );
  if (make !== undefined) return make(checks, refuseSurplus, checkLive, isTypedArray, refusedCall);

  // The fallback where the process may not compile text.
  return (code, target) => {
    const guarded: NativeFunction = (...args) => {
      for (const [index, check] of checks.entries()) check(args[index]);
      if (args[types.length] !== undefined) refuseSurplus();
      checkLive(code);
      try {
        return (target.fast ?? target.call)(...args);
      } catch (error) {
        throw refusedCall(error);
      }
    };
    return Object.defineProperty(guarded, "length", { value: types.length });
  };
}

/** Returns the release count of the span's allocator. @throws JitError `ERR_RELEASED` where the span is not live */
function checkLive(code: Span): number {
  const { owner } = spanAccess.block(code);
  if (!owner.isLive(code)) throw refuseReleased("call", spanAccess.rx(code));
  return owner.releaseCount;
}

const isNumber = (name: string): string => `typeof ${name} === "number"`;

/**
 * Expressions that are faster than the check of a type, and true only for values that it accepts. Where one is false,
 * the check decides.
 */
const SHORTCUTS: Readonly<Partial<Record<NativeType, (name: string) => string>>> = {
  i8: (name) => `${isNumber(name)} && (${name} << 24 >> 24) === ${name}`,
  u8: (name) => `${isNumber(name)} && (${name} & 0xff) === ${name}`,
  i16: (name) => `${isNumber(name)} && (${name} << 16 >> 16) === ${name}`,
  u16: (name) => `${isNumber(name)} && (${name} & 0xffff) === ${name}`,
  i32: (name) => `${isNumber(name)} && (${name} | 0) === ${name}`,
  u32: (name) => `${isNumber(name)} && (${name} >>> 0) === ${name}`,
  f32: isNumber,
  f64: isNumber,
  // A typed array has an element 0, unless it is empty or has lost its memory; callers cannot define one on it.
  buffer: (name) => `isTypedArray(${name}) && ${name}[0] !== undefined`,
};

type ArgumentCheck = (value: unknown) => void;

/** The check of one parameter: foreign function interfaces silently wrap values that are out of range. */
function argumentCheck(type: NativeType, index: number): ArgumentCheck {
  const refuse = (value: unknown, wanted: string): JitError =>
    new JitError(
      "ERR_INVALID_ARGUMENT",
      `Cannot call code: argument ${index + 1} (${type}) must be ${wanted}, and is ${describe(value)}`,
    );
  const range = RANGES[type];
  if (range !== undefined) {
    const [least, most] = range;
    return (value) => {
      if (typeof value !== "number" || !(value >= least && value <= most) || Math.floor(value) !== value) {
        throw refuse(value, `an integer from ${least} to ${most}`);
      }
    };
  }
  const bigintRange = BIGINT_RANGES[type];
  if (bigintRange !== undefined) {
    const [least, most] = bigintRange;
    return (value) => {
      if (typeof value !== "bigint" || value < least || value > most) {
        throw refuse(value, `a bigint from ${least} to ${most}`);
      }
    };
  }
  if (type === "buffer") {
    return (value) => {
      const kind = kindOfBytes(value);
      if (kind === "other") throw refuse(value, "a TypedArray, DataView or ArrayBuffer");
      if (kind === "lost")
        throw refuse(value, "a buffer that has its memory: it is detached, or was made shorter");
    };
  }
  return (value) => {
    if (typeof value !== "number") throw refuse(value, "a number");
  };
}

function tooManyArguments(count: number): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot call code: it takes ${count} argument(s), and was given more`,
  );
}
