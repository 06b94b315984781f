/** Hands allocations from one thread to another, in shared memory: the first thread to come takes one out. */
import type { Random } from "../test/support/random.ts";

/** An allocation that is handed over: what its next owner must know. */
export interface Parcel {
  readonly rx: number;
  /** The generation of the span's token. */
  readonly generation: number;
  readonly sizeBytes: number;
  /** The granularity of its pool, in bytes. */
  readonly poolGranularity: number;
  /** Its kind: 0 = code, 1 = constants, 2 = data. */
  readonly kind: number;
  /** The mark of the pattern in its bytes. */
  readonly mark: number;
  /** The claim on its bytes. */
  readonly claim: number;
}

/** The states of a place. While it is BEING_CHANGED, one thread alone changes it. */
const EMPTY = 0;
const BEING_CHANGED = 1;
const FULL = 2;

/** Few enough places that threads meet there. */
const PLACES = 32;
const FIELDS = ["rx", "generation", "sizeBytes", "poolGranularity", "kind", "mark", "claim"] as const;

/** Places for parcels; no thread waits for another one. */
export class Mailbox {
  readonly #states: Int32Array;
  readonly #fields: Float64Array;

  /** @param buffer made by {@link create} */
  constructor(buffer: SharedArrayBuffer) {
    this.#states = new Int32Array(buffer, 0, PLACES);
    this.#fields = new Float64Array(buffer, 4 * PLACES);
  }

  /** An empty mailbox. */
  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(PLACES * (4 + 8 * FIELDS.length));
  }

  /** Puts a parcel in a random place. Returns false where that place is not empty. */
  put(random: Random, parcel: Parcel): boolean {
    const place = random.below(PLACES);
    if (Atomics.compareExchange(this.#states, place, EMPTY, BEING_CHANGED) !== EMPTY) {
      return false;
    }
    FIELDS.forEach((name, index) => (this.#fields[place * FIELDS.length + index] = parcel[name]));
    Atomics.store(this.#states, place, FULL);
    return true;
  }

  /** Takes the parcel out of a random place, if there is one. */
  take(random: Random): Parcel | undefined {
    return this.#takeFrom(random.below(PLACES));
  }

  /** Takes all parcels out. */
  empty(): Parcel[] {
    return Array.from({ length: PLACES }, (_, place) => this.#takeFrom(place)).filter(
      (parcel) => parcel !== undefined,
    );
  }

  /** All parcels in the mailbox. Precondition: no thread puts or takes meanwhile. */
  contents(): Parcel[] {
    return Array.from({ length: PLACES }, (_, place) => place)
      .filter((place) => this.#states[place] === FULL)
      .map((place) => this.#read(place));
  }

  #takeFrom(place: number): Parcel | undefined {
    if (Atomics.compareExchange(this.#states, place, FULL, BEING_CHANGED) !== FULL) {
      return undefined;
    }
    const parcel = this.#read(place);
    Atomics.store(this.#states, place, EMPTY);
    return parcel;
  }

  #read(place: number): Parcel {
    const [rx = 0, generation = 0, sizeBytes = 0, poolGranularity = 0, kind = 0, mark = 0, claim = 0] =
      this.#fields.subarray(place * FIELDS.length, (place + 1) * FIELDS.length);
    return { rx, generation, sizeBytes, poolGranularity, kind, mark, claim };
  }
}
