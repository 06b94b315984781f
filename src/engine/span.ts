import { formatAddress } from "../base/errors.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import type { SpanToken } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** The parts of a span that only the allocator sees. */
export interface SpanAccess {
  /** Whether a value is a span: not just looks like one. */
  readonly isSpan: (value: unknown) => value is Span;
  /** What `span.rx` is, whatever properties the span was given. */
  readonly rx: (span: Span) => Address;
  /** The span of a new allocation. */
  readonly make: (block: MappedBlock, granule: number) => Span;
  /** One whose life is looked up in the table of generations: of an allocation that may have others. */
  readonly makeChecked: (block: MappedBlock, granule: number, generation: number) => Span;
  readonly isChecked: (span: Span) => boolean;
  readonly block: (span: Span) => MappedBlock;
  /** Where it begins in its block; negative once it was released through this span. */
  readonly granule: (span: Span) => number;
  /** What it knows its allocation by: see core/generations.ts. 0 of most. */
  readonly generation: (span: Span) => number;
  /** From now on the span knows that it was released. */
  readonly end: (span: Span) => void;
}

/** A {@link Span} as JSON: what can be read of it at that moment. */
export interface SpanJson {
  /** The address of the executable view. */
  readonly rx: Address;
  /** The address of the writable view. */
  readonly rw: Address;
  /** Bytes; 0 after the release. */
  readonly size: number;
  /** Whether the memory is no longer the span's. */
  readonly isReleased: boolean;
}

/** Set by the class below, which alone can reach its private fields. */
let plainAccess: Pick<SpanAccess, "isSpan" | "rx" | "make" | "block" | "granule" | "isChecked" | "end"> & {
  makeChecked(block: MappedBlock, granule: number): Span;
};

/** Without it nobody can make a span: it never leaves this file. */
const key = Symbol("span");

/**
 * A live piece of executable memory. Made by `JitAllocator.alloc`, `query` and `spanOf`. The object belongs to the thread
 * that made it; to another one its `token` or its `rx` is sent.
 *
 * A span knows when its memory is gone: after the release (through whichever span or address), a reset or the
 * disposal of its allocator, every access throws `ERR_RELEASED`, also when the same place has been handed out again.
 * The addresses, the size (0) and `isReleased` can still be read.
 *
 * @example
 * ```ts
 * using span = allocator.alloc(16);
 * span.write(0, new Uint8Array([0x8d, 0x04, 0x37, 0xc3])); // lea eax, [rdi + rsi]; ret
 * ```
 */
export class Span implements Disposable {
  // As little as will do, and no doubles: what a span costs is mostly what the collector does with it.
  readonly #block: MappedBlock;
  /** Twice the granule, and 1 where its life is looked up; the complement of that once it was released through itself. */
  #place: number;

