/**
 * The native-call contract on `bun:ffi`.
 *
 * Its peculiarities, each one measured:
 * - `ptr` results are null for 0 and a bigint for −1. So addresses as results are `i64_fast` (a number where that is
 *   exact). As parameters they are `ptr`, which takes numbers and every kind of view.
 * - A library can only be opened together with a symbol, and a missing symbol is an error too. Only the message tells a
 *   missing symbol from a missing library.
 * - The resources of a function are freed when it is collected; `close` frees them at once.
 * - Signatures cannot be variadic. Where variadic arguments are passed like others (x86-64, and AArch64 but for Apple's),
 *   variadic functions are called with an ordinary signature.
 */
import { JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type {
  Address,
  Ffi,
  NativeCallable,
  CallbackCode,
  NativeFunction,
  NativeLibrary,
  NativeSignature,
  NativeType,
} from "./contract.ts";
import { detach, findErrnoLocation, messageOf, noneFound } from "./common.ts";
import { requireModule } from "./require.ts";
import { converted, toNumber, type Conversions } from "./trampoline.ts";

interface BunSignature {
  readonly args: readonly string[];
  readonly returns: string;
}

/** The part of `bun:ffi` that this file uses. */
export interface BunFfiModule {
  dlopen(
    name: string,
    symbols: Readonly<Record<string, BunSignature>>,
  ): { readonly symbols: Readonly<Record<string, NativeFunction>> };
  CFunction(target: BunSignature & { readonly ptr: Address }): NativeFunction & { close(): void };
  readonly JSCallback: new (
    call: NativeFunction,
    signature: BunSignature,
  ) => { readonly ptr: Address | null; close(): void };
  ptr(buffer: ArrayBuffer): Address;
  toArrayBuffer(address: Address, offset: number, sizeBytes: number): ArrayBuffer;
  readonly read: { i32(address: Address, offset: number): number };
}

const BUN_TYPES: Readonly<Record<NativeType, string>> = {
  void: "void",
  i8: "i8",
  u8: "u8",
  i16: "i16",
  u16: "u16",
  i32: "i32",
  u32: "u32",
  i64: "i64",
  u64: "u64",
  f32: "f32",
  f64: "f64",
  pointer: "ptr",
  buffer: "ptr",
};

/** A name that no library has as a symbol. */
const NO_SYMBOL = "jit_allocator_no_such_symbol";

/**
 * Offers `bun:ffi` as an {@link Ffi}.
 *
 * @param load loads the module; tests pass their own.
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where the module cannot be loaded.
 */
export function openBun(load: () => BunFfiModule = requireBunFfi): Ffi {
  let bun: BunFfiModule;
  try {
    bun = load();
  } catch (cause) {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      `Cannot load bun:ffi, through which native code is called: ${messageOf(cause)}; use a build of Bun that has it`,
      { cause },
    );
  }
  return new BunFfi(bun);
}

/** Loads the module by `require`: synchronously, on demand, and unseen by runtimes that do not have it. */
function requireBunFfi(): BunFfiModule {
  return requireModule("bun:ffi") as BunFfiModule;
}

class BunFfi implements Ffi {
  readonly name = "bun:ffi";
  readonly version = platform.runtimeVersion;
  readonly reason = "it is part of Bun; machine code is called by its address, through CFunction";
  readonly #bun: BunFfiModule;
  readonly #errnoLocation: NativeFunction | undefined;

  constructor(bun: BunFfiModule) {
    this.#bun = bun;
    // Looked up now: a look-up after a failed call would overwrite the error number.
    this.#errnoLocation = findErrnoLocation(this);
  }

  open(names: readonly string[]): NativeLibrary {
    const failures: string[] = [];
    for (const name of names) {
      try {
        this.#bun.dlopen(name, { [NO_SYMBOL]: { args: [], returns: "void" } });
      } catch (error) {
        if (isMissingSymbol(error)) return new BunLibrary(name, this.#bun);
        failures.push(`${name} (${messageOf(error)})`);
      }
    }
    throw noneFound(failures);
  }

  errno(): number {
    const location = this.#errnoLocation?.();
    return typeof location === "number" ? this.#bun.read.i32(location, 0) : 0;
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    return this.#bun.toArrayBuffer(address, 0, sizeBytes);
  }

  detach(buffer: ArrayBuffer): void {
    detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    return this.#bun.ptr(buffer);
  }

  callable(address: Address, signature: NativeSignature): NativeCallable {
    const raw = this.#bun.CFunction({ ptr: address, ...bunSignature(signature) });
    const call = converted(raw, conversionsOf(signature));
    return { call, fast: call, close: () => raw.close() };
  }

  callback(call: NativeFunction, { parameters, result }: NativeSignature): CallbackCode {
    // An address is an `i64_fast` both ways: a `ptr` of 0 would come as null.
    const spell = (type: NativeType): string => (type === "pointer" ? "i64_fast" : BUN_TYPES[type]);
    const conversions = parameters.map((type) => (type === "pointer" ? toNumber : undefined));
    const made = new this.#bun.JSCallback(converted(call, { parameters: conversions, result: undefined }), {
      args: parameters.map(spell),
      returns: spell(result),
    });
    if (made.ptr === null) throw new Error("JSCallback gives no address");
    // The object keeps its machine code: the closure of `close` keeps the object.
    return { address: made.ptr, close: () => made.close() };
  }
}

class BunLibrary implements NativeLibrary {
  readonly name: string;
  readonly #bun: BunFfiModule;
  /** Keeps the libraries alive: a collected one may be unloaded while its functions are in use. */
  readonly #opened: object[] = [];

  constructor(name: string, bun: BunFfiModule) {
    this.name = name;
    this.#bun = bun;
  }

  find(symbol: string, signature: NativeSignature): NativeFunction | undefined {
    try {
      const library = this.#bun.dlopen(this.name, { [symbol]: bunSignature(signature) });
      this.#opened.push(library);
      const raw = library.symbols[symbol];
      return raw === undefined ? undefined : converted(raw, conversionsOf(signature));
    } catch (error) {
      if (isMissingSymbol(error)) return undefined;
      throw error;
    }
  }
}

function bunSignature({ parameters, result }: NativeSignature): BunSignature {
  return {
    args: parameters.map((type) => BUN_TYPES[type]),
    returns: result === "pointer" ? "i64_fast" : BUN_TYPES[result],
  };
}

function conversionsOf({ parameters, result }: NativeSignature): Conversions {
  return { parameters: parameters.map(() => undefined), result: result === "pointer" ? toNumber : undefined };
}

function isMissingSymbol(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith(`Symbol "`);
}
