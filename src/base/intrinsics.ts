/**
 * What views and buffers really are, read past whatever properties an object pretends to have. A getter, a method or a
 * trap of a caller's own would run the caller's code between a check and what it was made for.
 */

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

/** Whether a value is a Uint8Array, or of a class derived from it, as Buffer is. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return apply(nameGetter, value, []) === "Uint8Array";
}

/** Whether a value is a typed array of any kind. */
export function isTypedArray(value: unknown): boolean {
  return apply(nameGetter, value, []) !== undefined;
}

/** The length of any typed array, in elements; 0 where it has lost its memory. A TypeError for anything else. */
export function typedArrayLength(value: unknown): number {
  return apply(lengthGetter, value, []); // a third faster than call()
}

/** Kept like the getters: the copy itself runs no code of others, and engines need not look the method up. */
const setBytes = get(typedArrayPrototype, "set") as (bytes: Uint8Array, offset: number) => void;

/** Copies `bytes` into `view` from `offset` on. */
export function copyBytes(view: Uint8Array, bytes: Uint8Array, offset: number): void {
  apply(setBytes, view, [bytes, offset]);
}

/** New bytes, zero; undefined where there is no memory for so many. */
export function newBytes(length: number): Uint8Array | undefined {
  try {
    return new Bytes(length);
  } catch {
    return undefined;
  }
}

/** Fills `copy`, of `length` bytes, with those of a view from `start` on. */
export function copyFrom(view: Uint8Array, start: number, copy: Uint8Array, length: number): void {
  const offset = apply(offsetGetter, view, []) + start;
  copyBytes(copy, new Bytes(apply(bufferGetter, view, []), offset, length), 0);
}

const fillElements = get(typedArrayPrototype, "fill") as (value: number) => void;

/** Repeats a 32-bit word in a view, in the processor's order of bytes; `start` and `length` are multiples of 4. */
export function fillWords(view: Uint8Array, start: number, length: number, word: number): void {
  const words = new Words(apply(bufferGetter, view, []), apply(offsetGetter, view, []) + start, length >>> 2);
  apply(fillElements, words, [word]);
}

/** The first bytes of a buffer; undefined where it has not as many. */
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

/** Throws where a typed array has lost its memory; what it returns is dropped. */
const iterate = get(typedArrayPrototype, "values") as (this: unknown) => unknown;

/** What an argument that should be bytes is. */
export type BytesKind = "bytes" | "lost" | "other";

/**
 * Whether `value` is a TypedArray, a DataView or an ArrayBuffer, and still has its memory: it is lost where the buffer is
 * detached, or was resized so that the view lies behind its end. Runs no code of others.
 */
export function kindOfBytes(value: unknown): BytesKind {
  if (isTypedArray(value)) {
    // Nearly always: what has elements has memory.
    return typedArrayLength(value) > 0 || !throws(iterate, value) ? "bytes" : "lost";
  }
  if (ArrayBuffer.isView(value)) return throws(dataViewLength, value) ? "lost" : "bytes";
  if (throws(arrayBufferLength, value)) return "other";
  return isDetached(value as ArrayBuffer) ? "lost" : "bytes";
}

/** Whether a value is a SharedArrayBuffer: not just looks like one. */
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
  return bytesOf(buffer, 0) === undefined; // no other cannot be looked at
}
