/**
 * The runs released last, by length: a program that frees and allocates the same sizes is served from here without
 * asking the index. Entries are only hints, private to the thread: what they name may be taken or gone, and whoever
 * takes one checks it.
 */

/** Runs up to 64 granules (4 KiB of code at 64 bytes) are kept: nearly all that compilers free. */
const LONGEST_RUN = 64;
/** As many as serve a burst of releases, and few enough that all lengths of a pool stay in the first-level cache. */
const RUNS_PER_LENGTH = 16;
const LENGTHS = LONGEST_RUN + 1;

export class RecentRuns {
  readonly #places: Int32Array;
  readonly #counts: Int32Array;

  constructor(poolCount: number) {
    this.#places = new Int32Array(poolCount * LENGTHS * RUNS_PER_LENGTH);
    this.#counts = new Int32Array(poolCount * LENGTHS);
  }

  get byteLength(): number {
    return this.#places.byteLength + this.#counts.byteLength;
  }

  has(pool: number, length: number): boolean {
    return length <= LONGEST_RUN && this.#counts[pool * LENGTHS + length]! > 0;
  }

  /** The latest run of that length; there is one. */
  take(pool: number, length: number): number {
    const stack = pool * LENGTHS + length;
    const top = this.#counts[stack]! - 1;
    this.#counts[stack] = top;
    return this.#places[stack * RUNS_PER_LENGTH + top]!;
  }

  /** Notes a run; where there is no room for it, it is left to the index. */
  add(pool: number, length: number, place: number): void {
    if (length > LONGEST_RUN) return;
    const stack = pool * LENGTHS + length;
    const top = this.#counts[stack]!;
    if (top === RUNS_PER_LENGTH) return;
    this.#places[stack * RUNS_PER_LENGTH + top] = place;
    this.#counts[stack] = top + 1;
  }
}
