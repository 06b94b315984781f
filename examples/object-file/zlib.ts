/** zlib in TypeScript: the functions of a linked `libz.a`, or of any other place that has them. */
import type { TypedFunction } from "jit-allocator";
import type { FindFunction } from "./native.ts";

const COMPRESS = { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" } as const;
const UNCOMPRESS = { parameters: ["buffer", "buffer", "buffer", "usize"], result: "i32" } as const;
const BOUND = { parameters: ["usize"], result: "usize" } as const;
const VERSION = { parameters: [], result: "cstring" } as const;

/** What zlib's functions return where they fail. */
const FAILURES: Readonly<Record<number, string>> = {
  [-2]: "a wrong argument",
  [-3]: "the data are damaged",
  [-4]: "out of memory",
  [-5]: "there is no room for the result",
};

/** Compresses and decompresses in one call each. */
export class Zlib {
  readonly version: string | null;
  readonly #compress: TypedFunction<typeof COMPRESS>;
  readonly #uncompress: TypedFunction<typeof UNCOMPRESS>;
  readonly #bound: TypedFunction<typeof BOUND>;
  /** Where C keeps a length: the room that there is, and then the bytes that were written. */
  readonly #length = new BigUint64Array(1);

  constructor(find: FindFunction) {
    this.#compress = find("compress2", COMPRESS);
    this.#uncompress = find("uncompress", UNCOMPRESS);
    this.#bound = find("compressBound", BOUND);
    this.version = find("zlibVersion", VERSION)();
  }

  /** @param level 0 to 9 */
  compress(bytes: Uint8Array, level = 6): Uint8Array {
    const room = new Uint8Array(this.#bound(bytes.length));
    return this.#into(room, "compress", () => this.#compress(room, this.#length, bytes, bytes.length, level));
  }

  /** @param mostBytes of the result */
  decompress(bytes: Uint8Array, mostBytes: number): Uint8Array {
    const room = new Uint8Array(mostBytes);
    return this.#into(room, "decompress", () => this.#uncompress(room, this.#length, bytes, bytes.length));
  }

  #into(room: Uint8Array, action: string, call: () => number): Uint8Array {
    this.#length[0] = BigInt(room.length);
    const result = call();
    if (result !== 0) throw new Error(`zlib cannot ${action}: ${FAILURES[result] ?? result}`);
    return room.subarray(0, Number(this.#length[0]));
  }
}
