/** Helpers that the foreign function interfaces share. */
import { JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type { Ffi, NativeFunction, NativeSignature } from "./contract.ts";
import { ERRNO_LOCATIONS } from "./libc-names.ts";

/**
 * `ArrayBuffer.prototype.transfer`, where it exists (Node 22 and later, Bun, Deno).
 * `structuredClone` with a transfer list is no substitute: on Node 20 it copies instead, and throws later.
 */
const { transfer } = ArrayBuffer.prototype as {
  readonly transfer?: (this: ArrayBuffer, newSizeBytes: number) => ArrayBuffer;
};

/** Detaches a buffer from its memory where the runtime can. */
export function detach(buffer: ArrayBuffer): void {
  try {
    transfer?.call(buffer, 0);
  } catch {
    // The buffer was detached before. Nothing is left to do, and the contract promises not to throw.
  }
}

/**
 * The function that returns the address of the calling thread's error number; undefined where there is none.
 *
 * @throws JitError the error of `open`: without a C library, or the permission to call one, nothing else works either.
 */
export function findErrnoLocation(ffi: Pick<Ffi, "open">): NativeFunction | undefined {
  const { libraries, symbols } = ERRNO_LOCATIONS[platform.system];
  const libc = ffi.open(libraries);
  for (const symbol of symbols) {
    const found = libc.find(symbol, { parameters: [], result: "pointer" });
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The function in the first of the libraries that has it; undefined where none has, or none is there. */
export function findInAny(
  ffi: Pick<Ffi, "open">,
  libraries: readonly string[],
  symbol: string,
  signature: NativeSignature,
): NativeFunction | undefined {
  for (const name of libraries) {
    try {
      const found = ffi.open([name]).find(symbol, signature);
      if (found !== undefined) return found;
    } catch {
      // There is no library of that name.
    }
  }
  return undefined;
}

/** The error where no library could be opened; each failure is a name with its reason. */
export function noneFound(failures: readonly string[]): JitError {
  return new JitError(
    "ERR_FEATURE_NOT_ENABLED",
    `Cannot load a shared library: the system found none of ${failures.join(", ")}`,
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
