/** Thrown when machine code does not fit in the buffer given: try again with a larger one. */
export class CodeBufferFull extends Error {
  constructor(sizeBytes: number) {
    super(`The code does not fit in ${sizeBytes} bytes`);
    this.name = "CodeBufferFull";
  }
}

/** A buffer that machine code is appended to, shared by the assemblers of all processors. */
export class CodeBuffer {
  readonly #bytes: Uint8Array;
  #length = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** @throws CodeBufferFull */
  byte(value: number): void {
    if (this.#length >= this.#bytes.length) throw new CodeBufferFull(this.#bytes.length);
    this.#bytes[this.#length++] = value;
  }

  /** Four bytes, the lowest first. @throws CodeBufferFull */
  dword(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.byte(value >> shift);
  }

  /** Overwrites the four bytes at `offset`, which have been written before. */
  patchDword(offset: number, value: number): void {
    for (let index = 0; index < 4; index++) this.#bytes[offset + index] = value >> (index * 8);
  }
}
