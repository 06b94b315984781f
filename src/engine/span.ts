import { formatAddress } from "../base/errors.ts";
import { formatBytes, inspectCustom } from "../base/inspect.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import type { SpanKind } from "./kinds.ts";
import type { SpanToken } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";
import { spanNames } from "./span-names.ts";

/** The parts of a span that only the allocator sees. */
export interface SpanAccess {
  /** Whether a value is a span: not just looks like one. */
  readonly isSpan: (value: unknown) => value is Span;
  /** The value of `span.rx`, read past properties that a caller gave the span. */
  readonly rx: (span: Span) => Address;
  /** The value of `span.rw`, in the same way. */
  readonly rw: (span: Span) => Address;
  /** The span of a new allocation. */
  readonly make: (block: MappedBlock, granule: number) => Span;
  /** A span that is looked up in the table of generations, because its allocation may have other spans. */
  readonly makeChecked: (block: MappedBlock, granule: number, generation: number) => Span;
  readonly isChecked: (span: Span) => boolean;
  readonly block: (span: Span) => MappedBlock;
  /** The block of a span that was not released through itself and is not {@link isChecked}; undefined for any other value. */
  readonly uncheckedBlock: (value: unknown) => MappedBlock | undefined;
  /** The granule at which the span begins in its block; negative once it was released through this span. */
  readonly granule: (span: Span) => number;
  /** The generation or mark by which the span knows its allocation (core/generations.ts); mostly 0. */
  readonly generation: (span: Span) => number;
  /** Notes in the span that it was released. */
  readonly end: (span: Span) => void;
}

/** A {@link Span} as JSON: its state at that moment. */
export interface SpanJson {
  /** The address of the executable view. */
  readonly rx: Address;
  /** The address of the writable view. */
  readonly rw: Address;
  /** Bytes; 0 after the release. */
  readonly size: number;
  /** What the memory is for. */
  readonly kind: SpanKind;
  /** Whether the memory is no longer the span's. */
  readonly isReleased: boolean;
}

/** Set by the class below: nothing else can reach its private fields. */
let plainAccess: Pick<
  SpanAccess,
  "isSpan" | "rx" | "rw" | "make" | "block" | "uncheckedBlock" | "granule" | "isChecked" | "end"
> & {
  makeChecked(block: MappedBlock, granule: number): Span;
};

/** Bits of a span's place, of which none is set where the span is unchecked and was not released through itself. */
const enum Place {
  releasedOrChecked = -0x7fff_ffff, // the sign, and the lowest bit
}

/** The secret without which nobody can make a span: it never leaves this file. */
const key = Symbol("span");

/**
 * One live allocation of executable memory. Made by `JitAllocator.alloc`, `query` and `spanOf`. The object belongs to the
 * thread that made it; send its `token` or its `rx` to another one.
 *
 * A span knows when its memory is gone: after the release (through any span or address), a reset or the disposal of its
 * allocator, every access throws `ERR_RELEASED`, even if the memory is in use again. The addresses, the size (0) and
 * `isReleased` can still be read.
 *
 * @example
 * ```ts
 * using span = allocator.alloc(16);
 * span.write(0, new Uint8Array([0x8d, 0x04, 0x37, 0xc3])); // lea eax, [rdi + rsi]; ret
 * ```
 */
export class Span implements Disposable {
  // As few fields as possible, and no doubles: most of a span's cost is garbage collection.
  readonly #block: MappedBlock;
  /** Twice the granule, plus 1 where the span is checked; the complement of that once it was released through itself. */
  #place: number;

