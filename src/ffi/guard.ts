/**
 * Turns the errors of a foreign function interface into errors of this library. Each interface throws its own: koffi a
 * TypeError, Deno a NotCapable, and V8 with its sandbox refuses views of native memory. Nothing above `ffi/` knows these
 * errors.
 *
 * An error is taken to mean that the native call was not made: interfaces check and convert the arguments first.
 */
import { JitError } from "../base/errors.ts";
import { isStackOverflow } from "../base/stack.ts";
import { messageOf } from "./common.ts";
import type {
  Address,
  Ffi,
  NativeCallable,
  CallbackCode,
  NativeFunction,
  NativeLibrary,
  NativeSignature,
} from "./contract.ts";

/** An interface's own explanation of an error; undefined where the general one is used. */
export type Explain = (cause: unknown) => JitError | undefined;

/** The error that this library throws for `cause`. A used-up stack stays the engine's own error. */
function translated(asked: string, cause: unknown, explain?: Explain, syscall?: string): unknown {
  if (cause instanceof JitError || isStackOverflow(cause)) return cause;
  const explained = explain?.(cause);
  if (explained !== undefined) return explained;
  return new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot ${asked}: ${messageOf(cause)}`, { syscall, cause });
}

/**
 * The error of a call of machine code that could not be made.
 *
 * @param cause what the interface threw
 */
export function refusedCall(cause: unknown): unknown {
  return translated("call code: the foreign function interface refuses", cause);
}

/**
 * Opens an interface with `open` and wraps it, so that opening it and all later calls throw only JitErrors, and the
 * engine's RangeError where the stack is used up. Functions that {@link Ffi.callable} makes are not wrapped, because each
 * nanosecond counts there: their callers catch errors themselves ({@link refusedCall}).
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where the interface cannot be opened
 */
export function guarded(open: () => Ffi, explain?: Explain): Ffi {
  try {
    return new GuardedFfi(open(), explain);
  } catch (error) {
    throw translated("call native code", error, explain);
  }
}

class GuardedFfi implements Ffi {
  readonly name: string;
  readonly version: string;
  readonly reason: string;
  readonly makesCallbacksOutsideOnly?: true;
  readonly forget?: (start: Address, sizeBytes: number) => void;
  readonly #ffi: Ffi;
  readonly #explain: Explain | undefined;

  constructor(ffi: Ffi, explain: Explain | undefined) {
    this.#ffi = ffi;
    this.#explain = explain;
    this.name = ffi.name;
    this.version = ffi.version;
    this.reason = ffi.reason;
    if (ffi.makesCallbacksOutsideOnly) this.makesCallbacksOutsideOnly = true;
    if (ffi.forget !== undefined) this.forget = (start, sizeBytes) => ffi.forget?.(start, sizeBytes);
  }

  open(names: readonly string[]): NativeLibrary {
    return this.#try(`load ${names.join(" or ")} through ${this.name}`, () => {
      const library = this.#ffi.open(names);
      return { name: library.name, find: (symbol, signature) => this.#find(library, symbol, signature) };
    });
  }

  #find(library: NativeLibrary, symbol: string, signature: NativeSignature): NativeFunction | undefined {
    const found = this.#try(
      `look up ${symbol} through ${this.name}`,
      () => library.find(symbol, signature),
      symbol,
    );
    if (found === undefined) return undefined;
    return (...args) => {
      try {
        return found(...args);
      } catch (error) {
        throw translated(`call ${symbol} through ${this.name}`, error, this.#explain, symbol);
      }
    };
  }

  /**
   * The error number is read when a call has already failed. A failure to read it must not hide that one, so it is 0
   * then.
   */
  errno(): number {
    try {
      return this.#ffi.errno();
    } catch (error) {
      if (isStackOverflow(error)) throw error;
      return 0;
    }
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    return this.#try(`view native memory through ${this.name}`, () => this.#ffi.view(address, sizeBytes));
  }

  detach(buffer: ArrayBuffer): void {
    this.#ffi.detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    return this.#try(`ask for a buffer's address through ${this.name}`, () => this.#ffi.addressOf(buffer));
  }

  callable(address: Address, signature: NativeSignature, takingDoubles?: Address): NativeCallable {
    return this.#try(`make a function of code through ${this.name}`, () =>
      this.#ffi.callable(address, signature, takingDoubles),
    );
  }

  callback(call: NativeFunction, signature: NativeSignature): CallbackCode {
    return this.#try(`make a callback through ${this.name}`, () => this.#ffi.callback(call, signature));
  }

  #try<T>(asked: string, act: () => T, syscall?: string): T {
    try {
      return act();
    } catch (error) {
      throw translated(asked, error, this.#explain, syscall);
    }
  }
}
