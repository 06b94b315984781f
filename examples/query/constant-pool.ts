/** The constants behind the code of a filter, each as a whole vector. */

/** An offset in the pool, in bytes. */
export type PoolOffset = number;

export class ConstantPool {
  readonly #vectorBytes: number;
  readonly #offsets = new Map<bigint, PoolOffset>();
  readonly #vectors: Uint8Array[] = [];
  #sizeBytes = 0;

  /** @param vectorBytes every number is there as often as a vector of this size has lanes */
  constructor(vectorBytes: number) {
    this.#vectorBytes = vectorBytes;
  }

  /** The place of the double in all lanes. */
  double(value: number): PoolOffset {
    return this.bits(new BigUint64Array(Float64Array.of(value).buffer)[0] ?? 0n);
  }

  /** The place of these 64 bits in all lanes. */
  bits(bits: bigint): PoolOffset {
    let offset = this.#offsets.get(bits);
    if (offset === undefined) {
      const lanes = this.#vectorBytes / BigUint64Array.BYTES_PER_ELEMENT;
      offset = this.append(new Uint8Array(new BigUint64Array(lanes).fill(bits).buffer));
      this.#offsets.set(bits, offset);
    }
    return offset;
  }

  /** The place of bytes of any kind, which begins where a vector may. */
  append(bytes: Uint8Array): PoolOffset {
    const offset = this.#sizeBytes;
    this.#vectors.push(bytes);
    this.#sizeBytes += Math.ceil(bytes.length / this.#vectorBytes) * this.#vectorBytes;
    return offset;
  }

  /** The code, and behind it the pool from the next multiple of `alignment` bytes on. */
  behind(code: Uint8Array, alignment: number): Uint8Array {
    const start = Math.ceil(code.length / alignment) * alignment;
    const image = new Uint8Array(start + this.#sizeBytes);
    image.set(code);
    let offset = start;
    for (const bytes of this.#vectors) {
      image.set(bytes, offset);
      offset += Math.ceil(bytes.length / this.#vectorBytes) * this.#vectorBytes;
    }
    return image;
  }
}

/** Of the lanes that a mask selects, in ascending order, the four bytes each: what a byte shuffle takes. */
export function compactionTable(lanes: number): Uint8Array {
  const rowBytes = lanes * Int32Array.BYTES_PER_ELEMENT;
  const table = new Uint8Array(rowBytes << lanes);
  for (let mask = 0; mask < 1 << lanes; mask++) {
    let position = mask * rowBytes;
    for (let lane = 0; lane < lanes; lane++) {
      if ((mask & (1 << lane)) === 0) continue;
      for (let byte = 0; byte < 4; byte++) table[position++] = lane * 4 + byte;
    }
  }
  return table;
}
