/**
 * The native-call contract on Node: koffi, and `node:ffi` for functions of numbers, where it is enabled.
 *
 * The peculiarities of `node:ffi`, each one measured on Node 26.10:
 * - It calls symbols of libraries only. So functions that are called often get a library of their own, made in
 *   memory: `absolute-symbols.ts`.
 * - A call with floating-point numbers alone takes 4 ns, a tenth of koffi's. A call with an integer or a buffer goes
 *   through checks in JavaScript that all functions share: 18 ns while one function is in use and 90 with several, while
 *   koffi takes 22 to 34. So integers are passed as doubles, where the code can take them so, in 4 ns. koffi keeps the
 *   calls with buffers, and those that mix integers and doubles.
 * - Closing a library closes its functions, which then throw. A library is closed when all of the memory that its
 *   functions call is unmapped, so that the library does not stay mapped. Where its thread does not learn of the
 *   unmapping, the collector unloads the library after the last of its functions.
 * - Its fast calls are fast API calls of V8's, below which no JavaScript may run (deno.ts says why). So koffi makes the
 *   calls of code that may call back.
 * - Loading the module prints a warning that it is experimental. So it is loaded only when a function needs it.
 */
import { isBuiltin } from "node:module";
import { platform } from "../base/platform.ts";
import { absoluteSymbols, expectedSymbols, knowsAbsoluteSymbols, symbolName } from "./absolute-symbols.ts";
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
import { openKoffi } from "./koffi.ts";
import { LinkQueue, type LinkedFunctions, type Linker, type LinkTarget } from "./link-queue.ts";
import { MemoryFiles } from "./memory-file.ts";
import { requireModule } from "./require.ts";
import { ownTrampoline, toNumber } from "./trampoline.ts";

interface NodeLibrary {
  /** Unloads the library; its functions throw from then on. */
  close(): void;
}

/** The part of `node:ffi` that this file uses. */
export interface NodeFfiModule {
  dlopen(
    path: string,
    functions: Readonly<Record<string, { readonly arguments: readonly string[]; readonly return: string }>>,
  ): { readonly lib: NodeLibrary; readonly functions: Readonly<Record<string, NativeFunction>> };
}

/** The spelling of each type for `node:ffi`; and the parameter types whose calls need no checks in JavaScript. */
const NODE_TYPES: Readonly<Record<Exclude<NativeType, "buffer">, string>> = {
  void: "void",
  i8: "int8",
  u8: "uint8",
  i16: "int16",
  u16: "uint16",
  i32: "int32",
  u32: "uint32",
  i64: "int64",
  u64: "uint64",
  f32: "float",
  f64: "double",
  pointer: "int64",
};
const FAST_PARAMETERS: readonly NativeType[] = ["f32", "f64"];
/** The integers that a double has exactly. */
const INTEGERS: readonly NativeType[] = ["i8", "u8", "i16", "u16", "i32", "u32", "pointer"];

/**
 * The number of calls through koffi (each 35 ns slower than one of a library's) that cost as much as making a library
 * (200 to 300 µs).
 */
const CALLS_WORTH_A_LIBRARY = 8192;

/**
 * The most libraries at once. The collector does not see that each library takes some of the process's 65,530 mappings,
 * and may leave unused ones for long. Past this number koffi keeps the calls.
 */
const MOST_LIBRARIES = 1024;

/**
 * Offers koffi as an {@link Ffi}, with faster calls where `load` finds `node:ffi`.
 *
 * @param load loads `node:ffi`; undefined where there is none; tests pass their own.
 * @throws JitError `ERR_FEATURE_NOT_ENABLED` where koffi cannot be loaded.
 */
export function openNode(load = nodeFfiLoader()): Ffi {
  const koffi = openKoffi();
  return load === undefined ? koffi : new NodeFfi(koffi, load);
}

/** The loader of `node:ffi`, if this Node has it: `isBuiltin` tells without loading it. */
function nodeFfiLoader(): (() => NodeFfiModule) | undefined {
  if (!isBuiltin("node:ffi")) return undefined;
  return () => requireModule("node:ffi") as NodeFfiModule;
}

class NodeFfi implements Ffi {
  readonly name = "koffi and node:ffi";
  readonly version: string;
  readonly makesCallbacksOutsideOnly = true;
  readonly reason =
    "koffi calls by address; node:ffi, which this version of Node has, calls functions of numbers faster";
  readonly #koffi: Ffi;
  readonly #load: () => NodeFfiModule;
  /** Both are made when first needed; the queue is null where functions cannot be linked. */
  #queue: LinkQueue | null | undefined;
  #linker: NodeLinker | undefined;

  constructor(koffi: Ffi, load: () => NodeFfiModule) {
    this.#koffi = koffi;
    this.#load = load;
    this.version = koffi.version;
  }

  open(names: readonly string[]): NativeLibrary {
    return this.#koffi.open(names);
  }

  errno(): number {
    return this.#koffi.errno();
  }

