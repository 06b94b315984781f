/**
 * The native-call contract: what a runtime's foreign function interface must offer.
 * One file beside this one implements it per runtime; nothing above `ffi/` knows which is in use.
 */

/** A machine address: an integer below 2**53. Never a bigint in the public API. */
export type Address = number;

/**
 * The types of a native signature.
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

/** The types of a native function's parameters and result. */
export interface NativeSignature {
  readonly parameters: readonly NativeType[];
  readonly result: NativeType;
  /** The number of leading parameters that are named, where the function is variadic in C (`open`, `fcntl`). */
  readonly fixedParameters?: number;
}

/** A native function, callable. Arguments are converted as the table of {@link NativeType} says. */
export type NativeFunction = (...args: readonly unknown[]) => unknown;

/** A loaded shared library. */
export interface NativeLibrary {
  /** The name under which the library was found. */
  readonly name: string;
  /** The function of that name, or undefined where the library has none. */
  find(symbol: string, signature: NativeSignature): NativeFunction | undefined;
}

/** A function made from an address, and the call that gives its resources back. */
export interface NativeCallable {
  /** Calls the code. Works from the start, and always. */
  readonly call: NativeFunction;
  /**
   * The fastest way to call the code, once there is one: an interface may make it only when the function has been called
   * often. Read the property before each call; once present it never changes. Until then it is absent, not undefined:
   * engines treat a property that was written once as a constant.
   */
  readonly fast?: NativeFunction;
  /**
   * Present where neither `call` nor `fast` may run code that calls back into JavaScript: calls such code. Read the
   * property before each call.
   */
  readonly reentrant?: NativeFunction;
  close(): void;
}

/** Machine code that calls a function of JavaScript, and the call that gives its resources back. */
export interface CallbackCode {
  /** Where the machine code begins. */
  readonly address: Address;
  /** Precondition: the machine code is not called any more. */
  close(): void;
}

/**
 * A runtime's foreign function interface. A bare one may throw anything. One wrapped by {@link guarded} (guard.ts) throws
 * only JitErrors, except from the functions that {@link callable} makes.
 */
export interface Ffi {
  /** `koffi`, `koffi and node:ffi`, `bun:ffi` or `Deno.dlopen`. */
  readonly name: string;
  /** The version of the library, or of the runtime it is part of. */
  readonly version: string;
  /** One line for `doctor`: why this interface was chosen, and how it calls machine code. */
  readonly reason: string;

  /** Loads the first of `names` that the system finds; throws a JitError that lists them all otherwise. */
  open(names: readonly string[]): NativeLibrary;

  /**
   * The error number (C's errno) that the calling thread's last native call left. Read it before anything else runs. 0
   * where it cannot be read. Windows' own functions leave their error elsewhere. `GetLastError` is found and called like
   * any other function, so an implementation must do nothing between two native calls that changes its answer.
   */
  errno(): number;

  /**
   * The memory at `address` as an ArrayBuffer, aliased, not copied. Throws where the runtime refuses such buffers: V8
   * with its sandbox, as in Electron, allows no buffer whose memory lies outside of the sandbox. Precondition: mapped,
   * `address !== 0`, `0 < sizeBytes < 2 GiB`. Touching it after the unmapping kills the process.
   */
  view(address: Address, sizeBytes: number): ArrayBuffer;

  /** Detaches a buffer made by {@link view} from its memory where the runtime can; else does nothing. Never throws. */
  detach(buffer: ArrayBuffer): void;

  /**
   * The address of a buffer of the runtime's own, which stays where it is as long as it is reachable. Precondition: it has
   * memory, and is not detached later.
   */
  addressOf(buffer: ArrayBuffer): Address;

  /**
   * Makes a function that calls the code at `address`. At `takingDoubles`, where that is given, the same code takes each of
   * its integers as a double, for interfaces that call functions of doubles faster. Precondition: the signature has been
   * checked.
   */
  callable(address: Address, signature: NativeSignature, takingDoubles?: Address): NativeCallable;

  /** Present where {@link callback} must not be called while a callback of this thread is running. */
  readonly makesCallbacksOutsideOnly?: true;

  /**
   * Makes machine code that calls `call`, in this thread only. Arguments and result are converted as the table of
   * {@link NativeType} says. Precondition: the signature has been checked and has no `buffer`; `call` returns a value of
   * the result's type, and throws nothing but the engine's RangeError where the stack is used up.
   */
  callback(call: NativeFunction, signature: NativeSignature): CallbackCode;

  /**
   * Called when memory is unmapped: gives back the resources of calls of code there. Such a call must never be made
   * again. Absent where an interface keeps no such resources. Never throws.
   */
  forget?(start: Address, sizeBytes: number): void;
}
