/**
 * Reads views and buffers by the built-in methods, past any properties a caller gave them. A caller's getter, method or
 * trap would run the caller's code between a check and the operation that it protects.
 */
import { builtin } from "./builtins.ts";
import { platform } from "./platform.ts";

const { apply, get } = Reflect;
const Bytes = Uint8Array;
const Words = Uint32Array;

const typedArrayPrototype = Object.getPrototypeOf(Bytes.prototype) as object;

/** The getter of a built-in; throws a TypeError for a `this` of another kind. */
function numberGetter(prototype: object, name: string): (this: unknown) => number {
  return (Object.getOwnPropertyDescriptor(prototype, name) as { readonly get: (this: unknown) => number })
    .get;
}

const lengthGetter = numberGetter(typedArrayPrototype, "length");
const offsetGetter = numberGetter(typedArrayPrototype, "byteOffset");
const { get: bufferGetter } = Object.getOwnPropertyDescriptor(typedArrayPrototype, "buffer") as {
  readonly get: (this: unknown) => ArrayBufferLike;
};
const { get: nameGetter } = Object.getOwnPropertyDescriptor(typedArrayPrototype, Symbol.toStringTag) as {
  readonly get: (this: unknown) => string | undefined;
};

/** JavaScriptCore takes 20 ns for the getter of a name, and 2 for these. */
const types = platform.runtime === "bun" ? builtin("node:util").types : undefined;

/** Whether a value is a Uint8Array, or of a class derived from it, as Buffer is. */
export const isUint8Array: (value: unknown) => value is Uint8Array =
  types?.isUint8Array ?? ((value): value is Uint8Array => apply(nameGetter, value, []) === "Uint8Array");

/** Whether a value is a typed array of any kind. */
export const isTypedArray: (value: unknown) => boolean =
  types?.isTypedArray ?? ((value) => apply(nameGetter, value, []) !== undefined);

/** The length of any typed array, in elements; 0 where it has lost its memory. Throws a TypeError for other values. */
export function typedArrayLength(value: unknown): number {
  return apply(lengthGetter, value, []); // a third faster than call()
}

/**
 * The length of bytes that are sure to be a Uint8Array. Reading an element first runs nobody's code, and lets V8 know what it
 * has: it then reads the length where it stands, instead of calling the getter.
 */
export function lengthOfBytes(bytes: Uint8Array): number {
  return bytes[0] === undefined ? 0 : apply(lengthGetter, bytes, []);
}

/**
 * A method as a function that takes `this` as its first argument. V8 compiles its calls as it does those by `apply`, and their
 * bytecode is half as long; JavaScriptCore takes 3 ns more for them.
 */
function unbound(method: (this: never, ...args: never[]) => unknown): unknown {
  return Function.prototype.call.bind(method);
}

const nameOf = unbound(nameGetter) as (value: unknown) => string | undefined;
const lengthOf = unbound(lengthGetter) as (value: unknown) => number;

/** The length of a Uint8Array that has elements, read as {@link lengthOfBytes} does; 0 for every other value. */
export const filledLength: (value: unknown) => number =
  types === undefined
    ? (value) =>
        nameOf(value) === "Uint8Array" && (value as Uint8Array)[0] !== undefined ? lengthOf(value) : 0
    : (value) => (types.isUint8Array(value) ? lengthOfBytes(value) : 0);

/** Kept like the getters, so that a copy runs no code of the caller's, and engines need not look the method up. */
const setBytes = get(typedArrayPrototype, "set") as (bytes: Uint8Array, offset: number) => void;

/** Copies `bytes` into `view` from `offset` on. */
export const copyBytes: (view: Uint8Array, bytes: Uint8Array, offset: number) => void =
  types === undefined
    ? (unbound(setBytes) as (view: Uint8Array, bytes: Uint8Array, offset: number) => void)
    : (view, bytes, offset) => {
        apply(setBytes, view, [bytes, offset]);
      };

/** New zeroed bytes; undefined where there is no memory for so many. */
export function newBytes(length: number): Uint8Array | undefined {
  try {
    return new Bytes(length);
  } catch {
    return undefined;
  }
}

/** Copies `length` bytes of a view, from `start` on, into `copy`, which is as long. */
export function copyFrom(view: Uint8Array, start: number, copy: Uint8Array, length: number): void {
  const offset = apply(offsetGetter, view, []) + start;
  copyBytes(copy, new Bytes(apply(bufferGetter, view, []), offset, length), 0);
}

const fillElements = get(typedArrayPrototype, "fill") as (value: number) => void;

/** Fills part of a view with a 32-bit word, in the processor's byte order; `start` and `length` are multiples of 4 bytes. */
export function fillWords(view: Uint8Array, start: number, length: number, word: number): void {
  const words = new Words(apply(bufferGetter, view, []), apply(offsetGetter, view, []) + start, length >>> 2);
  apply(fillElements, words, [word]);
}

/** The first `length` bytes of a buffer; undefined where it has fewer. */
export function bytesOf(buffer: ArrayBufferLike, length: number): Uint8Array | undefined {
  try {
    return new Bytes(buffer, 0, length);
  } catch {
    return undefined;
  }
}

const arrayBufferLength = numberGetter(ArrayBuffer.prototype, "byteLength");
const sharedBufferLength = numberGetter(SharedArrayBuffer.prototype, "byteLength");
const dataViewLength = numberGetter(DataView.prototype, "byteLength");

/** Throws where a typed array has lost its memory; its result is not used. */
const iterate = get(typedArrayPrototype, "values") as (this: unknown) => unknown;

/** The kind of an argument that should be bytes. */
export type BytesKind = "bytes" | "lost" | "other";

/**
 * Whether `value` is a TypedArray, a DataView or an ArrayBuffer, and still has its memory. The memory is lost where the
 * buffer is detached, or was resized so that the view lies beyond its end. Runs no code of the caller's.
 */
export function kindOfBytes(value: unknown): BytesKind {
  if (isTypedArray(value)) {
    // The usual case: a typed array with elements has its memory.
    return typedArrayLength(value) > 0 || !throws(iterate, value) ? "bytes" : "lost";
  }
  if (ArrayBuffer.isView(value)) return throws(dataViewLength, value) ? "lost" : "bytes";
  if (throws(arrayBufferLength, value)) return "other";
  return isDetached(value as ArrayBuffer) ? "lost" : "bytes";
}

/** Whether a value really is a SharedArrayBuffer, not just an object that looks like one. */
export function isSharedBuffer(value: unknown): value is SharedArrayBuffer {
  return !throws(sharedBufferLength, value);
}

function throws(method: (this: unknown) => unknown, value: unknown): boolean {
  try {
    apply(method, value, []);
    return false;
  } catch {
    return true;
  }
}

function isDetached(buffer: ArrayBuffer): boolean {
  return bytesOf(buffer, 0) === undefined; // only of a detached buffer can no view be made
}