  view(address: Address, sizeBytes: number): ArrayBuffer {
    return this.#koffi.view(address, sizeBytes);
  }

  detach(buffer: ArrayBuffer): void {
    this.#koffi.detach(buffer);
  }

  addressOf(buffer: ArrayBuffer): Address {
    return this.#koffi.addressOf(buffer);
  }

  callable(address: Address, signature: NativeSignature, takingDoubles?: Address): NativeCallable {
    const callable = this.#koffi.callable(address, signature);
    const target = fastTarget(address, signature, takingDoubles);
    if (target === undefined) return callable;
    if (this.#queue === undefined) {
      if (knowsAbsoluteSymbols(this)) this.#linker = new NodeLinker(this.#load, new MemoryFiles(this));
      this.#queue = this.#linker === undefined ? null : new LinkQueue(this.#linker);
    }
    return this.#queue?.callable(callable.call, target) ?? callable;
  }

  callback(call: NativeFunction, signature: NativeSignature): CallbackCode {
    return this.#koffi.callback(call, signature);
  }

  forget(start: Address, sizeBytes: number): void {
    this.#linker?.forget(start, start + sizeBytes);
  }
}

/** What `node:ffi` calls without checks in JavaScript; undefined where it cannot. */
function fastTarget(
  address: Address,
  signature: NativeSignature,
  takingDoubles: Address | undefined,
): LinkTarget | undefined {
  const { parameters, result } = signature;
  if (parameters.length === 0) return undefined;
  if (parameters.every((type) => FAST_PARAMETERS.includes(type))) return { address, signature };
  if (takingDoubles === undefined || !parameters.every((type) => INTEGERS.includes(type))) return undefined;
  return { address: takingDoubles, signature: { parameters: parameters.map(() => "f64"), result } };
}

class NodeLinker implements Linker {
  readonly worthCalls = CALLS_WORTH_A_LIBRARY;
  readonly makesReentrant = false;
  readonly #load: () => NodeFfiModule;
  readonly #files: MemoryFiles;
  /** The loaded libraries, by number. Held weakly, so that the collector may unload one that no function needs. */
  readonly #libraries = new Map<number, LoadedLibrary>();
  #lastNumber = 0;
  readonly #unloaded = new FinalizationRegistry<number>((number) => this.#libraries.delete(number));

  constructor(load: () => NodeFfiModule, files: MemoryFiles) {
    this.#load = load;
    this.#files = files;
  }

  link(targets: readonly LinkTarget[]): readonly LinkedFunctions[] | undefined {
    const image = absoluteSymbols(
      targets.map(({ address }) => address),
      platform.processor,
    );
    if (image === undefined || this.#libraries.size >= MOST_LIBRARIES) return undefined;
    try {
      return this.#files.use(image, (path) => {
        const { lib, functions } = this.#load().dlopen(
          path,
          Object.fromEntries(
            targets.map(({ signature }, index) => [symbolName(index), nodeSignature(signature)]),
          ),
        );
        try {
          if (!this.#files.leadsTo(path, expectedSymbols(targets))) throw new Error("it is another library");
          const trampolines = targets.map(({ signature: { parameters, result } }, index) => {
            const raw = functions[symbolName(index)];
            if (raw === undefined) throw new Error("a symbol is missing");
            return ownTrampoline(raw, {
              parameters: parameters.map(() => undefined),
              result: result === "pointer" ? toNumber : undefined,
            });
          });
          const number = ++this.#lastNumber;
          const addresses = new Set(targets.map(({ address }) => address));
          this.#libraries.set(number, { library: new WeakRef(lib), addresses });
          this.#unloaded.register(lib, number);
          return trampolines.map((fast) => ({ fast }));
        } catch (error) {
          lib.close();
          throw error;
        }
      });
    } catch {
      // No permission, no /proc, or no room: koffi keeps the calls.
      return undefined;
    }
  }

  /** Called when `start` to `end` is unmapped. Closes the libraries whose symbols lead nowhere else. */
  forget(start: Address, end: Address): void {
    for (const [number, { library, addresses }] of this.#libraries) {
      for (const address of addresses) if (address >= start && address < end) addresses.delete(address);
      if (addresses.size > 0) continue;
      this.#libraries.delete(number);
      try {
        library.deref()?.close();
      } catch {
        // The library stays loaded until the collector unloads it. The memory is already unmapped, so the caller must go
        // on.
      }
    }
  }
}

interface LoadedLibrary {
  readonly library: WeakRef<NodeLibrary>;
  /** The targets of its symbols whose memory is still mapped. */
  readonly addresses: Set<Address>;
}

function nodeSignature({ parameters, result }: NativeSignature): {
  readonly arguments: readonly string[];
  readonly return: string;
} {
  const spell = (type: NativeType): string => (type === "buffer" ? "buffer" : NODE_TYPES[type]);
  return { arguments: parameters.map(spell), return: spell(result) };
}
