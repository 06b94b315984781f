/** Reads numbers and strings of a file, and never past its end. */
import { LinkError, hex } from "./link-error.ts";

/** Little-endian, as everything in ELF for x86-64. Each read says what it reads, for the message where it is not there. */
export class Reader {
  readonly #file: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  /** @param file the name for messages */
  constructor(file: string, bytes: Uint8Array) {
    this.#file = file;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(at: number, what: string): number {
    this.#need(at, 1, what);
    return this.#view.getUint8(at);
  }

  u16(at: number, what: string): number {
    this.#need(at, 2, what);
    return this.#view.getUint16(at, true);
  }

  u32(at: number, what: string): number {
    this.#need(at, 4, what);
    return this.#view.getUint32(at, true);
  }

  /** Sizes and offsets: what is no exact number is further than any file is long. */
  u64(at: number, what: string): number {
    this.#need(at, 8, what);
    return Number(this.#view.getBigUint64(at, true));
  }

  /** What is added to addresses. */
  i64(at: number, what: string): number {
    this.#need(at, 8, what);
    const value = this.#view.getBigInt64(at, true);
    const isExact = BigInt(Number(value)) === value;
    if (!isExact) throw new LinkError(`${this.#file}: ${what} has the number ${value}, which is no offset`);
    return Number(value);
  }

  /** A view of the file's bytes, not a copy. */
  slice(at: number, length: number, what: string): Uint8Array {
    this.#need(at, length, what);
    return this.#bytes.subarray(at, at + length);
  }

  #need(at: number, length: number, what: string): void {
    if (at + length <= this.#bytes.length) return;
    const range = `from ${hex(at)} to ${hex(at + length)}`;
    throw new LinkError(
      `${this.#file} is truncated: its ${what} reaches ${range}, and the file ends at ${hex(this.#bytes.length)}`,
    );
  }
}

const utf8 = new TextDecoder();

/** The string from an offset to the next zero. */
export function textAt(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at);
  return utf8.decode(bytes.subarray(at, end === -1 ? bytes.length : end));
}
