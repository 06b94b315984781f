/** A library in memory that is there while somebody loads it. Linux only; elsewhere there is none. */
import type { Address, Ffi, NativeFunction, NativeSignature } from "./contract.ts";
import { cString } from "./c-string.ts";
import { findInAny } from "./common.ts";
import { LINUX_LIBC_NAMES, LINUX_LOADER_NAMES } from "./libc-names.ts";

/** memfd_create: not inherited by other programs, and (Linux 6.3) never executable. */
const MFD_CLOEXEC = 1;
const MFD_NOEXEC_SEAL = 8;
/** getrlimit: the largest file a process may write. Writing past it raises SIGXFSZ, which ends the process. */
const RLIMIT_FSIZE = 1;
/** statx: of the descriptor itself, its inode; and where that stands in `struct statx`, which is 256 bytes long. */
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
const STATX_BYTES = 256;
const STATX_MASK_OFFSET = 0;
const STATX_INODE_OFFSET = 32;
/** fstat, which musl before 1.2.5 has and no statx: where the inode stands in `struct stat` of Linux on 64 bits. */
const STAT_BYTES = 256;
const STAT_INODE_OFFSET = 8;
/** dlopen: do not load it, just say whether it is loaded. */
const RTLD_LAZY = 1;
const RTLD_NOLOAD = 4;

/** A symbol of a library and where it is to lead. */
export interface ExpectedSymbol {
  readonly name: string;
  readonly address: Address;
}

/** Makes libraries of bytes, and sees to it that they are what is loaded. */
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

  /** Never throws: where a function is missing, no library can be made. */
  constructor(ffi: Pick<Ffi, "open">) {
    const find = (
      symbol: string,
      parameters: NativeSignature["parameters"],
      result: NativeSignature["result"] = "i32",
      libraries: readonly string[] = LINUX_LIBC_NAMES,
    ): NativeFunction | undefined => findInAny(ffi, libraries, symbol, { parameters, result });
    this.#memfdCreate = find("memfd_create", ["buffer", "u32"]);
    // Less than 2**31 bytes are ever written, so that the result fits.
    this.#write = find("write", ["i32", "buffer", "pointer"]);
    this.#close = find("close", ["i32"]);
    this.#getrlimit = find("getrlimit", ["i32", "buffer"]);
    this.#statx = find("statx", ["i32", "buffer", "i32", "u32", "buffer"]);
    this.#fstat = find("fstat", ["i32", "buffer"]);
    this.#dlopen = find("dlopen", ["buffer", "i32"], "pointer", LINUX_LOADER_NAMES);
    this.#dlsym = find("dlsym", ["pointer", "buffer"], "pointer", LINUX_LOADER_NAMES);
    this.#dlclose = find("dlclose", ["pointer"], "i32", LINUX_LOADER_NAMES);
  }

  /**
   * What `load` makes of a path that leads to `bytes`; undefined where no file can be made.
   *
   * The loader of the C library takes a path that it has loaded for the same library, so no two libraries of a process
   * may have one path, whichever thread and whichever copy of this module loads them. The path has the number of the
   * file's inode, which no other file has as long as this one exists; and it exists as long as the library is loaded.
   */
  use<T>(bytes: Uint8Array, load: (path: string) => T): T | undefined {
    if (!this.#mayWrite(bytes.length)) return undefined;
    const name = cString("jit-allocator-symbols");
    const create = (flags: number): number => Number(this.#memfdCreate?.(name, flags) ?? -1);
    let descriptor = create(MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    // Linux before 6.3 does not know the flag.
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
   * Whether the library that is loaded under a path is the one that was meant: each symbol leads to its address. False
   * also where that cannot be found out. Asked between loading a library and the first call of its functions.
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

  /** No other file of the process's memory has that number at the same time; undefined where the system does not say. */
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

/** A slash, spelled by a number: `/` for each 0 of its binary digits, and `/.` for each 1. */
function spelling(number: bigint): string {
  return `${number.toString(2).replaceAll("0", "/").replaceAll("1", "/.")}/`;
}