  static {
    plainAccess = {
      isSpan: (value): value is Span => typeof value === "object" && value !== null && #block in value,
      rx: (span) => span.#block.rx + span.#offset(),
      make: (block, granule) => new Span(key, block, granule << 1),
      makeChecked: (block, granule) => new Span(key, block, (granule << 1) | 1),
      block: (span) => span.#block,
      granule: (span) => span.#place >> 1,
      isChecked: (span) => (span.#place & 1) !== 0,
      end: (span) => {
        if (span.#place >= 0) span.#place = ~span.#place;
      },
    };
  }

  /** @internal */
  constructor(secret: symbol, block: MappedBlock, place: number) {
    if (secret !== key) throw new TypeError("Cannot make a Span: ask a JitAllocator for one with alloc()");
    this.#block = block;
    this.#place = place;
  }

  /** Where the code runs: read and execute. The address stays what it was after the release. */
  get rx(): Address {
    return plainAccess.rx(this);
  }

  /** Where the code is written: read and write. Equal to `rx` unless the allocator maps its memory twice. */
  get rw(): Address {
    return this.#block.rw + this.#offset();
  }

  /** Bytes from the start of the block. A method: engines call their runtime for a private getter. */
  #offset(): number {
    const place = this.#place;
    return ((place < 0 ? ~place : place) >> 1) << this.#block.granuleShift;
  }

  /** The span as a message to another thread that has the same allocator: see {@link SpanToken}. */
  get token(): SpanToken {
    return this.#block.owner.tokenOf(this);
  }

  /** Bytes: what was asked for, rounded up to the granularity; less after a shrink, 0 after the release. */
  get size(): number {
    return this.#block.owner.sizeOf(this);
  }

  /** Whether the memory is no longer this span's. */
  get isReleased(): boolean {
    return !this.#block.owner.isLive(this);
  }

  /**
   * Whether `other` is a span of the same live allocation; a released span equals itself alone. For assertions of kinds
   * that compare nothing but own properties, of which a span has none: Bun's `expect`, for example, takes any two for equal.
   */
  equals(other: unknown): boolean {
    if (other === this) return true;
    const isSamePlace = plainAccess.isSpan(other) && plainAccess.rx(other) === plainAccess.rx(this);
    // Live memory has one allocation at a place.
    return isSamePlace && other.#block.owner.isLive(other) && this.#block.owner.isLive(this);
  }

  /** What `JSON.stringify` writes: what can be read of the span now, addresses and size in bytes as numbers. */
  toJSON(): SpanJson {
    return { rx: this.rx, rw: this.rw, size: this.size, isReleased: this.isReleased };
  }

  /**
   * `Span 0x7f12_0040_1010`: how a span is printed, and what tells it from others to `assert.deepStrictEqual`. A released
   * span has a number as well, since its place may be another's by now.
   */
  get [Symbol.toStringTag](): string {
    if (!plainAccess.isSpan(this)) return "Span"; // the prototype, or what was made of it
    const text = `Span ${formatAddress(this.rx)}`;
    return this.isReleased ? numbered(`${text}, released`, this) : text;
  }

  /**
   * Writes `bytes` at `offset` bytes from the start, and makes them safe to run.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where they do not fit: nothing is written then
   */
  write(offset: number, bytes: Uint8Array): void {
    this.#block.owner.write(this, offset, bytes);
  }

  /**
   * A copy of `length` bytes from `offset` on; without arguments, of all of it.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where the range is not inside the span
   */
  read(offset = 0, length?: number): Uint8Array {
    return this.#block.owner.read(this, offset, length);
  }

  /**
   * Keeps the first `newSize` bytes, rounded up to the granularity of its pool, and releases the rest; 0 releases all.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where `newSize` is more than it has
   */
  shrink(newSize: number): void {
    this.#block.owner.shrink(this, newSize);
  }

  /**
   * Gives the memory back. The code must not be running, or be called again.
   * @throws JitError `ERR_RELEASED` where it was given back before
   */
  release(): void {
    this.#block.owner.release(this);
  }

  /** Releases the span if it is still live: the end of a `using` block. */
  [Symbol.dispose](): void {
    this.#block.owner.releaseIfLive(this);
  }
}

/** A span that knows a generation, or a mark. Apart, because few do, and the collector carries each field around. */
class NumberedSpan extends Span {
  readonly #generation: number;

  static {
    // For everybody else it is a Span. Who had this class could put another one above it, which would be given the key.
    Object.defineProperty(this.prototype, "constructor", { value: Span });
  }

  constructor(secret: symbol, block: MappedBlock, granule: number, generation: number) {
    super(secret, block, (granule << 1) | 1);
    this.#generation = generation;
  }

  static generationOf(span: Span): number {
    return #generation in span ? span.#generation : 0;
  }
}

/** Not exported by the package. */
export const spanAccess: SpanAccess = {
  ...plainAccess,
  makeChecked: (block, granule, generation) =>
    generation === 0
      ? plainAccess.makeChecked(block, granule)
      : new NumberedSpan(key, block, granule, generation),
  generation: (span) => NumberedSpan.generationOf(span),
};
