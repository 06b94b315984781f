/** Signatures of machine code: their types, and what this thread has made for each. */
import type { Address } from "../ffi/contract.ts";
import { refuseValue } from "../engine/refusals.ts";
import type { ValueSignature, ValueType } from "./value-types.ts";

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
  /** Parameters only. As `buffer`; null is the address 0. */
  "buffer?": ArrayBufferView | ArrayBuffer | null;
  /** 0 to 2**53 − 1: a size, an offset, a count. A larger result is rounded, as any number of that size. */
  usize: number;
  /**
   * A string without a zero in it. The code gets the address of a copy in UTF-8 with a zero at its end, valid while the call
   * lasts. As a result it is the text at the address, or null for the address 0.
   */
  cstring: string;
}

/** The types a parameter can have. */
export type ParameterType = Exclude<keyof NativeValues, "void">;
/** The types a result can have. */
export type ResultType = Exclude<keyof NativeValues, "buffer" | "buffer?">;

/** What a call gives for a type of result: for `cstring` a string or null, else the value of the type. */
export type ResultOf<R extends ResultType> = R extends "cstring" ? string | null : NativeValues[R];

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
 * | `usize` | number, an integer from 0 to 2**53 − 1 |
 * | `buffer` | a TypedArray, DataView or ArrayBuffer; parameters only. The code gets its address, valid during the call |
 * | `buffer?` | the same, or null, which is the address 0 |
 * | `cstring` | string without a zero in it; the code gets the address of a copy, valid during the call. As a result: string, or null for the address 0 |
 */
export interface Signature {
  /** In the order of the arguments; at most 32. */
  readonly parameters: readonly ParameterType[];
  /** `void` where there is none. */
  readonly result: ResultType;
}

/** Names for arguments, as an editor shows them. Few compilers pass more, and those are called `args_0` and so on. */
interface Named {
  0: [];
  1: [a: 0];
  2: [a: 0, b: 0];
  3: [a: 0, b: 0, c: 0];
  4: [a: 0, b: 0, c: 0, d: 0];
  5: [a: 0, b: 0, c: 0, d: 0, e: 0];
  6: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0];
  7: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0];
  8: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0];
  9: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0];
  10: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0];
  11: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0, k: 0];
  12: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0, k: 0, l: 0];
  13: [a: 0, b: 0, c: 0, d: 0, e: 0, f: 0, g: 0, h: 0, i: 0, j: 0, k: 0, l: 0, m: 0];
}

/** The arguments of parameters `P`, with the names of the tuple `N`. */
type NamedArguments<N extends readonly unknown[], P extends readonly ParameterType[]> = {
  [I in keyof N]: I extends keyof P ? (P[I] extends ParameterType ? NativeValues[P[I]] : never) : never;
};

/** The arguments that a list of parameter types describes. */
export type ArgumentsOf<P extends readonly ParameterType[]> =
  // TypeScript 5.2 and 5.3 see by `infer` alone that this is an array.
  (
    P["length"] extends keyof Named
      ? NamedArguments<Named[P["length"]], P>
      : { -readonly [I in keyof P]: P[I] extends ParameterType ? NativeValues[P[I]] : never }
  ) extends infer A extends readonly unknown[]
    ? A
    : never;

/** The function that a signature describes: its arguments and its result are inferred. */
export type TypedFunction<S extends Signature> = (
  ...args: ArgumentsOf<S["parameters"]>
) => ResultOf<S["result"]>;

/**
 * The types of a callback. As those of a function, but the result is no `cstring`: nobody would own its copy. Machine code
 * has addresses: `buffer` and `buffer?` come as an Address, `cstring` as a string, or null for the address 0.
 */
export interface CallbackSignature extends Signature {
  readonly result: Exclude<ResultType, "cstring">;
}

/** What a callback gets for a type of parameter. */
export type ReceivedValue<P extends ParameterType> = P extends "buffer" | "buffer?"
  ? Address
  : P extends "cstring"
    ? string | null
    : NativeValues[P];

