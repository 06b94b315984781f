/**
 * The code that a runtime has added. An addition appends to two lists and does no more: most programs never ask what lies at
 * an address. The first question indexes what has come since the last one.
 */
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";

/** The length up to which the lists are not searched for code that has ended: what a small program has anyway. */
const FIRST_SWEEP_LENGTH = 256;

/** What was added: the length is that of the code, in bytes. */
export interface Added {
  readonly span: Span;
  readonly sizeBytes: number;
}

export class AddedCode {
  readonly #spans: Span[] = [];
  readonly #sizes: number[] = [];
  #nextSweepLength = FIRST_SWEEP_LENGTH;
  /** The positions in the lists by rx; of several at one address the last, since the others have ended. */
  readonly #positions = new Map<Address, number>();
  /** How many of the lists' elements have been indexed. */
  #indexedLength = 0;

  /** Notes a new span, and the bytes of code in it. */
  append(span: Span, sizeBytes: number): void {
    this.#spans.push(span);
    this.#sizes.push(sizeBytes);
    if (this.#spans.length >= this.#nextSweepLength) this.#sweep();
  }

  /** The live code that begins at an address. */
  at(start: Address): Added | undefined {
    for (const span of this.#spans.slice(this.#indexedLength)) {
      this.#positions.set(spanAccess.rx(span), this.#indexedLength);
      this.#indexedLength += 1;
    }
    const position = this.#positions.get(start) ?? -1;
    const span = this.#spans[position];
    const sizeBytes = this.#sizes[position];
    return span === undefined || sizeBytes === undefined || span.isReleased ? undefined : { span, sizeBytes };
  }

  /** Releases all that is still live. */
  releaseAll(): void {
    for (const span of this.#spans) span[Symbol.dispose]();
  }

  countLive(): number {
    this.#sweep();
    return this.#spans.length;
  }

  clear(): void {
    this.#shorten(0);
  }

  /** Drops what has ended. The lists may double before the next time, so that this costs each addition a constant time. */
  #sweep(): void {
    let kept = 0;
    this.#spans.forEach((span, position) => {
      if (span.isReleased) return;
      this.#spans[kept] = span;
      this.#sizes[kept] = this.#sizes[position] ?? 0;
      kept += 1;
    });
    this.#shorten(kept);
  }

  #shorten(length: number): void {
    this.#spans.length = length;
    this.#sizes.length = length;
    this.#nextSweepLength = Math.max(FIRST_SWEEP_LENGTH, 2 * length);
    if (this.#indexedLength === 0) return;
    this.#positions.clear();
    this.#indexedLength = 0;
  }
}
