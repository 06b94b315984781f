/** The peaks of a shared allocator, where all of its threads find them. The caller holds the lock. */
import type { PeakRecord } from "../engine/contract.ts";
import { Field } from "./layout.ts";

/** {@link PeakRecord} in the shared state. Nothing depends on it, so a repair leaves it as it is. */
export class SharedPeakRecord implements PeakRecord {
  readonly #doubles: Float64Array;

  constructor(doubles: Float64Array) {
    this.#doubles = doubles;
  }

  get usedSize(): number {
    return this.#doubles[Field.peakUsed >> 1] ?? 0;
  }

  set usedSize(value: number) {
    this.#doubles[Field.peakUsed >> 1] = value;
  }

  get reservedSize(): number {
    return this.#doubles[Field.peakReserved >> 1] ?? 0;
  }

  set reservedSize(value: number) {
    this.#doubles[Field.peakReserved >> 1] = value;
  }
}
