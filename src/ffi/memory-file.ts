/** A library in memory, whose file exists while it is being loaded. Linux only; elsewhere none can be made. */
import type { Address, Ffi, NativeFunction, NativeSignature } from "./contract.ts";
import { cString } from "./c-string.ts";
import { findInAny } from "./common.ts";
import { LINUX_LIBC_NAMES, LINUX_LOADER_NAMES } from "./libc-names.ts";

/** memfd_create: not inherited by other programs, and (Linux 6.3) never executable. */
const MFD_CLOEXEC = 1;
const MFD_NOEXEC_SEAL = 8;
/** memfd_create: may be sealed; and (Linux 6.3) may be executed. */
const MFD_ALLOW_SEALING = 2;
const MFD_EXEC = 0x10;
/** fcntl: adds seals; here those against changes of the length and the contents, and of the seals. */
const F_ADD_SEALS = 1033;
const EVERY_SEAL = 0xf;
/** getrlimit: the largest file a process may write. Writing past it raises SIGXFSZ, which ends the process. */
const RLIMIT_FSIZE = 1;
/** statx: the flags that ask for the inode of the descriptor itself, and the fields of `struct statx`, in bytes. */
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
const STATX_BYTES = 256;
const STATX_MASK_OFFSET = 0;
const STATX_INODE_OFFSET = 32;
/** fstat, for musl before 1.2.5, which has no statx: the inode's offset in `struct stat` of 64-bit Linux, in bytes. */
const STAT_BYTES = 256;
const STAT_INODE_OFFSET = 8;
/** dlopen: do not load the library, only say whether it is loaded. */
const RTLD_LAZY = 1;
const RTLD_NOLOAD = 4;

/** A symbol of a library, and the address it must lead to. */
export interface ExpectedSymbol {
  readonly name: string;
  readonly address: Address;
}

/** Makes library files of bytes, and checks that they are the libraries that were loaded. */
export class MemoryFiles {
  readonly #memfdCreate: NativeFunction | undefined;
  readonly #write: NativeFunction | undefined;
  readonly #close: NativeFunction | undefined;
  readonly #getrlimit: NativeFunction | undefined;
  readonly #statx: NativeFunction | undefined;
  readonly #fstat: NativeFunction | undefined;
  readonly #dlopen: NativeFunction | undefined;
  readonly #dlsym: NativeFunction | undefined;
  readonly #dlclose: NativeFunction | undefined;
  readonly #fcntl: NativeFunction | undefined;

