/** Finds what an archive does not define itself: functions and variables of the C library, and of whoever links. */
import { JitError, nativeSymbol, type Address } from "jit-allocator";

/** The libraries that C programs are linked with when nothing is said, and `-lm`. */
export const C_LIBRARIES: readonly string[] = ["libc.so.6", "libm.so.6"];

/**
 * Variables of the C library that code reads where they are, if it was compiled for a program: 2 GiB away at most. `ld`
 * copies such a variable into the program, and the C library then uses the copy. Nobody can tell it to afterwards, so only
 * pointers are copied that stay as they are.
 */
export const COPIED: ReadonlySet<string> = new Set(["stdin", "stdout", "stderr"]);

/**
 * The address of a symbol; undefined where none of the libraries has it.
 *
 * A library says whether it has the symbol, and the process which one is meant: what the program defines comes before
 * what its libraries define, so that another `malloc` replaces all of them. To ask the process alone would also find what
 * the runtime has for itself. Node exports its own zlib, and Deno its own SQLite.
 */
export function findExternal(name: string, libraries: readonly string[]): Address | undefined {
  for (const library of libraries) {
    const own = find(name, library);
    if (own !== undefined) return find(name) ?? own;
  }
  return undefined;
}

/** The address that a library has for a name, or the process; undefined where there is none. */
export function find(name: string, library?: string): Address | undefined {
  try {
    return nativeSymbol(name, library);
  } catch (error) {
    if (error instanceof JitError && error.code === "ERR_UNKNOWN_SYMBOL") return undefined;
    throw error;
  }
}