  static {
    plainAccess = {
      isSpan: (value): value is Span => typeof value === "object" && value !== null && #block in value,
      rx: (span) => span.#block.rx + span.#offset(),
      rw: (span) => span.#block.rw + span.#offset(),
      make: (block, granule) => new Span(key, block, granule << 1),
      makeChecked: (block, granule) => new Span(key, block, (granule << 1) | 1),
      block: (span) => span.#block,
      uncheckedBlock(value) {
        if (typeof value !== "object" || value === null || !(#block in value)) return undefined;
        return (value.#place & Place.releasedOrChecked) === 0 ? value.#block : undefined;
      },
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

  /** The address of the executable view, where the code runs. It stays the same after the release. */
  get rx(): Address {
    return plainAccess.rx(this);
  }

  /** What the memory is for: see {@link SpanKind}. It stays the same after the release. */
  get kind(): SpanKind {
    return this.#block.kind;
  }

  /** The address of the writable view. Equal to `rx` for data, and unless the allocator maps its memory twice (`useDualMapping`). */
  get rw(): Address {
    return this.#block.rw + this.#offset();
  }

  /** Bytes from the start of the block. A method, because engines call into their runtime for a private getter. */
  #offset(): number {
    const place = this.#place;
    return ((place < 0 ? ~place : place) >> 1) << this.#block.granuleShift;
  }

  /**
   * The span as a message to another thread that shares the allocator: see {@link SpanToken}. The token of a released
   * span is refused there with `ERR_RELEASED`.
   */
  get token(): SpanToken {
    return this.#block.owner.tokenOf(this);
  }

  /** Bytes: the requested size, rounded up to the granularity; less after a shrink, 0 after the release. */
  get size(): number {
    return this.#block.owner.sizeOf(this);
  }

  /** Whether the memory is no longer this span's. */
  get isReleased(): boolean {
    return !this.#block.owner.isLive(this);
  }

  /**
   * Whether `other` is a span of the same live allocation; a released span equals only itself. For assertions that compare
   * own properties alone, of which a span has none: Bun's `expect`, for example, takes any two spans for equal.
   */
  equals(other: unknown): boolean {
    if (other === this) return true;
    const isSamePlace = plainAccess.isSpan(other) && plainAccess.rx(other) === plainAccess.rx(this);
    // Two live spans at one address are of one allocation.
    return isSamePlace && other.#block.owner.isLive(other) && this.#block.owner.isLive(this);
  }

  /** The span's state as `JSON.stringify` writes it: addresses and size (bytes) as numbers. */
  toJSON(): SpanJson {
    return { rx: this.rx, rw: this.rw, size: this.size, kind: this.kind, isReleased: this.isReleased };
  }

  /**
   * The printed name: `Span 0x7f12_0040_1010`. By it `assert.deepStrictEqual` tells spans apart. A released span has a
   * number as well, since its memory may be another allocation's by now.
   */
  get [Symbol.toStringTag](): string {
    if (!plainAccess.isSpan(this)) return "Span"; // the prototype, or an object that inherits from it
    const text = `Span ${formatAddress(this.rx)}`;
    return this.isReleased ? numbered(`${text}, released`, this) : text;
  }

  /** What consoles show: `Span "add" rx 0x7f12_0040_1010 64 bytes, live`. @internal */
  [inspectCustom](): string {
    if (!plainAccess.isSpan(this)) return "Span";
    const place = `rx ${formatAddress(this.rx)}`;
    const kind = this.kind === "code" ? "" : ` of ${this.kind}`;
    if (this.isReleased) return `Span ${place}${kind}, released`;
    const name = spanNames.nameOf?.(this);
    const title = name === undefined ? "Span" : `Span ${JSON.stringify(name)}`;
    return `${title} ${place} ${formatBytes(this.size)}${kind}, live`;
  }

  /**
   * Writes `bytes` at `offset` bytes from the start, and makes them safe to run.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where the bytes do not fit: nothing is written then
   */
  write(offset: number, bytes: Uint8Array): void {
    this.#block.owner.writeBytes(this, offset, bytes, "default");
  }

  /**
   * Replaces 1, 2, 4 or 8 bytes of code, or constants, in one access, while other threads may be running or reading them:
   * each of them meets the old bytes or the new ones, never a mixture. `offset` is a multiple of their number; on AArch64
   * code is replaced by the word, one instruction. To be right for whoever runs it, what is replaced must lie in these bytes
   * whole: an instruction that goes on behind them is one of old and new parts.
   *
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` for any other number of bytes, for an offset that is no multiple
   *   of it or not inside the span, and for a span of data; `ERR_FEATURE_NOT_ENABLED` on an unknown processor. Where the
   *   flush of the instruction cache fails, its error is thrown and the bytes are replaced
   */
  patch(offset: number, bytes: Uint8Array): void {
    this.#block.owner.patch(this, offset, bytes);
  }

  /**
   * Returns a copy of `length` bytes from `offset` on; by default, up to the end of the span.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where the range is not inside the span; `ERR_OUT_OF_MEMORY`
   *   where there is no memory for the copy
   */
  read(offset = 0, length?: number): Uint8Array {
    return this.#block.owner.read(this, offset, length);
  }

  /**
   * Keeps the first `newSize` bytes, rounded up to the granularity of its pool, and releases the rest; 0 releases all.
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where `newSize` is larger than {@link size}
   */
  shrink(newSize: number): void {
    this.#block.owner.shrink(this, newSize);
  }

  /**
   * Releases the memory. If the code may be running it ends now, and its memory is used again later: see
   * `JitAllocator.retire`.
   * @throws JitError `ERR_RELEASED` where the memory was released before; the system's refusal to unmap an empty block
   */
  release(): void {
    this.#block.owner.release(this);
  }

  /** Releases the span while its code may be running: see `JitAllocator.retire`. @throws JitError as {@link release} */
  retire(): void {
    this.#block.owner.release(this);
  }

  /** Releases the span if it is still live: the end of a `using` block. */
  [Symbol.dispose](): void {
    this.#block.owner.releaseIfLive(this);
  }
}

/** A span that knows a generation or a mark. A class of its own: few spans do, and each field costs garbage collection. */
class NumberedSpan extends Span {
  readonly #generation: number;

  static {
    // To everybody else it is a Span. A caller who got hold of this class could put another above it, and be given the key.
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
