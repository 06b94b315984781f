/**
 * The native-call contract: what a runtime's foreign function interface must offer.
 * One file beside this one implements it per runtime; nothing above `ffi/` knows which is in use.
 */

/** A machine address: an integer below 2**53. Never a bigint in the public API. */
export type Address = number;

/**
 * The types a native signature is written in.
 *
 * | type | in JavaScript |
 * |---|---|
 * | `void` | undefined (results only) |
 * | `i8 u8 i16 u16 i32 u32 f32 f64` | number |
 * | `i64 u64` | bigint |
 * | `pointer` | Address (number) |
 * | `buffer` | a TypedArray, DataView or ArrayBuffer; parameters only: its address while the call lasts |
 */
export type NativeType =
  "void" | "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64" | "u64" | "f32" | "f64" | "pointer" | "buffer";

/** What a native function takes and gives. */
export interface NativeSignature {
  readonly parameters: readonly NativeType[];
  readonly result: NativeType;
  /** How many leading parameters are named, where the function is variadic in C (`open`, `fcntl`). */
  readonly fixedParameters?: number;
}

/** A native function, callable. Arguments are converted as the table of {@link NativeType} says. */
export type NativeFunction = (...args: readonly unknown[]) => unknown;

/** A loaded shared library. */
export interface NativeLibrary {
  /** The name it was found under. */
  readonly name: string;
  /** The function of that name, or undefined where the library has none. */
  find(symbol: string, signature: NativeSignature): NativeFunction | undefined;
}

/** A function made from an address, and the means to give its resources back. */
export interface NativeCallable {
  /** Calls the code, from the first call to the last. */
  readonly call: NativeFunction;
  /**
   * The fastest way to call the code, as soon as there is one: an interface may need to see that a function is called
   * often before it makes one. Read it before each call; once there it stays. Until then there is no such property,
   * rather than one that is undefined: compilers take a property that was written once for a constant.
   */
  readonly fast?: NativeFunction;
  close(): void;
}

/**
 * A runtime's foreign function interface. What {@link guarded} (guard.ts) makes of one throws JitErrors alone, but for the
 * calls of what {@link callable} makes; one by itself may throw anything.
 */
export interface Ffi {
  /** `koffi`, `koffi and node:ffi`, `bun:ffi` or `Deno.dlopen`. */
  readonly name: string;
  /** The version of the library, or of the runtime it is part of. */
  readonly version: string;
  /** One line: why this one, and how it calls machine code; what `doctor` prints. */
  readonly reason: string;

  /** Loads the first of `names` that the system finds; throws a JitError that lists them all otherwise. */
  open(names: readonly string[]): NativeLibrary;

  /**
   * The error number (C's errno) the calling thread's last native call left. Read it before anything else runs.
   * 0 where it cannot be read. Windows' own functions leave theirs elsewhere: `GetLastError` is found and called like any other function, so an
   * implementation must not let what it does itself between two native calls change its answer.
   */
  errno(): number;

  /**
   * The memory at `address` as an ArrayBuffer, aliased, not copied. Throws where the runtime refuses such buffers: V8 with its
   * sandbox, as in Electron, has none whose memory lies outside of the sandbox.
   * Precondition: mapped, `address !== 0`, `0 < sizeBytes < 2 GiB`. Touching it after the unmapping kills the process.
   */
  view(address: Address, sizeBytes: number): ArrayBuffer;

  /** Cuts a buffer made by {@link view} off its memory where the runtime can; else does nothing. Never throws. */
  detach(buffer: ArrayBuffer): void;

  /** A function that calls the code at `address`. Precondition: the signature has been checked. */
  callable(address: Address, signature: NativeSignature): NativeCallable;

  /**
   * Memory is unmapped: gives back what calls of code there have needed. Such a call must never be made again. Not there
   * where an interface needs nothing. Never throws.
   */
  forget?(start: Address, sizeBytes: number): void;
}
