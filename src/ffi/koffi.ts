/**
 * The native-call contract on koffi, for Node.
 *
 * The peculiarities of koffi, each one measured:
 * - Addresses are declared `intptr_t`, because that type comes back as a number (MAP_FAILED as −1);
 *   `void *` comes back as a bigint, and `uintptr_t` as either, by size.
 * - `int64_t` and `uint64_t` come back as a number where it is exact and as a bigint otherwise.
 * - Integers out of range wrap silently. The caller must check arguments.
 * - A function made from an address crashes in a thread that has never loaded a library, so a library is loaded first.
 * - Named prototypes are global and collide. So prototypes here are anonymous, and cached by the text of the signature.
 * - A process has at most 8,192 callbacks at a time, of all threads together. A callback gets a `uint64_t` of 2⁶³ or more
 *   as a negative number.
 * - It runs native code on a stack of its own, and tells by the stack pointer whether a callback is called from there. A
 *   callback that was made while another one was running is given the wrong bounds (koffi 3.3.4): called from further out,
 *   it runs JavaScript on the wrong stack, which ends the process or finds the stack used up.
 */
import { JitError } from "../base/errors.ts";
import { platform, type SystemName } from "../base/platform.ts";
import { detach, messageOf, noneFound } from "./common.ts";
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
import { requireKoffi, type KoffiLibrary, type KoffiModule, type KoffiType } from "./koffi-module.ts";
import { isBundled, isFound, placesToLook } from "./require.ts";
import { dropping, withSpareParameter } from "./spare-parameter.ts";
import { converted, toBigInt, toNumber, type Conversions } from "./trampoline.ts";

/**
 * koffi's spelling of each type of the contract. `buffer` is `void *`: koffi takes the address of a TypedArray or
 * DataView (its byteOffset included, also over a SharedArrayBuffer) or of an ArrayBuffer, without copying.
 */
const KOFFI_TYPES: Readonly<Record<NativeType, string>> = {
  void: "void",
  i8: "int8_t",
  u8: "uint8_t",
  i16: "int16_t",
  u16: "uint16_t",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
  f32: "float",
  f64: "double",
  pointer: "intptr_t",
  buffer: "void *",
};

/**
 * Loads koffi and offers it as an {@link Ffi}.
 *
 * @param load loads koffi; tests pass their own.
 * @param home where this package is: still where it was loaded from, gone from there, or part of a bundle.
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where koffi is not installed, or its binary does not load.
 */
export function openKoffi(load = (): KoffiModule => requireKoffi(), home: () => Home = homeOfPackage): Ffi {
  try {
    return new KoffiFfi(load());
  } catch (cause) {
    throw loadFailure(cause, home());
  }
}

/** Where this package is, when koffi is not found. */
export type Home = "there" | "gone" | "in a bundle";

/** Whether this package can still be found from this file, as it could when this file was loaded. */
function homeOfPackage(): Home {
  return isBundled() ? "in a bundle" : isFound("jit-allocator/package.json") ? "there" : "gone";
}

/** How koffi's packages call the systems. */
const KOFFI_SYSTEMS: Readonly<Record<SystemName, string>> = {
  linux: "linux",
  darwin: "darwin",
  windows: "win32",
  other: "SYSTEM",
};

/** The package that has koffi's binary for this machine. */
function binaryPackage(): string {
  const processor = platform.processor === "other" ? "PROCESSOR" : platform.processor;
  return `@koromix/koffi-${KOFFI_SYSTEMS[platform.system]}-${processor}`;
}

