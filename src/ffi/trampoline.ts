/** Puts the conversions that an interface needs around one of its functions. */
import type { NativeFunction } from "./contract.ts";
import { argumentNames, compile, GeneratedCache } from "../base/generated.ts";

/** Makes a value of the contract one of the interface, or the other way round. */
export type Conversion = (value: unknown) => unknown;

/** What has to be converted; undefined = nothing. */
export interface Conversions {
  /** One for each parameter. */
  readonly parameters: readonly (Conversion | undefined)[];
  readonly result: Conversion | undefined;
}

type Make = (raw: NativeFunction, parameters: Conversions["parameters"], result: unknown) => NativeFunction;

/** By the text of the function: compiling takes ten microseconds. */
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
 * The same, compiled for `raw` alone. V8 calls native functions directly, in a few nanoseconds, only from places that
 * have never called another one; where many are called from one place, each call costs a hundred.
 */
export function ownTrampoline(raw: NativeFunction, conversions: Conversions): NativeFunction {
  // V8 keeps what it compiled by its text and would share its places: the number makes each text another one.
  const make = compileMaker(`${textOf(conversions)} // ${ownCount++}`);
  return make === undefined
    ? converted(raw, conversions)
    : make(raw, conversions.parameters, conversions.result);
}

function textOf({ parameters, result }: Conversions): string {
  const names = argumentNames(parameters.length);
  const values = names.map((name, index) =>
    parameters[index] === undefined ? name : `convert${name}(${name})`,
  );
  const call = `raw(${values.join(", ")})`;
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

/** Where nothing may be compiled. */
function convertedSlowly(raw: NativeFunction, { parameters, result }: Conversions): NativeFunction {
  return (...args) => {
    const value = raw(...args.map((argument, index) => parameters[index]?.(argument) ?? argument));
    return result === undefined ? value : result(value);
  };
}

/** 64-bit integers as interfaces give them, number or bigint by their size, as the contract has them. */
export function toBigInt(value: unknown): bigint {
  return typeof value === "bigint" ? value : BigInt(value as number);
}

/** Addresses as interfaces give them. None that a process can use is past 2**53, but a wrong result may be. */
export function toNumber(value: unknown): number {
  return Number(value);
}
