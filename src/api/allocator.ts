import { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import { checkStackSize } from "../base/stack.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import { resolveOptions } from "../engine/options.ts";
import type { BooleanOption, JitAllocatorOptions, ResolvedJitAllocatorOptions } from "../engine/options.ts";
import { refuseValue } from "../engine/refusals.ts";
import { attachEngine, handleOf, shareEngine } from "../sharing/handle.ts";
import type { SharedAllocator } from "../sharing/handle.ts";
import { SharedEngine } from "../sharing/shared-engine.ts";
import type { MemberInfo, Membership } from "../sharing/membership.ts";
import type { SpanToken } from "../engine/contract.ts";
import type { Span } from "../engine/span.ts";
import type { BlockInfo, Statistics } from "../engine/statistics.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { systemMemory } from "../vm/select.ts";
import { WriteScope, writeByCallback } from "../engine/write-scope.ts";
import type { CachePolicy } from "../engine/write-scope.ts";

/**
 * Hands out executable memory: asmjit's JitAllocator. Pieces are multiples of the granularity, cut from large mapped
 * blocks; nothing but code is ever stored in them.
 *
 * Whatever throws has changed nothing. No method touches memory that is not mapped, whatever it is given.
 *
 * @example
 * ```ts
 * using allocator = new JitAllocator();
 * const span = allocator.alloc(64);
 * allocator.write(span, 0, new Uint8Array([0x8d, 0x04, 0x37, 0xc3])); // lea eax, [rdi + rsi]; ret
 * const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
 * add(2, 3); // 5
 * ```
 */
export class JitAllocator implements Disposable {
  /** Every option, with the value in force. */
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #memory: VirtualMemory;
  readonly #isAttached: boolean;
  /** An Engine, which takes no lock; from `share` on, and where the allocator is attached, a SharedEngine. */
  #engine: Engine | SharedEngine;

  /**
   * Makes an allocator. Nothing is mapped before the first allocation.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for an option that does not exist or can never be right;
   *   `ERR_FEATURE_NOT_ENABLED` where this system or runtime offers no executable memory.
   */
  constructor(options?: JitAllocatorOptions);
  /** @internal */
  constructor(options: JitAllocatorOptions | undefined, memory: VirtualMemory, attached?: SharedEngine);
  constructor(options: JitAllocatorOptions = {}, given?: VirtualMemory, attached?: SharedEngine) {
    checkStackSize("make an allocator");
    const memory = memoryOr(given);
    this.options = attached?.engine.options ?? resolveOptions(options, memory);
    this.#memory = memory;
    this.#engine = attached ?? new Engine(this.options, memory);
    this.#isAttached = attached !== undefined;
  }

  /**
   * The allocator of another thread, in this one: the same blocks and allocations, the same methods.
   *
   * The attachment ends with the thread, or with {@link detach}; the end of a `using` block detaches. What this thread
   * has allocated then stays allocated: see {@link allocationsOf}.
   *
   * @param handle what {@link share} returned there
   * @throws JitError `ERR_INVALID_ARGUMENT` for anything else; `ERR_OUT_OF_MEMORY` where 1,023 threads have it at this moment;
   *   `ERR_DISPOSED`
   * @example
   * ```ts
   * const handle = allocator.share(); // postMessage(handle), or workerData
   * const shared = JitAllocator.attach(handle); // in the worker
   * const address = shared.allocAddress(256);
   * allocator.release(address); // any thread may
   * ```
   */
  static attach(handle: SharedAllocator): JitAllocator;
  /** @internal */
  // eslint-disable-next-line @typescript-eslint/unified-signatures -- the other one is the public signature
  static attach(handle: SharedAllocator, memory: VirtualMemory): JitAllocator;
  static attach(handle: SharedAllocator, given?: VirtualMemory): JitAllocator {
    const memory = memoryOr(given);
    const attached = attachEngine(handle, memory);
    try {
      attached.checkOpen("attach");
    } catch (error) {
      attached.detach();
      throw error;
    }
    return new JitAllocator(undefined, memory, attached);
  }

  /**
   * Makes the allocator one that other threads can have too, and returns what `postMessage` or `workerData` carries to
   * them. From then on each operation takes a lock; before, none does. Calling it again returns the same.
   *
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no room for what is kept of each allocation then; `ERR_DISPOSED`
   */
  share(): SharedAllocator {
    this.#engine.checkOpen("share");
    if (this.#engine instanceof Engine) this.#engine = shareEngine(this.#engine, this.#memory);
    return handleOf(this.#engine);
  }

  /** The number of this thread among those that share the allocator, from 1; 0 where it is not shared. */
  get memberId(): number {
    return this.#engine instanceof Engine ? 0 : this.#engine.memberId;
  }

  /**
   * The threads that have, or had, a part in this allocator; none where it is not shared. Where threads that are over
   * left something allocated and others have their numbers now, the last one listed is the estate, with the number 0.
   */
  members(): MemberInfo[] {
    return this.#engine instanceof Engine ? [] : this.#engine.membership.list();
  }

  /**
   * Where each allocation begins (rx) that a thread made and nobody released, whether it lives or not. For what a
   * worker held that was terminated.
   *
   * A number is given to another thread only when all 1,023 were given once. What a thread left goes to the estate
   * then, number 0, if no number is to be had of a thread that left nothing.
   *
   * @param memberId its `memberId`, or 0 for the estate
   * @throws JitError `ERR_INVALID_ARGUMENT` where no thread has, or had, that number
   */
  allocationsOf(memberId: number): Address[] {
    return this.#sharedBy(memberId).allocationsOf(memberId);
  }

  /**
   * Releases all that {@link allocationsOf} lists, and returns how much that was. No code of it may be running.
   *
   * Where the system refuses to unmap a block, the last allocation in it stays as it was, all others are released, and
   * the error is thrown, which says how many were; call again.
   *
   * @throws JitError as {@link allocationsOf}; what the system refused
   */
  releaseAllOf(memberId: number): number {
    return this.#sharedBy(memberId).releaseAllOf(memberId);
  }

  /**
   * Makes all that {@link allocationsOf} lists this thread's, and returns how much that was: from then on it counts as
   * allocated here, and nothing else changes. For what a worker made that is over, and that others go on using.
   *
   * @param memberId that of a thread that has ended or detached, or 0 for the estate
   * @throws JitError as {@link allocationsOf}; `ERR_INVALID_ARGUMENT` where that thread still has its part
   * @example
   * ```ts
   * allocator.share();
   * for (const { id, hasLeft } of allocator.members()) if (hasLeft) allocator.adopt(id);
   * ```
   */
  adopt(memberId: number): number {
    return this.#sharedBy(memberId).adopt(memberId);
  }

  /** Those who share the allocator, where one of them has that number. */
  #sharedBy(memberId: unknown): Membership {
    const membership = this.#engine instanceof SharedEngine ? this.#engine.membership : undefined;
    if (membership?.has(memberId) === true) return membership;
    const wanted =
      membership === undefined ? "the allocator is not shared" : "no thread has, or had, that number";
    throw refuseValue("look up member", memberId, wanted);
  }

  /**
   * Ends this thread's part in the allocator, for which it goes on elsewhere: this object and its spans can no longer
   * be used, what it allocated stays allocated. Idempotent.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` where the allocator is not shared: it would be lost
   */
  detach(): void {
    if (this.#engine instanceof Engine) {
      throw new JitError(
        "ERR_INVALID_ARGUMENT",
        "Cannot detach: the allocator is not shared, and nobody could dispose of it; call dispose()",
      );
    }
    this.#engine.detach();
  }

  /**
   * Whether an option is on.
   * @throws JitError `ERR_INVALID_ARGUMENT` for a name that is no boolean option's
   */
  hasOption(option: BooleanOption): boolean {
    // Only of a string: another value would be made one, which runs code of its own, or fails.
    const isKnown = typeof option === "string" && Object.hasOwn(this.options, option);
    const value: unknown = isKnown ? this.options[option] : undefined;
    if (typeof value !== "boolean") throw refuseValue("look up", option, "there is no such boolean option");
    return value;
  }

  /** Bytes: the base block size, the smallest block that is ever mapped. */
  get blockSize(): number {
    return this.options.blockSize;
  }

  /** Bytes: the base granularity, and the alignment of every allocation. */
  get granularity(): number {
    return this.options.granularity;
  }

  /** The unsigned 32-bit word that unused memory is filled with, where that is switched on. */
  get fillPattern(): number {
    return this.options.fillPattern;
  }

  /**
   * Allocates `size` bytes (1 to 2 GiB − granularity), rounded up to the granularity.
   * The memory holds what was there before, or the fill pattern. Over many calls the number of steps does not grow with
   * the number of holes or blocks; what the caches miss does.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT`, `ERR_TOO_LARGE`; `ERR_OUT_OF_MEMORY` where the system or
   *   `maxReservedSize` has no room; `ERR_PERMISSION`, `ERR_TOO_MANY_HANDLES` or `ERR_FEATURE_NOT_ENABLED` where the
   *   system refuses such memory; `ERR_DISPOSED`
   */
  alloc(size: number): Span {
    return this.#engine.alloc(size);
  }

  /**
   * As {@link alloc}, without the object: the address of the executable view, for hot paths and for code that keeps its
   * own records. Such an allocation is released, shrunk and queried by its address; to write to it or call it, take
   * `query(address)`.
   *
   * @throws JitError as {@link alloc}
   */
  allocAddress(size: number): Address {
    return this.#engine.allocAddress(size);
  }

  /**
   * Gives an allocation back, by its span or by the address (rx) it begins at. The code must not be running.
   *
   * @throws JitError `ERR_RELEASED` for a span released before, whatever is at its place now; `ERR_NOT_ALLOCATED`,
   *   `ERR_INTERIOR_ADDRESS`, `ERR_UNKNOWN_ADDRESS` (also for an rw address); `ERR_INVALID_ARGUMENT`; `ERR_DISPOSED`
   */
  release(target: Span | Address): void {
    this.#engine.release(target);
  }

  /**
   * Keeps the first `newSize` bytes of an allocation, rounded up to the granularity of its pool, and releases the rest; 0
   * releases all of it. A pool has {@link granularity}, or with `useMultiplePools` once, twice or four times that.
   *
   * @throws JitError as {@link release}; `ERR_INVALID_ARGUMENT` where `newSize` is more than it has
   */
  shrink(target: Span | Address, newSize: number): void {
    this.#engine.shrink(target, newSize);
  }

  /**
   * The allocation that contains an address (rx): its whole span, whichever byte of it was given.
   *
   * @throws JitError `ERR_UNKNOWN_ADDRESS`, `ERR_NOT_ALLOCATED`, `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`
   */
  query(rx: Address): Span {
    return this.#engine.query(rx);
  }

  /**
   * The span that a token tells of: how a span gets to another thread.
   *
   * @param token what `span.token` gave
   * @throws JitError `ERR_RELEASED` where that allocation was released, also when its place was handed out again;
   *   `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`
   */
  spanOf(token: SpanToken): Span {
    if (typeof token !== "object" || (token as unknown) === null) {
      throw refuseValue("look up", token, "the token must be one that a span gave");
    }
    // The token is a caller's object, and reading it may run code of the caller's: before anything is looked at.
    const { rx, generation } = token;
    return this.#engine.spanOf({ rx, generation });
  }

  /**
   * As {@link query}, without the object: the address (rx) at which the allocation begins that contains `rx`.
   *
   * @throws JitError as {@link query}
   */
  queryAddress(rx: Address): Address {
    return this.#engine.queryAddress(rx);
  }

  /**
   * Writes code, and makes it safe to run. Either `bytes` at `offset`; or what a callback leaves in the buffer it
   * gets: a copy of the whole span, copied back when it returns. A number that it returns is how many bytes to keep:
   * the span shrinks to them. If it throws, nothing is written.
   *
   * @param policy when the instruction cache is flushed: `default` = where the processor needs it, `flush`, `never`
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where the bytes do not fit: nothing is written then
   */
  write(target: Span, offset: number, bytes: Uint8Array, policy?: CachePolicy): void;
  write(target: Span, fill: (code: Uint8Array) => number | void, policy?: CachePolicy): void;
  write(
    target: Span,
    offsetOrFill: number | ((code: Uint8Array) => number | void),
    bytesOrPolicy?: Uint8Array | CachePolicy,
    policy?: CachePolicy,
  ): void {
    if (typeof offsetOrFill === "function") {
      writeByCallback(() => this.#engine, target, offsetOrFill, checkPolicy(bytesOrPolicy));
    } else {
      this.#engine.writeBytes(target, offsetOrFill, bytesOrPolicy as Uint8Array, checkPolicy(policy));
    }
  }

  /**
   * Batches writes: one flush of the instruction cache at the end instead of one a write.
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown policy; `ERR_DISPOSED`
   */
  writeScope(policy?: CachePolicy): WriteScope {
    this.#engine.checkOpen("write");
    return new WriteScope(() => this.#engine, checkPolicy(policy));
  }

  /** What is allocated and reserved now. All zero but the overhead after the disposal. */
  statistics(): Statistics {
    return this.#engine.statistics();
  }

  /** Every mapped block and what is where in it, in the order of their addresses: a copy, for tools and pictures. */
  blocks(): BlockInfo[] {
    return this.#engine.describeBlocks();
  }

  /**
   * Releases everything at once: all earlier spans and functions throw `ERR_RELEASED` from then on.
   * `soft` keeps one block per pool mapped (none with `immediateRelease`), `hard` none.
   *
   * Where the system refuses to unmap a block, that block stays as it was and the error is thrown; call again.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown policy; `ERR_DISPOSED`; what the system refused
   */
  reset(policy: "soft" | "hard" = "soft"): void {
    if (policy !== "soft" && (policy as unknown) !== "hard") {
      throw refuseValue("reset with policy", policy, 'the policy is "soft" or "hard"');
    }
    this.#engine.reset(policy);
  }

  /**
   * Walks the whole structure and throws at the first broken invariant (docs/invariants.md), which would be a bug of
   * this library. Its cost grows with what is mapped: for tests.
   */
  verify(): void {
    this.#engine.verify();
  }

  /**
   * Unmaps every block, for all threads that share it. Idempotent. From then on whatever would allocate, release, look
   * up or write throws `ERR_DISPOSED`, every span and function `ERR_RELEASED`; the options, `statistics`, `blocks` and
   * `verify` still tell.
   *
   * @throws JitError what the system refused: that block stays mapped, and the call can be repeated
   */
  dispose(): void {
    this.#engine.dispose();
  }

  /** How the allocator is printed: `JitAllocator 3`. The number tells it from others of this thread, to assertions too. */
  get [Symbol.toStringTag](): string {
    return numbered("JitAllocator", this);
  }

  /** The end of a `using` block: {@link dispose}, or {@link detach} where the allocator was attached to. */
  [Symbol.dispose](): void {
    if (this.#isAttached) this.detach();
    else this.dispose();
  }
}

/** Of the internal parameter, which `handles.map(JitAllocator.attach)` passes an index for. */
function memoryOr(given: VirtualMemory | undefined): VirtualMemory {
  return typeof given === "object" ? given : systemMemory();
}

function checkPolicy(policy: unknown): CachePolicy {
  if (policy === undefined) return "default";
  if (policy !== "default" && policy !== "flush" && policy !== "never") {
    throw refuseValue("write with cache policy", policy, 'the policy is "default", "flush" or "never"');
  }
  return policy;
}
