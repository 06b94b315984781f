/** Calls without this library, by every way that the runtime has: the baseline of `bench:calls`. */
import { createRequire } from "node:module";
import { absoluteSymbols, symbolName } from "../src/ffi/absolute-symbols.ts";
import type { BunFfiModule } from "../src/ffi/bun.ts";
import type { Address, NativeFunction } from "../src/ffi/contract.ts";
import type { DenoFfiNamespace } from "../src/ffi/deno.ts";
import type { KoffiModule } from "../src/ffi/koffi-module.ts";
import { MemoryFiles } from "../src/ffi/memory-file.ts";
import { systemFfi } from "../src/ffi/select.ts";
import type { Signature } from "../src/index.ts";
import { platform, type RuntimeName } from "../src/base/platform.ts";

/** One way, and the functions made by it. */
export interface RawFunctions {
  readonly name: string;
  readonly functions: readonly NativeFunction[];
}

type Maker = (addresses: readonly Address[], signature: Signature) => readonly RawFunctions[];

/** The functions of the given addresses, made by each way. */
export function rawFunctions(addresses: readonly Address[], signature: Signature): readonly RawFunctions[] {
  return makers[platform.runtime](addresses, signature);
}

const makers: Readonly<Record<RuntimeName, Maker>> = {
  bun(addresses, signature) {
    const bun = createRequire(import.meta.url)("bun:ffi") as BunFfiModule;
    const types = { i32: "i32", f64: "f64", buffer: "ptr" };
    const { args, returns } = spelled(signature, types);
    const functions = addresses.map((ptr) => bun.CFunction({ ptr, args, returns }));
    return [{ name: "CFunction", functions }];
  },

  deno(addresses, signature) {
    const deno = Reflect.get(globalThis, "Deno") as DenoFfiNamespace;
    const { args, returns } = spelled(signature, { i32: "i32", f64: "f64", buffer: "buffer" });
    const symbols = { parameters: args, result: returns };
    const functions = fromLibrary(addresses, (path, names) => {
      const library = deno.dlopen(path, Object.fromEntries(names.map((name) => [name, symbols])));
      return names.map((name) => library.symbols[name]!);
    });
    return [{ name: "symbol", functions }];
  },

  node(addresses, signature) {
    const koffi = createRequire(import.meta.url)("koffi") as {
      proto(result: string, parameters: readonly string[]): object;
      decode(address: Address, type: object): NativeFunction;
    };
    const { args, returns } = spelled(signature, { i32: "int32_t", f64: "double", buffer: "void *" });
    const prototype = koffi.proto(returns, args);
    const ways: RawFunctions[] = [
      { name: "koffi", functions: addresses.map((address) => koffi.decode(address, prototype)) },
    ];
    const nodeFfi = nodeFfiModule();
    if (nodeFfi !== undefined) {
      const types = spelled(signature, { i32: "int32", f64: "double", buffer: "buffer" });
      const functions = fromLibrary(addresses, (path, names) => {
        const definition = { arguments: types.args, return: types.returns };
        const library = nodeFfi.dlopen(path, Object.fromEntries(names.map((name) => [name, definition])));
        return names.map((name) => library.functions[name]!);
      });
      ways.push({ name: "node:ffi", functions });
    }
    return ways;
  },
};

/** The address of a callback that the runtime itself makes. */
export function rawCallback(callback: (a: number, b: number) => number, signature: Signature): Address {
  return callbackMakers[platform.runtime](callback as NativeFunction, signature);
}

const callbackMakers: Readonly<
  Record<RuntimeName, (callback: NativeFunction, signature: Signature) => Address>
> = {
  bun(callback, signature) {
    const bun = createRequire(import.meta.url)("bun:ffi") as BunFfiModule;
    const { args, returns } = spelled(signature, { i32: "i32", f64: "f64" });
    const made = new bun.JSCallback(callback, { args, returns });
    kept.push(made);
    return made.ptr ?? 0;
  },

  deno(callback, signature) {
    const deno = Reflect.get(globalThis, "Deno") as DenoFfiNamespace;
    const { args, returns } = spelled(signature, { i32: "i32", f64: "f64" });
    const made = new deno.UnsafeCallback({ parameters: args, result: returns }, callback);
    kept.push(made);
    return Number(deno.UnsafePointer.value(made.pointer));
  },

  node(callback, signature) {
    const koffi = createRequire(import.meta.url)("koffi") as KoffiModule;
    const { args, returns } = spelled(signature, { i32: "int32_t", f64: "double" });
    return Number(koffi.register(callback, koffi.pointer(koffi.proto(returns, args))));
  },
};
/** Collected, a callback would take its machine code with it. */
const kept: object[] = [];

interface NodeFfiModule {
  dlopen(
    path: string,
    symbols: Readonly<Record<string, { readonly arguments: readonly string[]; readonly return: string }>>,
  ): { readonly functions: Readonly<Record<string, NativeFunction>> };
}

/** `node:ffi`, if there is one: few versions of Node have it, and not all have `process.getBuiltinModule`. */
function nodeFfiModule(): NodeFfiModule | undefined {
  const { getBuiltinModule } = process as {
    readonly getBuiltinModule?: (name: string) => NodeFfiModule | undefined;
  };
  return getBuiltinModule?.("node:ffi");
}

function spelled(
  { parameters, result }: Signature,
  types: Readonly<Record<string, string>>,
): { readonly args: readonly string[]; readonly returns: string } {
  const spell = (type: string): string => {
    const found = types[type];
    if (found === undefined) throw new Error(`No spelling for ${type}`);
    return found;
  };
  return { args: parameters.map(spell), returns: spell(result) };
}

function fromLibrary(
  addresses: readonly Address[],
  load: (path: string, names: readonly string[]) => readonly NativeFunction[],
): readonly NativeFunction[] {
  const image = absoluteSymbols(addresses, platform.processor);
  const names = addresses.map((_, index) => symbolName(index));
  const functions = image && new MemoryFiles(systemFfi()).use(image, (path) => load(path, names));
  if (functions === undefined) throw new Error("The library of absolute symbols cannot be loaded");
  return functions;
}
