/** Seeded randomness for the made workloads: the same seed gives the same trace, byte for byte. */

/** A stream of pseudo-random numbers that its seed decides. */
export class Random {
  #state: number;

  /** @param seed any 32-bit integer. */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /**
   * An integer from 0 to 2**32 - 1. The mixer is mulberry32: one multiplication-based hash of a counter, with a
   * full period of 2**32, which is a thousand times what the largest workload draws.
   */
  nextU32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** An integer from 0 to `bound - 1`. */
  below(bound: number): number {
    return Math.floor((this.nextU32() / 0x1_0000_0000) * bound);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /**
   * About normal, mean 0, deviation 1: the sum of twelve uniforms. It uses only additions, so that every engine draws the
   * same number. The tails end at six deviations, far past the caps of the sizes.
   */
  normal(): number {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += this.nextU32() / 0x1_0000_0000;
    return sum;
  }

  /** Puts `values` in a random order, every order as likely as any other (Fisher-Yates). */
  shuffle(values: Int32Array): void {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const value = values[i] ?? 0;
      values[i] = values[j] ?? 0;
      values[j] = value;
    }
  }
}
