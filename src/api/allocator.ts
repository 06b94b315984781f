import { inspectAllocator } from "../insight/inspection.ts";
import { handOver, nameVeneer, nameWritten } from "../insight/naming.ts";
import { recordByEnvironment, stopRecording } from "../insight/recording.ts";
import { viewByEnvironment } from "../insight/view-server.ts";
import { allocAs, nameIn, type SpanInfo } from "./span-info.ts";
import { Engine } from "../engine/engine.ts";
import { checkStackSize } from "../base/stack.ts";
import { tell } from "../base/diagnostics.ts";
import { inspectCustom } from "../base/inspect.ts";
import { numbered } from "../base/telling-apart.ts";
import type { Address } from "../ffi/contract.ts";
import { SharingThreads } from "./sharing-threads.ts";
import { lookedUpBy } from "./interior.ts";
import { isOptionOn, memoryFor, resolveOptions } from "../engine/options.ts";
import type { BooleanOption, JitAllocatorOptions, ResolvedJitAllocatorOptions } from "../engine/options.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import { reaches } from "../engine/reach.ts";
import { checkDetail, checkResetPolicy, unsharedCannotDetach } from "../engine/refusals.ts";
import { attachEngine, handleOf, shareEngine, type SharedAllocator } from "../sharing/handle.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import { ModuleBuilder } from "../link/module.ts";
import { VeneerPool, type Veneer } from "../link/veneers.ts";
import type { CachePolicy, CodeRange, SpanToken } from "../engine/contract.ts";
import { readToken } from "../engine/span-identity.ts";
import type { Span } from "../engine/span.ts";
import type { DetailedStatistics } from "../engine/detailed-statistics.ts";
import type { BlockInfo, Statistics } from "../engine/statistics.ts";
import type { VirtualMemory } from "../vm/contract.ts";
import { memoryOr } from "../vm/select.ts";
import { WriteScope, checkPolicy, writeByCallback } from "../engine/write-scope.ts";

/** The inside of an allocator. Set by the class below: nothing else can reach its private fields. */
let operationsOf: (allocator: JitAllocator) => AllocatorOperations;

