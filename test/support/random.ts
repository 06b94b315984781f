/** Seeded randomness: the same seed gives the same run on every machine and runtime. */

/** A generator of random numbers (Marsaglia's xorshift128, started through splitmix32). Not for secrets. */
export class Random {
  readonly seed: number;
  readonly #state = new Uint32Array(4);

  /** @param seed any integer; its low 32 bits count. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    let mixed = this.seed;
    for (let index = 0; index < 4; index++) {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      let word = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[index] = word ^ (word >>> 15);
    }
    // All zeros is the one state xorshift never leaves.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** An integer of 32 random bits, 0 to 2**32 - 1. */
  next(): number {
    const state = this.#state;
    let first = state[0] ?? 0;
    const last = state[3] ?? 0;
    first ^= first << 11;
    first ^= first >>> 8;
    state[0] = state[1] ?? 0;
    state[1] = state[2] ?? 0;
    state[2] = last;
    state[3] = last ^ (last >>> 19) ^ first;
    return state[3];
  }

  /** An integer from 0 to `limit` - 1. `limit` is at most 2**32; the bias of the remainder does not matter here. */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `probability` of all calls. */
  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }

  /** One of `choices`, each as likely as the others. Throws where there is none. */
  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new RangeError("Nothing to pick from");
    return choices[this.below(choices.length)] as T;
  }

  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<T>(items: T[]): T[] {
    for (let index = items.length - 1; index > 0; index--) {
      const other = this.below(index + 1);
      [items[index], items[other]] = [items[other] as T, items[index] as T];
    }
    return items;
  }
}
