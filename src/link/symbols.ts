/**
 * The addresses of functions and data in shared libraries: dlsym, or GetProcAddress. Libraries are never unloaded, so an
 * address stays right.
 */
import { JitError, describe } from "../base/errors.ts";
import type { SystemName } from "../base/platform.ts";
import { cString } from "../ffi/c-string.ts";
import { findInAny } from "../ffi/common.ts";
import type { Address, Ffi, NativeFunction, NativeSignature } from "../ffi/contract.ts";
import { LINUX_LIBC_NAMES, LINUX_LOADER_NAMES } from "../ffi/libc-names.ts";
import { stringAt, type ByteReader } from "./c-memory.ts";

/** Finds the addresses of symbols in one thread. */
export interface SymbolFinder {
  /**
   * The address of a symbol of a library; without one, of the program and what it was loaded with.
   * @throws JitError `ERR_UNKNOWN_SYMBOL`
   */
  find(name: string, library: string | undefined): Address;
}

/** dlopen: bind functions when they are first called. The symbols are not offered to libraries loaded later. */
const RTLD_LAZY = 1;

/** The libraries that have `dlopen`, `dlsym` and `dlerror`. */
const LOADERS: Readonly<Record<Exclude<SystemName, "windows">, readonly string[]>> = {
  linux: LINUX_LOADER_NAMES,
  darwin: ["libSystem.B.dylib"],
  other: LINUX_LIBC_NAMES,
};

const KERNEL32 = ["kernel32.dll"] as const;
/** Without a library, Windows looks in no list of its own: these, after the program, are what a C program is linked with. */
const WINDOWS_LIBRARIES = ["ucrtbase.dll", "kernel32.dll"] as const;

/** @throws JitError `ERR_FEATURE_NOT_ENABLED` where the system's loader cannot be called */
export function openSymbols(ffi: Pick<Ffi, "open">, memory: ByteReader, system: SystemName): SymbolFinder {
  return system === "windows" ? new WindowsSymbols(ffi) : new LoaderSymbols(ffi, LOADERS[system], memory);
}

/** A function of the first of `libraries` that has it. */
function need(
  ffi: Pick<Ffi, "open">,
  libraries: readonly string[],
  symbol: string,
  parameters: NativeSignature["parameters"],
  result: NativeSignature["result"] = "pointer",
): NativeFunction {
  const found = findInAny(ffi, libraries, symbol, { parameters, result });
  if (found !== undefined) return found;
  throw new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot look up symbols: none of ${libraries.join(", ")} can be loaded and has ${symbol}`,
  );
}

/** On systems with dlsym. */
class LoaderSymbols implements SymbolFinder {
  readonly #dlopen: NativeFunction;
  readonly #dlopenProgram: NativeFunction;
  readonly #dlsym: NativeFunction;
  readonly #dlerror: NativeFunction;
  readonly #memory: ByteReader;
  /** The handles of the libraries by their names; undefined = the program. */
  readonly #handles = new Map<string | undefined, Address>();

  constructor(ffi: Pick<Ffi, "open">, loaders: readonly string[], memory: ByteReader) {
    this.#dlopen = need(ffi, loaders, "dlopen", ["buffer", "i32"]);
    this.#dlopenProgram = need(ffi, loaders, "dlopen", ["pointer", "i32"]);
    this.#dlsym = need(ffi, loaders, "dlsym", ["pointer", "buffer"]);
    this.#dlerror = need(ffi, loaders, "dlerror", []);
    this.#memory = memory;
  }

  find(name: string, library: string | undefined): Address {
    const handle = this.#handles.get(library) ?? this.#open(name, library);
    const address = Number(this.#dlsym(handle, cString(name)));
    if (address === 0) throw refuseSymbol(name, library, this.#lastError(), "dlsym");
    return address;
  }

  #open(name: string, library: string | undefined): Address {
    const handle = Number(
      library === undefined ? this.#dlopenProgram(0, RTLD_LAZY) : this.#dlopen(cString(library), RTLD_LAZY),
    );
    if (handle === 0) throw refuseLibrary(name, library, this.#lastError(), "dlopen");
    this.#handles.set(library, handle);
    return handle;
  }

  /** What the loader says of its last failure. */
  #lastError(): string {
    const message = Number(this.#dlerror());
    return message === 0 ? "the loader gives no reason" : stringAt(this.#memory, message);
  }
}

/** GetProcAddress has no list of all libraries to look in: the program and {@link WINDOWS_LIBRARIES} stand for it. */
class WindowsSymbols implements SymbolFinder {
  readonly #loadLibrary: NativeFunction;
  readonly #moduleHandle: NativeFunction;
  readonly #procAddress: NativeFunction;
  readonly #lastError: NativeFunction;
  readonly #handles = new Map<string | undefined, Address>();

  constructor(ffi: Pick<Ffi, "open">) {
    this.#loadLibrary = need(ffi, KERNEL32, "LoadLibraryW", ["buffer"]);
    this.#moduleHandle = need(ffi, KERNEL32, "GetModuleHandleW", ["pointer"]);
    this.#procAddress = need(ffi, KERNEL32, "GetProcAddress", ["pointer", "buffer"]);
    this.#lastError = need(ffi, KERNEL32, "GetLastError", [], "u32");
  }

  find(name: string, library: string | undefined): Address {
    const libraries = library === undefined ? [undefined, ...WINDOWS_LIBRARIES] : [library];
    let errno = 0;
    for (const each of libraries) {
      const handle = this.#handles.get(each) ?? this.#open(name, each);
      const address = Number(this.#procAddress(handle, cString(name)));
      if (address !== 0) return address;
      errno = Number(this.#lastError());
    }
    throw refuseSymbol(name, library, `error ${errno}`, "GetProcAddress", errno);
  }

  #open(name: string, library: string | undefined): Address {
    const handle = Number(
      library === undefined ? this.#moduleHandle(0) : this.#loadLibrary(wideString(library)),
    );
    if (handle === 0) {
      const errno = Number(this.#lastError());
      throw refuseLibrary(name, library, `error ${errno}`, "LoadLibraryW", errno);
    }
    this.#handles.set(library, handle);
    return handle;
  }
}

/** The UTF-16 units of `text`, with a zero at the end. */
function wideString(text: string): Uint16Array {
  return Uint16Array.from({ length: text.length + 1 }, (_, index) => text.charCodeAt(index) || 0);
}

function refuseSymbol(
  name: string,
  library: string | undefined,
  reason: string,
  syscall: string,
  errno?: number,
): JitError {
  const [place, wayOut] =
    library === undefined
      ? [
          "neither the program nor a library that it was loaded with has it",
          "name the library, as in nativeSymbol(name, library)",
        ]
      : [`the library ${describe(library)} has no such symbol`, "C++ and Rust change the names of functions"];
  return new JitError(
    "ERR_UNKNOWN_SYMBOL",
    `Cannot find ${describe(name)}: ${place} (${reason}); ${wayOut}`,
    {
      syscall,
      errno,
    },
  );
}

function refuseLibrary(
  name: string,
  library: string | undefined,
  reason: string,
  syscall: string,
  errno?: number,
): JitError {
  return new JitError(
    "ERR_UNKNOWN_SYMBOL",
    `Cannot find ${describe(name)}: the library ${describe(library)} cannot be loaded (${reason}); pass the name by which the ` +
      "system finds it, or a path",
    { syscall, errno },
  );
}
