import { verifyStructure } from "./core/verify.ts";
import { granulesOf, liveCountOf, totalLiveCount, totalUsedBytes, usedBytesOf } from "./core/survey.ts";
import { Engine } from "./engine.ts";
import type { Address } from "./ffi/contract.ts";
import { resolveOptions } from "./options.ts";
import type { BooleanOption, JitAllocatorOptions, ResolvedJitAllocatorOptions } from "./options.ts";
import { refuseValue } from "./refusals.ts";
import type { Span } from "./span.ts";
import { makeStatistics } from "./statistics.ts";
import type { BlockInfo, Statistics } from "./statistics.ts";
import type { VirtualMemory } from "./vm/contract.ts";
import { systemMemory } from "./vm/select.ts";
import { WriteScope } from "./write-scope.ts";
import type { CachePolicy } from "./write-scope.ts";

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
  readonly #engine: Engine;

  /**
   * Makes an allocator. Nothing is mapped before the first allocation.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for an option that does not exist or can never be right;
   *   `ERR_FEATURE_NOT_ENABLED` where this system or runtime offers no executable memory.
   */
  constructor(options?: JitAllocatorOptions);
  /** @internal */
  constructor(options: JitAllocatorOptions | undefined, memory: VirtualMemory);
  constructor(options: JitAllocatorOptions = {}, memory: VirtualMemory = systemMemory()) {
    this.options = resolveOptions(options, memory);
    this.#engine = new Engine(this.options, memory);
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
   * The memory holds what was there before, or the fill pattern. Its cost depends on no number of holes or blocks.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT`, `ERR_TOO_LARGE`; `ERR_OUT_OF_MEMORY` where the system or
   *   `maxReservedSize` has no room; `ERR_PERMISSION`, `ERR_TOO_MANY_HANDLES` or `ERR_FEATURE_NOT_ENABLED` where the
   *   system refuses such memory; `ERR_DISPOSED`
   */
  alloc(size: number): Span {
    return this.#engine.alloc(size);
  }

  /**
   * The same without the object: the address of the executable view, for hot paths and for code that keeps its own
   * records. Such an allocation is released, shrunk and queried by its address.
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
   * Keeps the first `newSize` bytes of an allocation, rounded up to the granularity, and releases the rest.
   * 0 releases all of it.
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
   * The same without the object: the address (rx) at which the allocation begins that contains `rx`.
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
    const engine = this.#engine;
    if (typeof offsetOrFill === "function") {
      engine.writeCallback(target, offsetOrFill, checkPolicy(bytesOrPolicy));
    } else {
      engine.writeBytes(target, offsetOrFill, bytesOrPolicy as Uint8Array, checkPolicy(policy));
    }
  }

  /**
   * Batches writes: one flush of the instruction cache at the end instead of one a write.
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown policy; `ERR_DISPOSED`
   */
  writeScope(policy?: CachePolicy): WriteScope {
    this.#engine.checkOpen("write");
    return new WriteScope(this.#engine, checkPolicy(policy));
  }

  /** What is allocated and reserved now. All zero but the overhead after the disposal. */
  statistics(): Statistics {
    const { core } = this.#engine;
    return makeStatistics(
      core.blockCount,
      totalLiveCount(core.words),
      totalUsedBytes(core.words),
      core.reservedBytes,
      core.overheadBytes,
    );
  }

  /** Every mapped block and what is where in it, in the order of their addresses: a copy, for tools and pictures. */
  blocks(): BlockInfo[] {
    const { core, blocks } = this.#engine;
    return blocks.all().map((mapped) => ({
      rx: mapped.rx,
      rw: mapped.rw,
      size: mapped.sizeBytes,
      granularity: 2 ** mapped.granuleShift,
      allocationCount: liveCountOf(core.words, mapped.block),
      usedSize: usedBytesOf(core.words, mapped.block),
      granules: granulesOf(core.words, mapped.block),
    }));
  }

  /**
   * Releases everything at once: every span and function of before throws `ERR_RELEASED` from then on.
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
    const { core, blocks } = this.#engine;
    verifyStructure(core.words, core.doubles);
    for (const mapped of blocks.all()) {
      if (!mapped.isMapped) throw new Error("invariant 15 is broken: a block of the core is not mapped");
    }
  }

  /**
   * Unmaps every block. Idempotent. From then on whatever would allocate, release, look up or write throws
   * `ERR_DISPOSED`, every span and function `ERR_RELEASED`; the options, `statistics`, `blocks` and `verify` still tell.
   *
   * @throws JitError what the system refused: that block stays mapped, and the call can be repeated
   */
  dispose(): void {
    this.#engine.dispose();
  }

  /** = {@link dispose}: the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkPolicy(policy: unknown): CachePolicy {
  if (policy === undefined) return "default";
  if (policy !== "default" && policy !== "flush" && policy !== "never") {
    throw refuseValue("write with cache policy", policy, 'the policy is "default", "flush" or "never"');
  }
  return policy;
}
