/**
 * Errors of a foreign function interface, made errors of this library. An interface throws what it likes: koffi a TypeError,
 * Deno a NotCapable, and V8 with its sandbox refuses views of native memory. Nothing above `ffi/` knows these.
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
  NativeFunction,
  NativeLibrary,
  NativeSignature,
} from "./contract.ts";

/** The error that an interface has a better one for than the general one; undefined where it has none. */
export type Explain = (cause: unknown) => JitError | undefined;

/** What has been caught, as this library throws it. A used-up stack stays the engine's own error. */
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
 * The interface that `open` makes, which throws nothing but JitErrors, here and later, and the engine's RangeError where the
 * stack is used up. The calls of what {@link Ffi.callable} makes are as the interface has them, because each nanosecond
 * counts there: whoever calls catches ({@link refusedCall}).
 *
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where it cannot be opened
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
  readonly forget?: (start: Address, sizeBytes: number) => void;
  readonly #ffi: Ffi;
  readonly #explain: Explain | undefined;

  constructor(ffi: Ffi, explain: Explain | undefined) {
    this.#ffi = ffi;
    this.#explain = explain;
    this.name = ffi.name;
    this.version = ffi.version;
    this.reason = ffi.reason;
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

  /** Read when something has failed already, which is what is to be told: 0 where it cannot be read. */
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

  callable(address: Address, signature: NativeSignature): NativeCallable {
    return this.#try(`make a function of code through ${this.name}`, () =>
      this.#ffi.callable(address, signature),
    );
  }

  #try<T>(asked: string, act: () => T, syscall?: string): T {
    try {
      return act();
    } catch (error) {
      throw translated(asked, error, this.#explain, syscall);
    }
  }
}
