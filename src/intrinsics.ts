/**
 * What views and buffers really are, read past whatever properties an object pretends to have. A getter of a
 * caller's own would run the caller's code between a check and what it was made for.
 */

const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** The getter of a built-in; throws a TypeError for a `this` of another kind. */
function numberGetter(prototype: object, name: string): (this: unknown) => number {
  return (Object.getOwnPropertyDescriptor(prototype, name) as { readonly get: (this: unknown) => number })
    .get;
}

const lengthGetter = numberGetter(typedArrayPrototype, "length");

/** The length of any typed array, in elements; 0 where its buffer is detached. A TypeError for anything else. */
export function typedArrayLength(value: unknown): number {
  return Reflect.apply(lengthGetter, value, []); // a third faster than call()
}

/** Kept like the getters: the copy itself runs no code of others, and engines need not look the method up. */
const setBytes = Reflect.get(typedArrayPrototype, "set") as (bytes: Uint8Array, offset: number) => void;

/** Copies `bytes` into `view` from `offset` on. */
export function copyBytes(view: Uint8Array, bytes: Uint8Array, offset: number): void {
  Reflect.apply(setBytes, view, [bytes, offset]);
}

const arrayBufferLength = numberGetter(ArrayBuffer.prototype, "byteLength");
const dataViewLength = numberGetter(DataView.prototype, "byteLength");

const { get: typedArrayName } = Object.getOwnPropertyDescriptor(typedArrayPrototype, Symbol.toStringTag) as {
  readonly get: (this: unknown) => string | undefined;
};
const { get: typedArrayBuffer } = Object.getOwnPropertyDescriptor(typedArrayPrototype, "buffer") as {
  readonly get: (this: unknown) => ArrayBufferLike;
};

/** What an argument that should be bytes is. */
export type BytesKind = "bytes" | "detached" | "other";

/** Whether `value` is a TypedArray, a DataView or an ArrayBuffer, and still has its memory. Runs no code of others. */
export function kindOfBytes(value: unknown): BytesKind {
  if (!ArrayBuffer.isView(value)) {
    try {
      if (arrayBufferLength.call(value) > 0) return "bytes";
    } catch {
      return "other";
    }
    return isDetached(value as ArrayBuffer) ? "detached" : "bytes";
  }
  if (typedArrayName.call(value) !== undefined) {
    if (typedArrayLength(value) > 0) return "bytes";
    return isDetached(typedArrayBuffer.call(value)) ? "detached" : "bytes";
  }
  try {
    dataViewLength.call(value);
    return "bytes";
  } catch {
    return "detached";
  }
}

function isDetached(buffer: ArrayBufferLike): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true; // only a detached buffer cannot be looked at
  }
}
