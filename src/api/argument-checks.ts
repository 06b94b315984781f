/** The checks of the arguments of a call: foreign function interfaces silently wrap values that are out of range. */
import { JitError, describe } from "../base/errors.ts";
import { kindOfBytes } from "../base/intrinsics.ts";
import type { ValueType } from "./value-types.ts";

/** Least and greatest value of each integer type that is a number in TypeScript. */
const RANGES: Readonly<Partial<Record<ValueType, readonly [number, number]>>> = {
  i8: [-0x80, 0x7f],
  u8: [0, 0xff],
  i16: [-0x8000, 0x7fff],
  u16: [0, 0xffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
  u32: [0, 0xffff_ffff],
  pointer: [0, Number.MAX_SAFE_INTEGER],
  usize: [0, Number.MAX_SAFE_INTEGER],
};
const BIGINT_RANGES: Readonly<Partial<Record<ValueType, readonly [bigint, bigint]>>> = {
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
  u64: [0n, 2n ** 64n - 1n],
};

const isNumber = (name: string): string => `typeof ${name} === "number"`;

/**
 * Expressions that are faster than the check of a type, and true only for values that it accepts. Where one is false,
 * the check decides. They use `isTypedArray` of base/intrinsics.ts.
 */
export const SHORTCUTS: Readonly<Partial<Record<ValueType, (name: string) => string>>> = {
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
  "buffer?": (name) => `${name} === null || isTypedArray(${name}) && ${name}[0] !== undefined`,
};

/** Throws where a value is no argument of its parameter. */
export type ArgumentCheck = (value: unknown) => void;

/** The check of the parameter of that index (from 0 on). It throws `ERR_INVALID_ARGUMENT`. */
export function argumentCheck(type: ValueType, index: number): ArgumentCheck {
  return valueCheck(type, `Cannot call code: argument ${index + 1}`);
}

/** The check of what a callback returns. It throws `ERR_INVALID_ARGUMENT`. */
export function resultCheck(type: ValueType): ArgumentCheck {
  return valueCheck(type, "Cannot return from a callback: the result");
}

function valueCheck(type: ValueType, what: string): ArgumentCheck {
  const refuse = (value: unknown, wanted: string): JitError =>
    new JitError("ERR_INVALID_ARGUMENT", `${what} (${type}) must be ${wanted}, and is ${describe(value)}`);
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
  if (type === "cstring") {
    return (value) => {
      if (typeof value !== "string") throw refuse(value, "a string");
      if (value.includes("\0"))
        throw refuse(value, "a string without a zero in it, where C would see its end");
    };
  }
  if (type === "buffer" || type === "buffer?") {
    const orNull = type === "buffer" ? "" : ", or null";
    return (value) => {
      if (value === null && type === "buffer?") return;
      const kind = kindOfBytes(value);
      if (kind === "other") throw refuse(value, `a TypedArray, DataView or ArrayBuffer${orNull}`);
      if (kind === "lost")
        throw refuse(value, "a buffer that has its memory: it is detached, or was made shorter");
    };
  }
  return (value) => {
    if (typeof value !== "number") throw refuse(value, "a number");
  };
}

/** The error of a call with more than `count` arguments. */
export function tooManyArguments(count: number): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot call code: it takes ${count} argument(s), and was given more`,
  );
}