  /** Never throws: where a function is missing, no library can be made. */
  constructor(ffi: Pick<Ffi, "open">) {
    const find = (
      symbol: string,
      parameters: NativeSignature["parameters"],
      result: NativeSignature["result"] = "i32",
      libraries: readonly string[] = LINUX_LIBC_NAMES,
    ): NativeFunction | undefined => findInAny(ffi, libraries, symbol, { parameters, result });
    this.#memfdCreate = find("memfd_create", ["buffer", "u32"]);
    // Fewer than 2**31 bytes are ever written, so that the result fits.
    this.#write = find("write", ["i32", "buffer", "pointer"]);
    this.#close = find("close", ["i32"]);
    this.#getrlimit = find("getrlimit", ["i32", "buffer"]);
    this.#statx = find("statx", ["i32", "buffer", "i32", "u32", "buffer"]);
    this.#fstat = find("fstat", ["i32", "buffer"]);
    this.#dlopen = find("dlopen", ["buffer", "i32"], "pointer", LINUX_LOADER_NAMES);
    this.#dlsym = find("dlsym", ["pointer", "buffer"], "pointer", LINUX_LOADER_NAMES);
    this.#fcntl = findInAny(ffi, LINUX_LIBC_NAMES, "fcntl", {
      parameters: ["i32", "i32", "i32"],
      result: "i32",
      fixedParameters: 2,
    });
    this.#dlclose = find("dlclose", ["pointer"], "i32", LINUX_LOADER_NAMES);
  }

  /**
   * Calls `load` with a path that leads to `bytes`, and returns its result; undefined where no file can be made.
   *
   * The loader of the C library takes two libraries with the same path for one. So no two libraries of a process may
   * share a path, even if other threads or other copies of this module load them. The path encodes the number of the
   * file's inode. No other file has that number as long as this file exists, and it exists as long as the library is
   * loaded.
   */
  use<T>(bytes: Uint8Array, load: (path: string) => T): T | undefined {
    if (!this.#mayWrite(bytes.length)) return undefined;
    const name = cString("jit-allocator-symbols");
    const create = (flags: number): number => Number(this.#memfdCreate?.(name, flags) ?? -1);
    let descriptor = create(MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    // Linux before 6.3 refuses the flag.
    if (descriptor === -1) descriptor = create(MFD_CLOEXEC);
    if (descriptor === -1) return undefined;
    try {
      const inode = this.#inodeOf(descriptor);
      if (inode === undefined) return undefined;
      if (this.#write?.(descriptor, bytes, bytes.length) !== bytes.length) return undefined;
      return load(`/proc/self/fd${spelling(inode)}${descriptor}`);
    } finally {
      this.#close?.(descriptor);
    }
  }

  /**
   * Makes a file of a library that has code, and keeps it open for the life of the process. Returns a path by which other
   * processes find it too, a debugger for one; undefined where no such file can be made. Nobody can change it any more.
   */
  keep(name: string, bytes: Uint8Array): string | undefined {
    if (!this.#mayWrite(bytes.length)) return undefined;
    const create = (flags: number): number =>
      Number(this.#memfdCreate?.(cString(name), MFD_CLOEXEC | MFD_ALLOW_SEALING | flags) ?? -1);
    let descriptor = create(MFD_EXEC);
    // Linux before 6.3 refuses the flag.
    if (descriptor === -1) descriptor = create(0);
    if (descriptor === -1) return undefined;
    if (this.#write?.(descriptor, bytes, bytes.length) !== bytes.length) {
      this.#close?.(descriptor);
      return undefined;
    }
    this.#fcntl?.(descriptor, F_ADD_SEALS, EVERY_SEAL);
    return `/proc/${process.pid}/fd/${descriptor}`;
  }

  /**
   * Whether the library that is loaded under a path is the right one: each symbol leads to its address. False also where
   * that cannot be found out. Called after loading a library and before the first call of its functions.
   */
  leadsTo(path: string, symbols: readonly ExpectedSymbol[]): boolean {
    const [open, look, close] = [this.#dlopen, this.#dlsym, this.#dlclose];
    if (open === undefined || look === undefined || close === undefined) return false;
    const handle = Number(open(cString(path), RTLD_LAZY | RTLD_NOLOAD));
    if (handle === 0) return false;
    try {
      return symbols.every(({ name, address }) => Number(look(handle, cString(name))) === address);
    } finally {
      close(handle);
    }
  }

  #mayWrite(sizeBytes: number): boolean {
    const limits = new BigUint64Array(2);
    return this.#getrlimit?.(RLIMIT_FSIZE, limits) === 0 && (limits[0] ?? 0n) >= BigInt(sizeBytes);
  }

  /** The number of a memfd's inode, which no other memfd has at the same time; undefined where the system does not say. */
  #inodeOf(descriptor: number): bigint | undefined {
    if (this.#statx === undefined) {
      const status = new DataView(new ArrayBuffer(STAT_BYTES));
      return this.#fstat?.(descriptor, status) === 0
        ? status.getBigUint64(STAT_INODE_OFFSET, true)
        : undefined;
    }
    const status = new DataView(new ArrayBuffer(STATX_BYTES));
    if (this.#statx(descriptor, cString(""), AT_EMPTY_PATH, STATX_INO, status) !== 0) return undefined;
    if ((status.getUint32(STATX_MASK_OFFSET, true) & STATX_INO) === 0) return undefined;
    return status.getBigUint64(STATX_INODE_OFFSET, true);
  }
}

/** Writes a number as a path that means one slash: `/` for each 0 of its binary digits, `/.` for each 1. */
function spelling(number: bigint): string {
  return `${number.toString(2).replaceAll("0", "/").replaceAll("1", "/.")}/`;
}
