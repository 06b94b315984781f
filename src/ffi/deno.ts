/**
 * The native-call contract on `Deno.dlopen`.
 *
 * Its peculiarities, each one measured:
 * - A call of a library's symbol takes 4 ns, a call by address a thousand. So functions that are called often get a
 *   library of their own, made in memory: `absolute-symbols.ts`. It can be closed at once, because its functions hold all
 *   they need, and the code they call is not part of it.
 * - Addresses are `usize` (`isize` as results, for −1) and are passed as bigints: passing an argument as a number takes
 *   twice as long as converting it to a bigint first.
 * - The call of a symbol is a fast API call of V8's, also with `callback: true`. If JavaScript that runs below it makes V8
 *   discard the compiled code of the caller, V8 ends the process ("Lazy deopt after a fast API call"). A call with one
 *   argument more is none: it takes 60 ns more, and may call back.
 * - Without permission it throws NotCapable; on a terminal it asks the user first. Permission for single libraries
 *   (`--allow-ffi=PATH`) is not enough for calls by address and for views.
 * - A narrow argument on the stack has garbage above it: see {@link WIDENED}.
 * - Signatures cannot be variadic. Where variadic arguments are passed like others (x86-64, and AArch64 but for Apple's),
 *   variadic functions are called with an ordinary signature.
 */
import { JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import { absoluteSymbols, expectedSymbols, knowsAbsoluteSymbols, symbolName } from "./absolute-symbols.ts";
import { detach, findErrnoLocation, messageOf, noneFound } from "./common.ts";
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
import { LinkQueue, type LinkedFunctions, type Linker, type LinkTarget } from "./link-queue.ts";
import { MemoryFiles } from "./memory-file.ts";
import { converted, ownTrampoline, slowTrampoline, toNumber, type Conversions } from "./trampoline.ts";

interface DenoSignature {
  readonly parameters: readonly string[];
  readonly result: string;
  /** Whether the code may call back into JavaScript. */
  readonly callback?: boolean;
}

/** Deno's opaque pointer object for an address. */
type DenoPointer = object | null;

/** The part of `Deno` that this file uses. */
export interface DenoFfiNamespace {
  dlopen(
    name: string,
    symbols: Readonly<Record<string, DenoSignature & { readonly optional?: boolean }>>,
  ): { readonly symbols: Readonly<Record<string, NativeFunction | null>>; close(): void };
  readonly UnsafePointer: {
    create(address: bigint): DenoPointer;
    of(buffer: ArrayBuffer): DenoPointer;
    value(pointer: DenoPointer): bigint | number;
  };
  readonly UnsafePointerView: (new (pointer: DenoPointer) => { getInt32(): number }) & {
    getArrayBuffer(pointer: DenoPointer, sizeBytes: number): ArrayBuffer;
  };
  readonly UnsafeFnPointer: new (
    pointer: DenoPointer,
    signature: DenoSignature,
  ) => { readonly call: NativeFunction };
  readonly UnsafeCallback: new (
    signature: DenoSignature,
    call: NativeFunction,
  ) => { readonly pointer: DenoPointer; close(): void };
}

const DENO_TYPES: Readonly<Record<NativeType, string>> = {
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
  pointer: "usize",
  buffer: "buffer",
};

/**
 * Types that are passed wider than declared. Deno leaves garbage above a narrow argument on the stack. Most C compilers
 * extend such an argument in the callee, but the ABIs let the caller extend it, and code made by clang relies on that.
 * Passed as a 32-bit integer the argument is extended. Apple's AArch64 packs arguments on the stack, so that a wider one
 * would be in another place.
 */
const WIDENED: Readonly<Partial<Record<NativeType, string>>> =
  platform.system === "darwin" && platform.processor === "arm64"
    ? {}
    : { i8: "i32", i16: "i32", u8: "u32", u16: "u32" };

/** The number of calls by address (1 µs each) that take as long as making a library (200 to 300 µs). */
const CALLS_WORTH_A_LIBRARY = 256;

/**
 * Offers `Deno.dlopen` as an {@link Ffi}.
 *
 * @param deno the namespace; tests pass their own.
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` without `--allow-ffi`.
 */
export function openDeno(deno: DenoFfiNamespace = denoNamespace()): Ffi {
  return new DenoFfi(deno);
}

function denoNamespace(): DenoFfiNamespace {
  return Reflect.get(globalThis, "Deno") as DenoFfiNamespace;
}

class DenoFfi implements Ffi {
  readonly name = "Deno.dlopen";
  readonly version = platform.runtimeVersion;
  readonly reason =
    "it is part of Deno; machine code is called by its address, and when it is called often, as a symbol of a library made in memory";
  readonly #deno: DenoFfiNamespace;
  readonly #errnoLocation: NativeFunction | undefined;
  /** Made when first needed; null where functions cannot be linked. */
  #queue: LinkQueue | null | undefined;

  constructor(deno: DenoFfiNamespace) {
    this.#deno = deno;
    // Looked up now: a look-up after a failed call would overwrite the error number.
    this.#errnoLocation = findErrnoLocation(this);
  }

  open(names: readonly string[]): NativeLibrary {
    const failures: string[] = [];
    for (const name of names) {
      try {
        this.#deno.dlopen(name, {});
        return new DenoLibrary(name, this.#deno);
      } catch (error) {
        const refusal = explainDeno(error);
        if (refusal !== undefined) throw refusal;
        failures.push(`${name} (${messageOf(error)})`);
      }
    }
    throw noneFound(failures);
  }

  errno(): number {
    const location = this.#errnoLocation?.();
    if (typeof location !== "number") return 0;
    return new this.#deno.UnsafePointerView(this.#pointer(location)).getInt32();
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    return this.#deno.UnsafePointerView.getArrayBuffer(this.#pointer(address), sizeBytes);
  }

  detach(buffer: ArrayBuffer): void {
    detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    const { UnsafePointer } = this.#deno;
    return Number(UnsafePointer.value(UnsafePointer.of(buffer)));
  }

  callable(address: Address, signature: NativeSignature): NativeCallable {
    const code = new this.#deno.UnsafeFnPointer(this.#pointer(address), denoSignature(signature));
    const { parameters, result } = conversionsOf(signature);
    const slow = converted((...args) => code.call(...args), {
      parameters,
      result: signature.result === "void" ? toUndefined : result,
    });
    if (this.#queue === undefined) {
      const isLinkable = knowsAbsoluteSymbols(this);
      this.#queue = isLinkable ? new LinkQueue(new DenoLinker(this.#deno, new MemoryFiles(this))) : null;
    }
    return (
      this.#queue?.callable(slow, { address, signature }) ?? { call: slow, fast: slow, close: nothingToClose }
    );
  }

  callback(call: NativeFunction, signature: NativeSignature): CallbackCode {
    const { parameters, result } = signature;
    const made = new this.#deno.UnsafeCallback(
      {
        // As gcc and clang pass them: what is above a narrow argument is not looked at.
        parameters: parameters.map((type) => DENO_TYPES[type]),
        result: DENO_TYPES[result],
      },
      converted(call, {
        parameters: parameters.map((type) => (type === "pointer" ? toNumber : undefined)),
        result: result === "pointer" ? addressToBigInt : undefined,
      }),
    );
    return { address: Number(this.#deno.UnsafePointer.value(made.pointer)), close: () => made.close() };
  }

  #pointer(address: Address): DenoPointer {
    return this.#deno.UnsafePointer.create(BigInt(address));
  }
}

class DenoLibrary implements NativeLibrary {
  readonly name: string;
  readonly #deno: DenoFfiNamespace;

  constructor(name: string, deno: DenoFfiNamespace) {
    this.name = name;
    this.#deno = deno;
  }

  /** The library stays open: libraries of the system are never unloaded. */
  find(symbol: string, signature: NativeSignature): NativeFunction | undefined {
    const { symbols } = this.#deno.dlopen(this.name, {
      [symbol]: { ...denoSignature(signature), optional: true },
    });
    const raw = symbols[symbol];
    return raw === null || raw === undefined ? undefined : converted(raw, conversionsOf(signature));
  }
}

