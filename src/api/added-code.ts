/**
 * The code that a runtime has added. An addition appends to two lists and does no more: most programs never ask what lies at
 * an address. The first question indexes what has come since the last one.
 */
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";

/** The number up to which the lists are not searched for code that has ended: what a small program has anyway. */
const FIRST_SWEEP_COUNT = 256;

/** What was added: the length is that of the code, in bytes. */
export interface Added {
  readonly span: Span;
  readonly sizeBytes: number;
}

export class AddedCode {
  /** Longer than {@link #count}: to cut the lists and let them grow again took a fourteenth of short additions. */
  readonly #spans: (Span | undefined)[] = [];
  readonly #sizes: number[] = [];
  #count = 0;
  #nextSweepCount = FIRST_SWEEP_COUNT;
  /** The positions in the lists by rx; of several at one address the last, since the others have ended. */
  readonly #positions = new Map<Address, number>();
  /** How many of the lists' elements have been indexed. */
  #indexedCount = 0;

  /** Notes a new span, and the bytes of code in it. */
  append(span: Span, sizeBytes: number): void {
    const count = this.#count;
    this.#spans[count] = span;
    this.#sizes[count] = sizeBytes;
    this.#count = count + 1;
    if (count + 1 >= this.#nextSweepCount) this.#sweep();
  }

  /** The live code that begins at an address. */
  at(start: Address): Added | undefined {
    for (; this.#indexedCount < this.#count; this.#indexedCount++) {
      const span = this.#spans[this.#indexedCount];
      if (span !== undefined) this.#positions.set(spanAccess.rx(span), this.#indexedCount);
    }
    const position = this.#positions.get(start) ?? -1;
    const span = this.#spans[position];
    const sizeBytes = this.#sizes[position];
    return span === undefined || sizeBytes === undefined || span.isReleased ? undefined : { span, sizeBytes };
  }

  /** Releases all that is still live. */
  releaseAll(): void {
    for (let position = 0; position < this.#count; position++) this.#spans[position]?.[Symbol.dispose]();
  }

  countLive(): number {
    this.#sweep();
    return this.#count;
  }

  clear(): void {
    this.#shorten(0);
  }

  /** Drops what has ended. The lists may double before the next time, so that this costs each addition a constant time. */
  #sweep(): void {
    let kept = 0;
    for (let position = 0; position < this.#count; position++) {
      const span = this.#spans[position];
      if (span === undefined || span.isReleased) continue;
      this.#spans[kept] = span;
      this.#sizes[kept] = this.#sizes[position] ?? 0;
      kept += 1;
    }
    this.#shorten(kept);
  }

  #shorten(count: number): void {
    this.#spans.fill(undefined, count, this.#count);
    this.#count = count;
    this.#nextSweepCount = Math.max(FIRST_SWEEP_COUNT, 2 * count);
    if (this.#spans.length > this.#nextSweepCount) {
      this.#spans.length = this.#nextSweepCount;
      this.#sizes.length = this.#nextSweepCount;
    }
    if (this.#indexedCount === 0) return;
    this.#positions.clear();
    this.#indexedCount = 0;
  }
}
