/** A file in memory that is there while somebody loads it. Linux only; elsewhere there is none. */
import type { Ffi, NativeFunction, NativeSignature } from "./contract.ts";
import { LINUX_LIBC_NAMES } from "./libc-names.ts";

/** memfd_create: not inherited by other programs, and (Linux 6.3) never executable. */
const MFD_CLOEXEC = 1;
const MFD_NOEXEC_SEAL = 8;
/** getrlimit: the largest file a process may write. Writing past it raises SIGXFSZ, which ends the process. */
const RLIMIT_FSIZE = 1;

/** `memfd_create`, `write` and `close` of libc. */
export class MemoryFiles {
  readonly #memfdCreate: NativeFunction | undefined;
  readonly #write: NativeFunction | undefined;
  readonly #close: NativeFunction | undefined;
  readonly #getrlimit: NativeFunction | undefined;

  /** Never throws: where a function is missing, no file can be made. */
  constructor(ffi: Pick<Ffi, "open">) {
    const find = (
      symbol: string,
      ...parameters: NativeSignature["parameters"]
    ): NativeFunction | undefined => {
      try {
        return ffi.open(LINUX_LIBC_NAMES).find(symbol, { parameters, result: "i32" });
      } catch {
        return undefined; // there is no such library: not Linux
      }
    };
    this.#memfdCreate = find("memfd_create", "buffer", "u32");
    // Less than 2**31 bytes are ever written, so that the result fits.
    this.#write = find("write", "i32", "buffer", "pointer");
    this.#close = find("close", "i32");
    this.#getrlimit = find("getrlimit", "i32", "buffer");
  }

  /**
   * What `load` makes of a path that leads to `bytes`; undefined where no file can be made.
   * No two calls give the same path: the loader of the C library takes the same path for the same library.
   */
  use<T>(bytes: Uint8Array, load: (path: string) => T): T | undefined {
    if (!this.#mayWrite(bytes.length)) return undefined;
    const name = new TextEncoder().encode("jit-allocator-symbols\0");
    const create = (flags: number): number => Number(this.#memfdCreate?.(name, flags) ?? -1);
    let descriptor = create(MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    // Linux before 6.3 does not know the flag.
    if (descriptor === -1) descriptor = create(MFD_CLOEXEC);
    if (descriptor === -1) return undefined;
    try {
      if (this.#write?.(descriptor, bytes, bytes.length) !== bytes.length) return undefined;
      return load(`/proc/self/fd${spelling()}${descriptor}`);
    } finally {
      this.#close?.(descriptor);
    }
  }

  #mayWrite(sizeBytes: number): boolean {
    const limits = new BigUint64Array(2);
    return this.#getrlimit?.(RLIMIT_FSIZE, limits) === 0 && (limits[0] ?? 0n) >= BigInt(sizeBytes);
  }
}

/**
 * A slash, spelled another way each time: 52 random bits, `/` for 0 and `/.` for 1. Random, because other threads and
 * other copies of this library load libraries in the same process, and do not know of each other.
 */
function spelling(): string {
  const bits = Math.floor(Math.random() * 2 ** 52).toString(2);
  return `${bits.replaceAll("0", "/").replaceAll("1", "/.")}/`;
}