/**
 * Allocates executable memory: asmjit's JitAllocator. Allocations are multiples of the granularity, cut from large mapped
 * blocks; nothing but code is ever stored in them.
 *
 * A call that throws has changed nothing, unless its documentation says otherwise. No method touches unmapped memory,
 * whatever its arguments are. The object belongs to one thread; {@link share} lets other threads attach to its memory.
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
export class JitAllocator extends SharingThreads implements Disposable {
  /** Every option, with the value in force. */
  get options(): Readonly<ResolvedJitAllocatorOptions> {
    const { maxReservedSize } = this.#engine;
    if (this.#options.maxReservedSize !== maxReservedSize)
      this.#options = Object.freeze({ ...this.#options, maxReservedSize });
    return this.#options;
  }

  static {
    operationsOf = (allocator) => allocator.#engine;
  }

  #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #memory: VirtualMemory;
  readonly #isAttached: boolean;
  readonly #operations = (): Engine | SharedEngine => this.#engine;
  /** Made with the first veneer or module. */
  #madeVeneers: VeneerPool | undefined;
  /** An Engine, which takes no lock; a SharedEngine once the allocator is shared or attached. */
  #engine: Engine | SharedEngine;

  /**
   * Makes an allocator. Nothing is mapped before the first allocation.
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown option or an invalid value; `ERR_FEATURE_NOT_ENABLED` where
   *   this system or runtime offers no executable memory; `ERR_OUT_OF_MEMORY` where the system has no addresses for the
   *   metadata, or the thread's stack is too small.
   */
  constructor(options?: JitAllocatorOptions);
  /** @internal */
  constructor(options: JitAllocatorOptions | undefined, memory: VirtualMemory, attached?: SharedEngine);
  constructor(options: JitAllocatorOptions = {}, given?: VirtualMemory, attached?: SharedEngine) {
    super(
      () => this.#engine,
      () => (this.#engine instanceof Engine ? undefined : this.#engine.membership),
    );
    checkStackSize("make an allocator");
    const system = memoryOr(given);
    this.#options = attached?.engine.options ?? resolveOptions(options, system);
    const memory = memoryFor(this.#options, system, attached !== undefined);
    this.#memory = memory;
    this.#engine = attached ?? new Engine(this.#options, memory);
    this.#isAttached = attached !== undefined;
    recordByEnvironment(this.#engine);
    if (!this.#isAttached) viewByEnvironment(this.#operations);
  }

  /**
   * Attaches this thread to an allocator that another thread shares: the same blocks and allocations, the same methods.
   *
   * It ends with the thread, with {@link detach}, or at the end of a `using` block. The allocations stay ({@link allocationsOf}).
   *
   * @param handle the value that {@link share} returned in the other thread
   * @throws JitError `ERR_INVALID_ARGUMENT` for any other value; `ERR_OUT_OF_MEMORY` where 1,023 threads share the
   *   allocator already; `ERR_DISPOSED`
   * @example
   * ```ts
   * const handle = allocator.share(); // postMessage(handle), or workerData
   * const shared = JitAllocator.attach(handle); // in the worker
   * const address = shared.allocAddress(256);
   * allocator.release(address); // any thread may
   * ```
   */
  static attach(this: void, handle: SharedAllocator): JitAllocator {
    const memory = memoryOr(undefined);
    return new JitAllocator(undefined, memory, attachEngine(handle, memory));
  }

  /**
   * Shares the allocator, and returns a handle for other threads to {@link attach}: send it by `postMessage` or
   * `workerData`. From then on each operation takes a lock; before, none does. Calling it again returns an equal handle.
   *
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no room for the records that sharing keeps of each allocation;
   *   `ERR_DISPOSED`
   */
  share(): SharedAllocator {
    this.#engine.checkOpen("share");
    const engine = this.#engine;
    if (!(engine instanceof Engine)) return handleOf(engine);
    const shared = shareEngine(engine, this.#memory);
    handOver(engine, (this.#engine = shared));
    return handleOf(shared);
  }

  /** This thread's number among the threads that share the allocator, 1 to 1,023; 0 where it is not shared. */
  get memberId(): number {
    return this.#engine instanceof Engine ? 0 : this.#engine.memberId;
  }

  /**
   * Detaches this thread from the allocator. This object and its spans can no longer be used; the allocations stay, and other
   * threads go on using them. Idempotent.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` where the allocator is not shared: nobody could dispose of it
   */
  detach(): void {
    if (this.#engine instanceof Engine) throw unsharedCannotDetach();
    this.#engine.detach();
    stopRecording(this.#engine);
  }

  /** Whether an option is on. @throws JitError `ERR_INVALID_ARGUMENT` for a name that no boolean option has */
  hasOption(option: BooleanOption): boolean {
    return isOptionOn(this.options, option);
  }

  /** Bytes: the base block size, the smallest block that is ever mapped. */
  get blockSize(): number {
    return this.options.blockSize;
  }

  /** Bytes: the base granularity, and the alignment of every allocation. */
  get granularity(): number {
    return this.options.granularity;
  }

  /** The unsigned 32-bit word that unused memory is filled with, if `fillUnusedMemory` is on. */
  get fillPattern(): number {
    return this.options.fillPattern;
  }

  /**
   * Allocates `size` bytes (1 to 2 GiB − granularity), rounded up to the granularity: of code, unless `info` names another
   * kind. All kinds lie in the same {@link range}, so that code addresses constants and data relative to itself. The memory
   * is not cleared: it has its earlier contents, or the fill pattern. The amortized number of steps does not grow with the
   * number of holes or blocks; the number of cache misses does.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT`, `ERR_TOO_LARGE`; `ERR_OUT_OF_MEMORY` where the system or
   *   `maxReservedSize` has no room; `ERR_PERMISSION`, `ERR_TOO_MANY_HANDLES` or `ERR_FEATURE_NOT_ENABLED` where the
   *   system refuses executable memory; `ERR_DISPOSED`
   */
  alloc(size: number, info?: SpanInfo): Span {
    return info === undefined ? this.#engine.alloc(size) : allocAs(this.#engine, size, info);
  }

  /**
   * The name of the live allocation that contains an address (rx), as this thread gave it: with `alloc`, a module,
   * `JitRuntime.add` or `toFunction`. A veneer is named for its target. Undefined where there is none.
   */
  nameOf(rx: Address): string | undefined {
    return nameIn(this.#engine, rx);
  }

  /**
   * Allocates as {@link alloc} does, but makes no Span: returns the address of the executable view (rx). For hot paths,
   * and for programs that keep their own records. Release, shrink and query the allocation by its address; to write to
   * it or call it, get its span with `query(address)`.
   *
   * @throws JitError as {@link alloc}
   */
  allocAddress(size: number): Address {
    return this.#engine.allocAddress(size);
  }

  /**
   * Releases an allocation, given its span or its start address (rx). If another thread may be running its code, or this one
   * below a callback, it ends now, and its memory is used again when nobody can be running it: see {@link retire}.
   *
   * @throws JitError `ERR_RELEASED` for a span that was released before, even if its memory is in use again;
   *   `ERR_NOT_ALLOCATED`, `ERR_INTERIOR_ADDRESS`; `ERR_UNKNOWN_ADDRESS`, also for an rw address or another allocator's
   *   span; `ERR_INVALID_ARGUMENT`; `ERR_DISPOSED`; the system's refusal to unmap a block that became empty
   */
  release(target: Span | Address): void {
    this.#engine.release(target);
  }

  /**
   * Keeps the first `newSize` bytes of an allocation, rounded up to the granularity of its pool, and releases the rest; 0
   * releases all of it. The granularity of a pool is {@link granularity}, or with `useMultiplePools` 1, 2 or 4 times that.
   *
   * @throws JitError as {@link release}; `ERR_INVALID_ARGUMENT` where `newSize` is larger than the allocation
   */
  shrink(target: Span | Address, newSize: number): void {
    this.#engine.shrink(target, newSize);
  }

  /**
   * Returns the whole span that contains an address (rx). To call code that begins there, pass `toFunction` its offset.
   * @throws JitError `ERR_UNKNOWN_ADDRESS`, `ERR_NOT_ALLOCATED`, `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`;
   *   `ERR_OUT_OF_MEMORY` where there is no room to keep track of the span
   */
  query(rx: Address): Span {
    return lookedUpBy(rx, this.#engine.query(rx));
  }

  /**
   * Returns the span of the allocation that a token names, the value of `span.token`: how a span gets to another thread.
   * @throws JitError `ERR_RELEASED` where that allocation was released, even if its memory is in use again;
   *   `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`; `ERR_OUT_OF_MEMORY` as {@link query}
   */
  spanOf(token: SpanToken): Span {
    return this.#engine.spanOf(readToken(token));
  }

  /**
   * Looks up as {@link query} does, but makes no Span: returns the start address (rx) of the allocation that contains `rx`.
   * @throws JitError as {@link query}
   */
  queryAddress(rx: Address): Address {
    return this.#engine.queryAddress(rx);
  }

  /**
   * Writes code, and makes it safe to run: either `bytes` at `offset` bytes from the start of the span, or what a callback
   * leaves in a copy of the whole span, which is copied back when it returns. If it returns a number, 1 to the size of the
   * span, only that many bytes are kept: the span shrinks to them. If it throws, nothing is written.
   *
   * @param policy `default` and `flush` flush the instruction cache where the processor needs it; `never` does not
   * @throws JitError `ERR_RELEASED`; `ERR_INVALID_ARGUMENT` where the bytes do not fit: nothing is written then;
   *   `ERR_UNKNOWN_ADDRESS` for another allocator's span; `ERR_OUT_OF_MEMORY` where there is no memory for the copy.
   *   Where the flush fails, its error is thrown and the bytes are written.
   */
  write(target: Span, offset: number, bytes: Uint8Array, policy?: CachePolicy): void;
  write(target: Span, fill: (code: Uint8Array) => number | void, policy?: CachePolicy): void;
  write(
    target: Span,
    offsetOrFill: number | ((code: Uint8Array) => number | void),
    bytesOrPolicy?: Uint8Array | CachePolicy,
    policy?: CachePolicy,
  ): void {
    // The usual case by itself: V8 compiles a write in one piece only where all of it is short.
    if (policy === undefined && typeof offsetOrFill !== "function")
      this.#engine.writeBytes(target, offsetOrFill, bytesOrPolicy as Uint8Array, "default");
    else this.#writeAs(target, offsetOrFill, bytesOrPolicy, policy);
  }

  #writeAs(target: Span, offsetOrFill: unknown, bytesOrPolicy: unknown, policy: unknown): void {
    if (typeof offsetOrFill === "function") {
      const fill = offsetOrFill as (code: Uint8Array) => number | void;
      writeByCallback(this.#operations, target, fill, checkPolicy(bytesOrPolicy));
    } else {
      const offset = offsetOrFill as number;
      this.#engine.writeBytes(target, offset, bytesOrPolicy as Uint8Array, checkPolicy(policy));
    }
  }

  /**
   * Batches writes: one flush of the instruction cache at the end instead of one per write.
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown policy; `ERR_DISPOSED`
   */
  writeScope(policy?: CachePolicy): WriteScope {
    this.#engine.checkOpen("write");
    return new WriteScope(this.#operations, checkPolicy(policy));
  }

  /**
   * The range of addresses that all code lies in: of the executable views, in bytes. Reserved with the first block, and kept
   * until {@link dispose}. Undefined before that, without `useRange`, and where the system offers none or its policy
   * forbids one, which `jit-allocator doctor` explains.
   */
  get range(): CodeRange | undefined {
    const { range } = this.#engine;
    return range === undefined ? undefined : { start: range.rx, size: range.sizeBytes };
  }

  /**
   * Whether a relative call at `from` reaches `to`: within 2 GiB on x86-64, within 128 MiB on AArch64. `from` is the address
   * of the call instruction. On x86-64 it is true for any two allocations of an allocator that has a {@link range}.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for what is no address
   */
  reaches(from: Address, to: Address): boolean {
    return reaches(from, to);
  }

  /**
   * Takes a stub that jumps to `target`, any 64-bit address, and lies within reach of all code in the {@link range}. All
   * veneers of a target (and thread) have one stub, which goes with the last of them. It counts as an allocation.
   *
   * @throws JitError as {@link alloc}; `ERR_INVALID_ARGUMENT` for what is no address; `ERR_FEATURE_NOT_ENABLED` on an unknown
   *   processor
   */
  veneer(target: Address): Veneer {
    return this.#veneers.take(target);
  }

  get #veneers(): VeneerPool {
    return (this.#madeVeneers ??= new VeneerPool(this.#operations, nameVeneer));
  }

  /** Begins a module: several spans of any kind that come and go as one. Nothing is allocated yet. @throws JitError `ERR_DISPOSED` */
  module(): ModuleBuilder {
    this.#engine.checkOpen("begin a module of");
    return new ModuleBuilder(this.#operations, this.#veneers, nameWritten);
  }

  /**
   * Counts what is allocated and reserved now. After the disposal every field but `overheadSize` and the peaks is 0.
   *
   * With `detail` also by pool, with the free runs by size, and the peaks: that looks at every granule.
   * @throws JitError `ERR_INVALID_ARGUMENT` for what are no options
   */
  statistics(options: { readonly detail: true }): DetailedStatistics;
  statistics(options?: { readonly detail?: boolean }): Statistics;
  statistics(options?: { readonly detail?: boolean }): Statistics {
    return checkDetail(options) ? this.#engine.detailedStatistics() : this.#engine.statistics();
  }

  /** Describes every mapped block and its granules, in the order of addresses. A copy, for tools and pictures. */
  blocks(): BlockInfo[] {
    return this.#engine.describeBlocks();
  }

  /**
   * Releases everything at once: all earlier spans and functions throw `ERR_RELEASED` from then on. What may be running
   * stays until it is not, as with {@link retire}. `soft` keeps one block per pool mapped (none with `immediateRelease`), `hard` none.
   * Where the system refuses to unmap a block, that block and those to be kept stay as they were, the others are unmapped,
   * and the error is thrown; call again.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT` for an unknown policy; `ERR_DISPOSED`; the system's refusal to unmap a block
   */
  reset(policy: "soft" | "hard" = "soft"): void {
    this.#engine.reset(checkResetPolicy(policy));
    tell("jit-allocator:reset", () => ({ policy }));
  }

  /**
   * Gives the memory of all pages in which nothing is live back to the system, inside blocks that stay mapped too. Such a
   * page reads as zero from then on; with `fillUnusedMemory` what `alloc` hands out there is filled before. Returns the
   * bytes that came back, whoever wrote them: 0 without a {@link range}. Takes some microseconds a MiB of blocks.
   *
   * @throws JitError the system's refusal; what came back before is gone; `ERR_DISPOSED`
   */
  trim(): number {
    return this.#engine.trim();
  }

  /**
   * Checks all invariants (docs/invariants.md), and throws an Error at the first that is broken, which would be a bug of this
   * library. For tests: the cost grows with the mapped memory.
   */
  verify(): void {
    this.#engine.verify();
  }

  /**
   * Unmaps every block, for all threads that share the allocator. Idempotent. From then on every function, and every
   * operation on a span, throws `ERR_RELEASED`; all others that would allocate, release, look up or write throw
   * `ERR_DISPOSED`. The options, `statistics`, `blocks` and `verify` still work. While a thread is inside machine code of the
   * allocator (see {@link retire}) its blocks stay mapped; the next operation of any thread, or `dispose`, unmaps them.
   *
   * @throws JitError the system's refusal to unmap a block: that block stays mapped, and the call can be repeated
   */
  dispose(): void {
    this.#engine.dispose();
  }

  /** The printed name: `JitAllocator 3`. The number is unique in this thread, so that assertions tell allocators apart. */
  get [Symbol.toStringTag](): string {
    return numbered("JitAllocator", this);
  }

  /** What consoles show. @internal */
  [inspectCustom](): string {
    return #engine in this ? inspectAllocator(numbered("JitAllocator", this), this.#engine) : "JitAllocator";
  }

  /** The end of a `using` block: {@link dispose}, or {@link detach} where {@link attach} made this object. */
  [Symbol.dispose](): void {
    if (this.#isAttached) this.detach();
    else this.dispose();
  }
}

/** Adds code as {@link AllocatorOperations.allocCode} does, for JitRuntime. */
export function addCode(allocator: JitAllocator, code: Uint8Array, size: number, mustSucceed: boolean): Span {
  return operationsOf(allocator).allocCode(code, size, mustSucceed);
}
