/** Wraps a function of an interface in the conversions that the interface needs. */
import type { NativeFunction } from "./contract.ts";
import { argumentNames, compile, GeneratedCache } from "../base/generated.ts";

/** Converts a value of the contract to one of the interface, or the other way round. */
export type Conversion = (value: unknown) => unknown;

/** The conversions of a function; undefined = the value needs none. */
export interface Conversions {
  /** One for each parameter. */
  readonly parameters: readonly (Conversion | undefined)[];
  readonly result: Conversion | undefined;
}

type Make = (raw: NativeFunction, parameters: Conversions["parameters"], result: unknown) => NativeFunction;

/** Compiled makers, by the text of the function: compiling takes 10 µs. */
const makers = new GeneratedCache<Make | undefined>();

/** `raw` with its conversions; `raw` itself where there is nothing to convert. */
export function converted(raw: NativeFunction, conversions: Conversions): NativeFunction {
  if (conversions.result === undefined && conversions.parameters.every((one) => one === undefined))
    return raw;
  const text = textOf(conversions);
  const make = makers.get(text, () => compileMaker(text));
  return make === undefined
    ? convertedSlowly(raw, conversions)
    : make(raw, conversions.parameters, conversions.result);
}

/** How many functions {@link ownTrampoline} has made. */
let ownCount = 0;

/**
 * Like {@link converted}, but compiled so that V8 never makes the call a fast API call, whatever `raw` is: it does so only
 * where the number of arguments is that of the parameters.
 */
export function slowTrampoline(raw: NativeFunction, conversions: Conversions): NativeFunction {
  const make = compileMaker(`${textOf(conversions, ", undefined")} // ${ownCount++}`);
  return make === undefined
    ? convertedSlowly((...args) => raw(...args, undefined), conversions)
    : make(raw, conversions.parameters, conversions.result);
}

/**
 * Like {@link converted}, but compiled for `raw` alone. V8 calls a native function directly, in a few nanoseconds, only
 * from a call site that has never called another one. Where a call site calls many, each call takes a hundred.
 */
export function ownTrampoline(raw: NativeFunction, conversions: Conversions): NativeFunction {
  // V8 caches compiled code by its text, and would share the call site: the number makes each text unique.
  const make = compileMaker(`${textOf(conversions)} // ${ownCount++}`);
  return make === undefined
    ? converted(raw, conversions)
    : make(raw, conversions.parameters, conversions.result);
}

/** @param surplus what the call has after its arguments */
function textOf({ parameters, result }: Conversions, surplus = ""): string {
  const names = argumentNames(parameters.length);
  const values = names.map((name, index) =>
    parameters[index] === undefined ? name : `convert${name}(${name})`,
  );
  const call = `raw(${values.join(", ")}${values.length === 0 ? surplus.replace(", ", "") : surplus})`;
  const locals = names
    .map((name, index) =>
      parameters[index] === undefined ? "" : `const convert${name} = parameters[${index}]; `,
    )
    .join("");
  return `${locals}return (${names.join(", ")}) => ${result === undefined ? call : `result(${call})`};`;
}

function compileMaker(text: string): Make | undefined {
  return compile<Make>(["raw", "parameters", "result"], text);
}

/** Converts without compiled code, for processes that may not compile any. */
function convertedSlowly(raw: NativeFunction, { parameters, result }: Conversions): NativeFunction {
  return (...args) => {
    const value = raw(...args.map((argument, index) => parameters[index]?.(argument) ?? argument));
    return result === undefined ? value : result(value);
  };
}

/** Converts a 64-bit integer, which interfaces return as a number or a bigint by its size, to the contract's bigint. */
export function toBigInt(value: unknown): bigint {
  return typeof value === "bigint" ? value : BigInt(value as number);
}

/**
 * Converts an address to the contract's number. No address that a process can use is past 2**53, but a wrong result may
 * be.
 */
export function toNumber(value: unknown): number {
  return Number(value);
}
