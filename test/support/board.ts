/** Where threads publish code for each other: in each place a token, and the value that the code returns. */
import type { SpanToken } from "../../src/index.ts";

const DOUBLES = 4;

/** A board in shared memory. A place is written by one thread alone, and read by all: a count tells whether it was whole. */
export class Board {
  readonly #doubles: Float64Array;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#doubles = new Float64Array(buffer);
    this.#words = new Int32Array(buffer);
  }

  static make(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer((size + 1) * DOUBLES * 8);
  }

  get size(): number {
    return this.#doubles.length / DOUBLES - 1;
  }

  get isOver(): boolean {
    return Atomics.load(this.#words, 0) !== 0;
  }

  end(): void {
    Atomics.store(this.#words, 0, 1);
  }

  publish(place: number, { rx, generation }: SpanToken, value: number): void {
    const at = (place + 1) * DOUBLES;
    Atomics.add(this.#words, at * 2, 1);
    this.#doubles[at + 1] = rx;
    this.#doubles[at + 2] = generation;
    this.#doubles[at + 3] = value;
    Atomics.add(this.#words, at * 2, 1);
  }

  /** What stands there; no token where nothing does, or it is being written. */
  read(place: number): { token: SpanToken | undefined; value: number } {
    const at = (place + 1) * DOUBLES;
    const before = Atomics.load(this.#words, at * 2);
    const [, rx = 0, generation = 0, value = 0] = this.#doubles.subarray(at, at + DOUBLES);
    const isWhole = before % 2 === 0 && before > 0 && Atomics.load(this.#words, at * 2) === before;
    return { token: isWhole ? { rx, generation } : undefined, value };
  }
}