class DenoLinker implements Linker {
  readonly worthCalls = CALLS_WORTH_A_LIBRARY;
  readonly makesReentrant = true;
  readonly #deno: DenoFfiNamespace;
  readonly #files: MemoryFiles;

  constructor(deno: DenoFfiNamespace, files: MemoryFiles) {
    this.#deno = deno;
    this.#files = files;
  }

  link(targets: readonly LinkTarget[]): readonly LinkedFunctions[] | undefined {
    const image = absoluteSymbols(
      targets.map(({ address }) => address),
      platform.processor,
    );
    if (image === undefined) return undefined;
    try {
      return this.#files.use(image, (path) => {
        const reentrant = this.#load(path, targets, true);
        return this.#load(path, targets, false).map((fast, index) => ({
          fast,
          reentrant: reentrant[index] ?? fast,
        }));
      });
    } catch {
      // No /proc, or no room: the functions are called by address as before.
      return undefined;
    }
  }

  /** The functions of the library at `path`. @throws Error where it is another library, or lacks one */
  #load(path: string, targets: readonly LinkTarget[], callback: boolean): readonly NativeFunction[] {
    const library = this.#deno.dlopen(
      path,
      Object.fromEntries(
        targets.map(({ signature }, index) => [
          symbolName(index),
          { ...denoSignature(signature), ...(callback ? { callback } : {}) },
        ]),
      ),
    );
    try {
      if (!this.#files.leadsTo(path, expectedSymbols(targets))) throw new Error("it is another library");
      return targets.map(({ signature }, index) => {
        const raw = library.symbols[symbolName(index)];
        if (raw === null || raw === undefined) throw new Error("a symbol is missing");
        return (callback ? slowTrampoline : ownTrampoline)(raw, conversionsOf(signature));
      });
    } finally {
      library.close();
    }
  }
}

function denoSignature({ parameters, result }: NativeSignature): DenoSignature {
  return {
    parameters: parameters.map((type) => WIDENED[type] ?? DENO_TYPES[type]),
    result: result === "pointer" ? "isize" : DENO_TYPES[result],
  };
}

function conversionsOf({ parameters, result }: NativeSignature): Conversions {
  return {
    parameters: parameters.map((type) => (type === "pointer" ? addressToBigInt : undefined)),
    result: result === "pointer" ? toNumber : undefined,
  };
}

/** Converts an address or a size: libc's `size_t` and `off_t` are passed as addresses, and −1 as 64 set bits. */
function addressToBigInt(value: unknown): bigint {
  return BigInt.asUintN(64, BigInt(value as number));
}

/** The resources of a call by address are freed when the function is collected. */
function nothingToClose(): void {
  // Nothing is held.
}

/** A call by address returns null for `void`. */
function toUndefined(): undefined {
  return undefined;
}

/** The error for a missing permission, from whichever call meets it first; undefined for any other error. */
export function explainDeno(cause: unknown): JitError | undefined {
  const isRefusal =
    cause instanceof Error && (cause.name === "NotCapable" || cause.name === "PermissionDenied");
  if (!isRefusal) return undefined;
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot call native code: ${messageOf(cause)}; start Deno with --allow-ffi (without a path: views of memory and calls by address need it whole)`,
    { cause },
  );
}
