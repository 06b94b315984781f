import { JitError } from "../base/errors.ts";
import { typedArrayLength } from "../base/intrinsics.ts";
import { numbered } from "../base/telling-apart.ts";
import type { CachePolicy, SpanOwner } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";
import { refuseValue } from "./refusals.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

/** Bytes between two writes up to which they are flushed as one: some cache lines cost less than a call. */
const LARGEST_GAP_BYTES = 2048;

interface Range {
  start: number;
  end: number;
}

/** The operations that a write scope calls on its allocator. */
export interface WriteScopeOwner extends Pick<SpanOwner, "writeBytes"> {
  copyToWrite(span: Span): Uint8Array;
  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): void;
  sizeOf(span: Span): number;
  flushRange(block: MappedBlock, start: number, end: number): void;
}

/** Writes to a span what a callback leaves in its copy of it. The callback may do anything, even share the allocator. */
export function writeByCallback(
  owner: () => WriteScopeOwner,
  span: Span,
  fill: (code: Uint8Array) => number | void,
  policy: CachePolicy,
): void {
  const code = owner().copyToWrite(span);
  const { buffer } = code; // before the callback can give `code` other properties
  const kept: unknown = fill(code);
  owner().writeBack(span, buffer, kept, policy);
}

/**
 * Batches writes: each write is in memory at once, but the instruction cache is flushed for all of them together, by
 * `flush()` or at the end of the `using` block. Until then the code must not run. A scope belongs to one thread.
 *
 * @example
 * ```ts
 * using scope = allocator.writeScope();
 * for (const [span, code] of compiled) scope.write(span, 0, code);
 * ```
 */
export class WriteScope implements Disposable {
  /** A function, because an allocator that becomes shared has another owner from then on. */
  readonly #owner: () => WriteScopeOwner;
  readonly #flushes: boolean;
  /** Per block the ranges that were written, in bytes from its start. */
  readonly #written = new Map<MappedBlock, Range[]>();
  #isDisposed = false;

  /** @internal */
  constructor(owner: () => WriteScopeOwner, policy: CachePolicy) {
    this.#owner = owner;
    this.#flushes = policy !== "never";
  }

  /**
   * Writes as `JitAllocator.write` does, without the flush.
   * @throws JitError as `JitAllocator.write`, and `ERR_DISPOSED` after the end of the scope
   */
  write(target: Span, offset: number, bytes: Uint8Array): void;
  write(target: Span, fill: (code: Uint8Array) => number | void): void;
  write(
    target: Span,
    offsetOrFill: number | ((code: Uint8Array) => number | void),
    bytes?: Uint8Array,
  ): void {
    this.#checkOpen("write in");
    if (typeof offsetOrFill === "function") {
      writeByCallback(this.#owner, target, offsetOrFill, "never");
      // The size is 0 where the callback, or another thread, has released the span.
      this.#note(target, 0, this.#owner().sizeOf(target));
    } else {
      this.#owner().writeBytes(target, offsetOrFill, bytes, "never");
      this.#note(target, offsetOrFill, typedArrayLength(bytes));
    }
    if (this.#isDisposed) this.#flushAll(); // the callback has ended the scope
  }

  #note(span: Span, offset: number, length: number): void {
    if (!this.#flushes || length === 0) return;
    const block = spanAccess.block(span);
    const start = spanAccess.rx(span) - block.rx + offset;
    const end = start + length;
    const ranges = this.#written.get(block) ?? [];
    const last = ranges.at(-1);
    if (
      last !== undefined &&
      start <= last.end + LARGEST_GAP_BYTES &&
      last.start <= end + LARGEST_GAP_BYTES
    ) {
      last.start = Math.min(last.start, start);
      last.end = Math.max(last.end, end);
    } else {
      ranges.push({ start, end });
      this.#written.set(block, ranges);
    }
  }

  /** Makes everything that was written so far safe to run. @throws JitError `ERR_DISPOSED` after the end of the scope */
  flush(): void {
    this.#checkOpen("flush");
    this.#flushAll();
  }

  /** The printed name: `WriteScope 3`. The number is unique in this thread, so that assertions tell scopes apart. */
  get [Symbol.toStringTag](): string {
    return numbered("WriteScope", this);
  }

  /** Flushes, and ends the scope. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#flushAll();
    this.#isDisposed = true;
  }

  #flushAll(): void {
    const owner = this.#owner();
    for (const [block, ranges] of this.#written) {
      for (const { start, end } of ranges) owner.flushRange(block, start, end);
    }
    this.#written.clear();
  }

  #checkOpen(action: string): void {
    if (this.#isDisposed) {
      throw new JitError("ERR_DISPOSED", `Cannot ${action} a write scope: it has ended; make another one`);
    }
  }
}

/** The cache policy that a caller named. @throws JitError `ERR_INVALID_ARGUMENT` where there is none of that name */
export function checkPolicy(policy: unknown): CachePolicy {
  if (policy === undefined) return "default";
  if (policy !== "default" && policy !== "flush" && policy !== "never") {
    throw refuseValue("write with cache policy", policy, 'the policy is "default", "flush" or "never"');
  }
  return policy;
}
