import { JitError } from "./errors.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { Span } from "./span.ts";

/** When code that was written is made safe to run: `default` = where the processor needs it. */
export type CachePolicy = "default" | "flush" | "never";

/** What a write scope asks of its allocator. */
export interface WriteScopeOwner {
  /** Refuses what is not bytes. */
  writeBytes(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void;
  writeCallback(span: Span, fill: (code: Uint8Array) => number | void, policy: CachePolicy): void;
  blockOf(span: Span): MappedBlock;
  flushRange(block: MappedBlock, start: number, end: number): void;
}

/**
 * Batches writes: each is in memory at once, but the instruction cache is made coherent in one go, by `flush()` or
 * at the end of the `using` block. Until then the code must not run. A scope belongs to one thread.
 *
 * @example
 * ```ts
 * using scope = allocator.writeScope();
 * for (const [span, code] of compiled) scope.write(span, 0, code);
 * ```
 */
export class WriteScope implements Disposable {
  /** Asked for each time: an allocator that is shared in between goes by another way from then on. */
  readonly #owner: () => WriteScopeOwner;
  readonly #flushes: boolean;
  /** Per block the range that was written, in bytes from its start. */
  readonly #written = new Map<MappedBlock, { start: number; end: number }>();
  #isDisposed = false;

  /** @internal */
  constructor(owner: () => WriteScopeOwner, policy: CachePolicy) {
    this.#owner = owner;
    this.#flushes = policy !== "never";
  }

  /**
   * Writes as `JitAllocator.write` does, without the flush.
   * @throws JitError as there, and `ERR_DISPOSED` after the end of the scope
   */
  write(target: Span, offset: number, bytes: Uint8Array): void;
  write(target: Span, fill: (code: Uint8Array) => number | void): void;
  write(
    target: Span,
    offsetOrFill: number | ((code: Uint8Array) => number | void),
    bytes?: Uint8Array,
  ): void {
    this.#checkOpen("write in");
    const owner = this.#owner();
    if (typeof offsetOrFill === "function") owner.writeCallback(target, offsetOrFill, "never");
    else owner.writeBytes(target, offsetOrFill, bytes, "never");
    const size = target.size;
    if (!this.#flushes || size === 0) return; // a callback, or another thread, may have released it
    const block = owner.blockOf(target);
    const start = target.rx - block.rx;
    const end = start + size;
    const range = this.#written.get(block);
    if (range === undefined) {
      this.#written.set(block, { start, end });
    } else {
      range.start = Math.min(range.start, start);
      range.end = Math.max(range.end, end);
    }
  }

  /** Makes everything that was written so far safe to run. @throws JitError `ERR_DISPOSED` after the end of the scope */
  flush(): void {
    this.#checkOpen("flush");
    this.#flushAll();
  }

  /** Flushes, and ends the scope. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#flushAll();
    this.#isDisposed = true;
  }

  #flushAll(): void {
    const owner = this.#owner();
    for (const [block, { start, end }] of this.#written) owner.flushRange(block, start, end);
    this.#written.clear();
  }

  #checkOpen(action: string): void {
    if (this.#isDisposed) {
      throw new JitError("ERR_DISPOSED", `Cannot ${action} a write scope: it has ended; make another one`);
    }
  }
}
