/**
 * The types of a signature, and what a foreign function interface knows of them: it has fewer, and more are made of those
 * here.
 */
import { JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type { Address, NativeSignature, NativeType } from "../ffi/contract.ts";
import { copyOfString, stringAt } from "../link/c-memory.ts";
import { systemMemory } from "../vm/select.ts";

/** The types of a signature. */
export type ValueType = NativeType | "usize" | "buffer?" | "cstring";

/** What carries each type that interfaces do not know: as a parameter of a call, and from machine code. */
const CARRIERS: Readonly<Partial<Record<ValueType, readonly [given: NativeType, received: NativeType]>>> = {
  usize: ["pointer", "pointer"],
  buffer: ["buffer", "pointer"],
  "buffer?": ["buffer", "pointer"],
  cstring: ["buffer", "pointer"],
};

function carrierOf(type: ValueType, index: 0 | 1): NativeType {
  return CARRIERS[type]?.[index] ?? (type as NativeType);
}

/** A signature that has been checked. */
export interface ValueSignature {
  readonly parameters: readonly ValueType[];
  readonly result: ValueType;
}

/** The signature that machine code is called with. */
export function calledSignature({ parameters, result }: ValueSignature): NativeSignature {
  return { parameters: parameters.map((type) => carrierOf(type, 0)), result: carrierOf(result, 1) };
}

/** The signature that machine code calls with: what it has are addresses, where a call has buffers and strings. */
export function callbackSignature({ parameters, result }: ValueSignature): NativeSignature {
  return { parameters: parameters.map((type) => carrierOf(type, 1)), result: carrierOf(result, 1) };
}

/** Converts one value into another. */
type Convert = (value: unknown) => unknown;

const WHOLE_NUMBERS: ReadonlySet<ValueType> = new Set<ValueType>(["i8", "u8", "i16", "u16", "i32", "u32"]);

/** Whether an argument of this type could be -0, which Deno refuses for an integer. */
function mayBeRefused(type: ValueType): boolean {
  return platform.runtime === "deno" && WHOLE_NUMBERS.has(type);
}

/** Converts an argument, which has been checked, for machine code; undefined = it is passed as it is. */
export function argumentConversion(type: ValueType): Convert | undefined {
  if (mayBeRefused(type)) return (value) => (value as number) + 0;
  return type === "cstring" ? toCString : undefined;
}

/** An expression that converts the argument of that name as {@link argumentConversion} does, without a call. */
export function conversionText(type: ValueType, name: string): string | undefined {
  if (!mayBeRefused(type)) return undefined;
  return type === "u32" ? `${name} >>> 0` : `${name} | 0`;
}

/** Converts what machine code gives, a result or the argument of a callback; undefined = it is taken as it is. */
export function receivedConversion(type: ValueType): Convert | undefined {
  return type === "usize" ? toSize : type === "cstring" ? toText : undefined;
}

/** The copy that machine code gets of a string. Whoever calls holds it until the code has returned. */
function toCString(text: unknown): Uint8Array {
  try {
    return copyOfString(text as string);
  } catch (cause) {
    throw new JitError(
      "ERR_OUT_OF_MEMORY",
      `Cannot call code: there is no memory for a copy of a string of ${(text as string).length} units`,
      { cause },
    );
  }
}

/** Interfaces read 64 bits of an address as a signed integer. */
function toSize(value: unknown): number {
  const size = value as number;
  return size < 0 ? size + 2 ** 64 : size;
}

/** The string at an address; null at address 0. */
function toText(address: unknown): string | null {
  return address === 0 ? null : stringAt(systemMemory(), address as Address);
}