function loadFailure(cause: unknown, home: Home): JitError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const reason =
    cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "").replace(/\.$/, "") : String(cause);
  // A binary that was found but does not load names its own place in the message.
  const place =
    typeof code === "string" && code.startsWith("ERR_DLOPEN")
      ? ""
      : ` (looked for from ${placesToLook().join(", ")})`;
  const wayOut =
    code === "ERR_DLOPEN_DISABLED"
      ? "native addons are switched off in this process; start Node with --allow-addons beside --permission, and without --no-addons"
      : home === "in a bundle" && place !== ""
        ? "this library is part of a bundle, and koffi's binary cannot be: put these two folders of the project that was bundled beside " +
          `the bundle, as node_modules/koffi and node_modules/${binaryPackage()}`
        : home === "gone"
          ? "this package itself is not found there any more: the process has changed its root (chroot) or may not read the folder, or " +
            "the folder was moved or removed; call preload() before that happens"
          : code === "MODULE_NOT_FOUND"
            ? "it is a dependency of this package with one optional package per system; install again without --omit=optional"
            : "its binary must match this system, processor and runtime; install again on this machine";
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot load koffi, through which native code is called: ${reason}${place}; ${wayOut}`,
    { cause },
  );
}

class KoffiFfi implements Ffi {
  readonly name = "koffi";
  readonly reason = "this runtime has no foreign function interface of its own that can be relied on";
  readonly version: string;
  readonly makesCallbacksOutsideOnly = true;
  readonly #koffi: KoffiModule;
  /** Prototypes by the text of the signature: making one takes 8 µs, and koffi keeps it for good. */
  readonly #prototypes = new Map<string, KoffiType>();
  #hasLoadedLibrary = false;
  #isMisreading: boolean | undefined;

  constructor(koffi: KoffiModule) {
    this.#koffi = koffi;
    this.version = koffi.version;
  }

  open(names: readonly string[]): NativeLibrary {
    const failures: string[] = [];
    for (const name of names) {
      try {
        const library = this.#koffi.load(name);
        this.#hasLoadedLibrary = true;
        return new KoffiNativeLibrary(name, library);
      } catch (error) {
        failures.push(`${name} (${messageOf(error)})`);
      }
    }
    throw noneFound(failures);
  }

  errno(): number {
    return this.#koffi.errno();
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    return this.#koffi.view(address, sizeBytes);
  }

  detach(buffer: ArrayBuffer): void {
    detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    return Number(this.#koffi.address(buffer));
  }

  callable(address: Address, signature: NativeSignature): NativeCallable {
    if (!this.#hasLoadedLibrary) {
      this.#koffi.load(null);
      this.#hasLoadedLibrary = true;
    }
    const raw = this.#koffi.decode(address, this.#prototype(signature));
    const call = converted(raw, conversionsOf(signature));
    return { call, fast: call, close: nothingToClose };
  }

  callback(call: NativeFunction, signature: NativeSignature): CallbackCode {
    if (platform.processor !== "arm64" || !this.#misreadsStack()) return this.#register(call, signature);
    const { parameters, index } = withSpareParameter(signature.parameters);
    return this.#register(index === undefined ? call : dropping(index, call), { ...signature, parameters });
  }

  /** Whether callbacks read their arguments on the stack wrongly: spare-parameter.ts. */
  #misreadsStack(): boolean {
    if (this.#isMisreading === undefined) {
      const parameters = Array.from({ length: 9 }, (): NativeType => "i32");
      const probe = { parameters, result: "i32" } as const;
      const code = this.#register((...args) => args[8], probe);
      try {
        this.#isMisreading = this.callable(code.address, probe).call(0, 0, 0, 0, 0, 0, 0, 0, 42) !== 42;
      } finally {
        code.close();
      }
    }
    return this.#isMisreading;
  }

  #register(call: NativeFunction, signature: NativeSignature): CallbackCode {
    const prototype = this.#prototype(signature);
    let callback: bigint;
    try {
      callback = this.#koffi.register(
        converted(call, callbackConversionsOf(signature)),
        this.#koffi.pointer(prototype),
      );
    } catch (cause) {
      // Only this message says that there are too many.
      if (!(cause instanceof Error && cause.message.startsWith("Too many callbacks"))) throw cause;
      throw new JitError(
        "ERR_TOO_MANY_HANDLES",
        `Cannot make a callback: ${cause.message}; this process has as many as koffi can make, in all threads together; release some`,
        { cause },
      );
    }
    return { address: Number(callback), close: () => this.#koffi.unregister(callback) };
  }

  #prototype(signature: NativeSignature): KoffiType {
    const result = KOFFI_TYPES[signature.result];
    const parameters = signature.parameters.map((type) => KOFFI_TYPES[type]);
    const text = `${result}(${parameters.join()})`;
    let prototype = this.#prototypes.get(text);
    if (prototype === undefined) {
      prototype = this.#koffi.proto(result, parameters);
      this.#prototypes.set(text, prototype);
    }
    return prototype;
  }
}

class KoffiNativeLibrary implements NativeLibrary {
  readonly name: string;
  readonly #library: KoffiLibrary;

  constructor(name: string, library: KoffiLibrary) {
    this.name = name;
    this.#library = library;
  }

  find(symbol: string, signature: NativeSignature): NativeFunction | undefined {
    const result = KOFFI_TYPES[signature.result];
    const parameters = signature.parameters.map((type) => KOFFI_TYPES[type]);
    const { fixedParameters } = signature;
    try {
      const raw =
        fixedParameters === undefined
          ? this.#library.func(symbol, result, parameters)
          : variadic(
              this.#library.func(symbol, result, [...parameters.slice(0, fixedParameters), "..."]),
              parameters,
              fixedParameters,
            );
      return converted(raw, conversionsOf(signature));
    } catch (error) {
      // Only this message says that the library lacks the function.
      if (error instanceof Error && error.message.startsWith("Cannot find function")) return undefined;
      throw error;
    }
  }
}

/** Wraps a variadic function: koffi wants the type before each argument that the declaration does not name. */
function variadic(raw: NativeFunction, types: readonly string[], fixedParameters: number): NativeFunction {
  return (...args) =>
    raw(...args.flatMap((value, index) => (index < fixedParameters ? [value] : [types[index], value])));
}

/** The conversions of a signature. koffi returns a 64-bit result as a number or a bigint, by its size. */
function conversionsOf({ parameters, result }: NativeSignature): Conversions {
  return {
    parameters: parameters.map(() => undefined),
    result: result === "pointer" ? toNumber : result === "i64" || result === "u64" ? toBigInt : undefined,
  };
}

/** The conversions of a callback's signature, the other way round. */
function callbackConversionsOf({ parameters }: NativeSignature): Conversions {
  return {
    parameters: parameters.map((type) =>
      type === "pointer" ? toNumber : type === "i64" ? toBigInt : type === "u64" ? toUnsigned : undefined,
    ),
    result: undefined,
  };
}

function toUnsigned(value: unknown): bigint {
  return BigInt.asUintN(64, toBigInt(value));
}

/** koffi frees the resources of a function when the function is collected. */
function nothingToClose(): void {
  // Nothing is held.
}