/** The arguments that a callback gets for a list of parameter types. */
export type CallbackArguments<P extends readonly ParameterType[]> =
  // As in ArgumentsOf: else TypeScript 5.2 does not see that this is an array.
  {
    -readonly [I in keyof P]: P[I] extends ParameterType ? ReceivedValue<P[I]> : never;
  } extends infer A extends readonly unknown[]
    ? A
    : never;

const PARAMETER_TYPES: readonly ValueType[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "pointer",
  "i64",
  "u64",
  "f32",
  "f64",
  "usize",
  "buffer",
  "buffer?",
  "cstring",
];
const RESULT_TYPES: readonly ValueType[] = [
  ...PARAMETER_TYPES.filter((type) => type !== "buffer" && type !== "buffer?"),
  "void",
];

/** More than any compiler passes, and few enough for every foreign function interface. */
const MOST_PARAMETERS = 32;

/**
 * The most signatures, and the most places in their tree, that are kept. A program has some dozens of signatures. One that
 * makes them without end (a fuzzer, a binding generator) must not keep all of them, at some 5 KB each.
 */
const MOST_SIGNATURES = 512;
const MOST_PLACES = 4096;

/** A place in the tree of signatures. */
interface Place<V> {
  /** The types on the way from the root. */
  readonly parameters: readonly ValueType[];
  /** The places after one more parameter. */
  readonly next: Map<unknown, Place<V>>;
  readonly byResult: Map<unknown, V>;
}

/**
 * What a thread has made for each signature. Nobody else has the copies of signatures in here, so that no getter of a
 * caller's is ever read again. The types of a signature lead through a tree of maps to it. So they are
 * checked on the way: one that leads nowhere is unknown, or met for the first time.
 */
export class SignatureTable<V> {
  readonly #make: (signature: ValueSignature) => V;
  #root: Place<V> = newPlace([]);
  #signatureCount = 0;
  #placeCount = 0;

  /** @param make makes what is kept for a signature */
  constructor(make: (signature: ValueSignature) => V) {
    this.#make = make;
  }

  /**
   * What was made for the signature, or is made now. Reads each part of `signature` once.
   * @throws JitError `ERR_INVALID_ARGUMENT` for an invalid signature
   */
  of(signature: unknown): V {
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
    let place = this.#root;
    for (let index = 0; index < count; index++) {
      const type: unknown = parameters[index];
      place = place.next.get(type) ?? this.#grow(place, type);
    }
    return place.byResult.get(result) ?? this.#add(place, result);
  }

  #grow(place: Place<V>, type: unknown): Place<V> {
    const checked = checkType("parameter", type, PARAMETER_TYPES);
    const next = newPlace<V>([...place.parameters, checked]);
    this.#placeCount++;
    place.next.set(checked, next);
    return next;
  }

  #add(place: Place<V>, result: unknown): V {
    const { parameters } = place;
    const checked = checkType("result", result, RESULT_TYPES);
    const made = this.#make({ parameters, result: checked });
    if (this.#signatureCount >= MOST_SIGNATURES || this.#placeCount >= MOST_PLACES) {
      // Emptied all at once: to track the least recently used would make every look-up cost more.
      this.#root = newPlace([]);
      this.#signatureCount = this.#placeCount = 0;
      return made;
    }
    this.#signatureCount++;
    place.byResult.set(checked, made);
    return made;
  }
}

function newPlace<V>(parameters: readonly ValueType[]): Place<V> {
  return { parameters, next: new Map(), byResult: new Map() };
}

function checkType(what: string, type: unknown, known: readonly ValueType[]): ValueType {
  const found = known.find((candidate) => candidate === type);
  if (found === undefined)
    throw refuseValue(`call code with ${what}`, type, `it is one of ${known.join(" ")}`);
  return found;
}
