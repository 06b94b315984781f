/** Finds functions and data of shared libraries. */
import { platform } from "../base/platform.ts";
import { needMuchStack } from "../base/stack.ts";
import { refuseValue } from "../engine/refusals.ts";
import type { Address } from "../ffi/contract.ts";
import { systemFfi } from "../ffi/select.ts";
import { openSymbols, type SymbolFinder } from "../link/symbols.ts";
import { systemMemory } from "../vm/select.ts";

let finder: SymbolFinder | undefined;

/**
 * The address of a function or a variable of a shared library: what `dlsym` returns, or `GetProcAddress` on Windows.
 *
 * Without a library, the program and all that it was loaded with are searched. Runtimes contain copies of libraries: in
 * Node, `deflate` is that of its own zlib, of its own version and options. Name the library to get the system's. On Windows
 * the program, `ucrtbase.dll` and `kernel32.dll` are searched.
 *
 * A library stays loaded until the process ends, so the address stays right. On x86-64 it can be further than 2 GiB from
 * the range of an allocator.
 *
 * @param name as the library exports it, without decoration
 * @param library the name by which the system finds it, such as `libz.so.1`, or a path; it is loaded if it was not
 * @throws JitError `ERR_UNKNOWN_SYMBOL` where there is no such symbol, or no such library; `ERR_INVALID_ARGUMENT` for what
 *   is no name; `ERR_FEATURE_NOT_ENABLED` where native code cannot be called
 * @example
 * ```ts
 * const malloc = nativeSymbol("malloc");
 * const cosine = nativeSymbol("cos", "libm.so.6");
 * ```
 */
export function nativeSymbol(name: string, library?: string): Address {
  if (!isName(name))
    throw refuseValue("find a symbol by", name, "its name is a string, and has no zero in it");
  if (library !== undefined && !isName(library)) {
    throw refuseValue(
      "find a symbol in",
      library,
      "the name of a library is a string, and has no zero in it",
    );
  }
  needMuchStack();
  finder ??= openSymbols(systemFfi(), systemMemory(), platform.system);
  return finder.find(name, library);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && !value.includes("\0");
}
