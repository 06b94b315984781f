/** The range of a shared allocator: where all of its threads find it. The caller holds the lock. */
import type { RangeRecord } from "../engine/contract.ts";
import type { Address } from "../ffi/contract.ts";
import type { AddressRange } from "../vm/contract.ts";
import { Field } from "./layout.ts";

/**
 * {@link RangeRecord} in the shared state. A range is there once its checksum is, which is written last and in one step, and
 * gone once that is 0. The library changes the access of what it finds here, so anything else that was written over it
 * must be noticed (invariant 20).
 */
export class SharedRangeRecord implements RangeRecord {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  constructor(words: Int32Array, doubles: Float64Array) {
    this.#words = words;
    this.#doubles = doubles;
  }

  /** @throws Error where the record was written over */
  get range(): AddressRange | undefined {
    const check = this.#words[Field.rangeCheck];
    if (check === 0) return undefined;
    if (check !== this.#hash())
      throw new Error("invariant 20 is broken: the record of the range was written over");
    const [rx = 0, rw = 0, sizeBytes = 0] = this.#doubles.subarray(Field.range >> 1, (Field.range >> 1) + 3);
    return { rx, rw, sizeBytes };
  }

  set range(range: AddressRange | undefined) {
    this.#words[Field.rangeCheck] = 0;
    if (range === undefined) return;
    this.#doubles[Field.range >> 1] = range.rx;
    this.#doubles[(Field.range >> 1) + 1] = range.rw;
    this.#doubles[(Field.range >> 1) + 2] = range.sizeBytes;
    this.#words[Field.rangeCheck] = this.#hash();
  }

  get isRefused(): boolean {
    return this.#words[Field.isRangeRefused] !== 0;
  }

  set isRefused(value: boolean) {
    this.#words[Field.isRangeRefused] = value ? 1 : 0;
  }

  get isUnclean(): boolean {
    return this.#words[Field.isRangeUnclean] !== 0;
  }

  set isUnclean(value: boolean) {
    this.#words[Field.isRangeUnclean] = value ? 1 : 0;
  }

  get isTrimmed(): boolean {
    return this.#words[Field.isRangeTrimmed] !== 0;
  }

  set isTrimmed(value: boolean) {
    this.#words[Field.isRangeTrimmed] = value ? 1 : 0;
  }

  get sealedBytes(): number {
    return this.#bytesAt(Field.sealed);
  }

  set sealedBytes(value: number) {
    this.#doubles[Field.sealed >> 1] = checked(value);
  }

  get sealingBytes(): number {
    return this.#bytesAt(Field.sealing);
  }

  set sealingBytes(value: number) {
    this.#doubles[Field.sealing >> 1] = checked(value);
  }

  /** @throws Error where the field was written over */
  #bytesAt(field: number): number {
    const found = this.#doubles[field >> 1] ?? 0;
    const value = Math.floor(found);
    if (found !== checked(value))
      throw new Error("invariant 20 is broken: the record of what is sealed was written over");
    return value;
  }

  /** Below the range, or above it, it would be no such address: something else was written over it. */
  get dataStart(): Address {
    const { range } = this;
    const start = this.#doubles[Field.dataStart >> 1] ?? 0;
    if (start === 0 || range === undefined) return 0;
    const offset = start - range.rx;
    // This form of the condition is false for NaN too.
    const isInside = offset >= 0 && offset <= range.sizeBytes && Number.isInteger(offset);
    if (!isInside) throw new Error("invariant 20 is broken: the place of data was written over");
    return start;
  }

  set dataStart(address: Address) {
    this.#doubles[Field.dataStart >> 1] = address;
  }

  /** 32 bits of the record (FNV-1a, of integers), never 0. */
  #hash(): number {
    let hash = 0x811c_9dc5;
    for (let index: number = Field.range; index < Field.rangeCheck; index++) {
      hash = Math.imul(hash, 0x0100_0193) ^ (this.#words[index] ?? 0);
    }
    return hash === 0 ? 1 : hash;
  }
}

/**
 * A number of bytes, at most 2**31, and 16 bits of checksum as its fraction: both are written in one step. 0 has none, as the
 * memory of a new state.
 */
function checked(bytes: number): number {
  return bytes + (Math.imul(bytes / 4096, 0x9e37_79b1) >>> 16) / 2 ** 16;
}
