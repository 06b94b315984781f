/** One allocator in one thread: the core decides, the virtual memory acts, and an operation that fails changes nothing. */
import { callbacks } from "../base/callbacks.ts";
import { allocAndWrite, type AllocatorOperations } from "./operations.ts";
import type { CachePolicy, ModuleTicket, Observer, SharedParts, SpanToken } from "./contract.ts";
import { EngineParts } from "./engine-parts.ts";
import { enterInLedger } from "../core/generations.ts";
import { allocFromAnyHole } from "../core/holes.ts";
import { Kind } from "../core/layout.ts";
import { Status } from "../core/status.ts";
import type { Address } from "../ffi/contract.ts";
import type { JitError } from "../base/errors.ts";
import { fillReleased, fillTaken } from "./filling.ts";
import { kindName } from "./kinds.ts";
import { keepBuffer } from "./make-core.ts";
import type { MappedBlock } from "./mapped-block.ts";
import { observe, unobserve } from "./observation.ts";
import { largestRequestOf } from "./options.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import type { PressureWatch } from "./pressure.ts";
import { removeDoomed } from "./doomed-blocks.ts";
import * as refusals from "./refusals.ts";
import { shrinkTo } from "./shrinking.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";
import * as stack from "../base/stack.ts";
import type { VirtualMemory } from "../vm/contract.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { needMuchStack, needStack, needStackAtFirst } = stack;
const { granule: granuleOf, isChecked, end: endSpan } = spanAccess;

/**
 * The inside of a JitAllocator. Checks the arguments, which come from users. Takes no lock: in a shared allocator,
 * SharedEngine stands before it.
 */
export class Engine extends EngineParts implements AllocatorOperations {
  readonly #granuleShift: number;
  readonly #poolsPerKind: 1 | 3;
  readonly #fills: boolean;
  /** Bytes: the largest request; 0 once disposed, so that the hot path needs no other check. */
  #largestSize: number;
  /** The largest that takes the short path: 0 with three pools, while {@link #warmUp} lasts, and where free memory is filled. */
  #largestPlainSize = 0;
  /**
   * Whether releases and shrinks may take the short path: nothing is filled, {@link #warmUp} is over, and nothing waits in this
   * thread's own limbo. Where something waits in that of all threads, SharedEngine looks first.
   */
  #isPlain = false;
  readonly #granuleMask: number;
  #isDisposed = false;
  constructor(options: Readonly<ResolvedJitAllocatorOptions>, memory: VirtualMemory, shared?: SharedParts) {
    super(options, memory, shared);
    this.#granuleShift = 31 - Math.clz32(options.granularity);
    this.#poolsPerKind = options.useMultiplePools ? 3 : 1;
    this.#fills = options.fillUnusedMemory;
    this.#granuleMask = options.granularity - 1;
    this.#largestSize = largestRequestOf(options);
  }

  /**
   * Sends the first operations, which call most functions for the first time, the long way: it checks for more stack. And
   * those that come while something waits in limbo.
   */
  #warmUp(): void {
    const isWarm = needStackAtFirst();
    if (!this.own.drain() || !isWarm) return;
    this.#isPlain = !this.#fills;
    if (this.pressure?.isEmpty === true) this.pressure = undefined;
    const isCounted = this.#fills || this.pressure !== undefined;
    if (this.#poolsPerKind === 1 && !isCounted) this.#largestPlainSize = this.#largestSize;
  }

  // --- allocation ---------------------------------------------------------------------------------------------

  allocAddress(size: number): Address {
    needStack();
    const core = this.core;
    // `| 0` leaves only the integers that can be a size as they are.
    const isPlain =
      typeof size === "number" && (size | 0) === size && size > 0 && size <= this.#largestPlainSize;
    if (!isPlain || !core.allocQuickly(0, (size + this.#granuleMask) >>> this.#granuleShift)) {
      if (this.pressure !== undefined) return this.#addressUnderPressure(this.pressure, size);
      this.#place(size);
    }
    return core.addressOf(core.block, core.granule);
  }

  #addressUnderPressure(pressure: PressureWatch, size: number): Address {
    const allocate = (): Address => {
      this.#place(size);
      return this.core.addressOf(this.core.block, this.core.granule);
    };
    return pressure.around(allocate, (address) => {
      try {
        return this.query(address);
      } catch (error) {
        this.release(address);
        throw error;
      }
    });
  }

  alloc(size: number): Span {
    needStack();
    const core = this.core;
    const isPlain =
      typeof size === "number" && (size | 0) === size && size > 0 && size <= this.#largestPlainSize;
    if (isPlain && core.allocQuickly(0, (size + this.#granuleMask) >>> this.#granuleShift)) {
      return this.#allocatedSpan(false);
    }
    if (this.pressure !== undefined) return this.#underPressure(this.pressure, size, 0, false);
    return this.#allocatedSpan(this.#place(size));
  }

  allocOf(size: number, kind: Kind, mustSucceed: boolean): Span {
    needStack();
    if (kind !== Kind.code && (this.options.sealed || mustSucceed)) {
      this.checkOpen("allocate");
      throw mustSucceed ? refusals.refuseReserveOf(kindName(kind)) : refusals.sealedKind();
    }
    const firstPool = kind * this.#poolsPerKind;
    if (this.pressure !== undefined) return this.#underPressure(this.pressure, size, firstPool, mustSucceed);
    return this.#allocatedSpan(this.#placeIn(size, firstPool, mustSucceed));
  }

  allocCode(code: Uint8Array, size: number, mustSucceed: boolean): Span {
    if (mustSucceed || this.pressure !== undefined) return allocAndWrite(this, code, size, mustSucceed);
    const span = this.alloc(size);
    try {
      // Nobody was told of the allocation, and nothing has run since that could have ended it.
      this.bytes.writeNew(span, size, code);
      return span;
    } catch (error) {
      this.releaseIfLive(span);
      throw error;
    }
  }

  allocPart(_ticket: ModuleTicket, size: number, kind: Kind, mustSucceed: boolean): Span {
    return this.allocOf(size, kind, mustSucceed);
  }

  #underPressure(pressure: PressureWatch, size: number, firstPool: number, mustSucceed: boolean): Span {
    return pressure.around(
      () => this.#allocatedSpan(this.#placeIn(size, firstPool, mustSucceed)),
      (span) => span,
    );
  }

  #placeIn(size: number, firstPool: number, mustSucceed: boolean): boolean {
    return mustSucceed ? this.#placeSurely(size) : this.#place(size, firstPool);
  }

  /** Takes room as {@link #place} does; where there is none, from the reserve. */
  #placeSurely(size: number): boolean {
    return refusals.orElse(
      () => this.#place(size),
      (refusal) => this.room.withReserve(size, () => this.#takeReserve(size, refusal)),
    );
  }

  /** Takes room from the reserve, since there was none elsewhere. */
  #takeReserve(size: number, refusal: JitError): boolean {
    const { core } = this;
    const count = (size + this.#granuleMask) >>> this.#granuleShift;
    const pool = core.reservePool;
    if (pool !== -1 && (core.alloc(pool, count) || allocFromAnyHole(core, pool, count))) return false;
    throw refusals.outOfReserve(size, this.options.reserveForMustSucceed, refusal);
  }

  /** Makes the span of the allocation that the core has just made. If that fails, the allocation is released. */
  #allocatedSpan(isInNewBlock: boolean): Span {
    const { block, granule } = this.core;
    try {
      return this.identity.make(block, granule);
    } catch (error) {
      const mapped = this.blocks.at(block);
      this.free(mapped, granule, true);
      if (isInNewBlock && mapped.isMapped) this.blocks.remove(mapped);
      throw error;
    }
  }

  /** Allocates as `allocAddress` does, and enters the allocation in the ledger: for a shared allocator. */
  allocTracked(size: number): Address {
    needStack();
    this.#place(size);
    const core = this.core;
    const { block, granule } = core;
    enterInLedger(core.words, block, granule);
    return core.addressOf(block, granule);
  }

  /** Does what {@link #takeRoom} does, and fills what was trimmed since it was filled, if free memory is to be filled. */
  #place(size: number, firstPool = 0): boolean {
    this.#warmUp();
    const isInNewBlock = this.#takeRoom(size, firstPool);
    if (!isInNewBlock && this.#fills && this.trims.isTrimmed) fillTaken(this.core, this.blocks);
    return isInNewBlock;
  }

  /**
   * Takes room for `size` bytes in the pools of one kind, of which `firstPool` is the first; the core then names it. Returns
   * true where a block was mapped for it.
   */
  #takeRoom(size: number, firstPool: number): boolean {
    if (typeof size !== "number" || (size | 0) !== size || size <= 0 || size > this.#largestSize) {
      this.checkOpen("allocate");
      throw refusals.refuseSize(size, this.#largestSize);
    }
    // The request in granules of the base granularity; then the pool with the largest granules that divide it.
    const shift = this.#granuleShift;
    let count = (size + (1 << shift) - 1) >>> shift;
    let pool = 0;
    if (this.#poolsPerKind === 3) {
      pool = (count & 3) === 0 ? 2 : (count & 1) === 0 ? 1 : 0;
      count >>>= pool;
    }
    pool += firstPool;
    return this.core.alloc(pool, count) ? false : this.room.make(pool, count, size);
  }

  // --- release and shrink -------------------------------------------------------------------------------------

  release(target: Span | Address): void {
    needStack();
    this.releaseCount++;
    if (typeof target === "number" && this.#isPlain && callbacks.depth === 0) {
      const status = this.core.release(target);
      if (status !== Status.ok) this.#finishRelease(target, status);
    } else {
      this.#releaseTarget(target);
    }
  }

  /** Releases a span that `alloc` made, where nothing has to be looked up; else returns false, and changes nothing. */
  #releaseOwn(span: Span): boolean {
    const mapped = this.identity.soleBlock(span);
    if (mapped === undefined || this.#fills) return false;
    const { block } = mapped;
    const status = this.core.free(block, granuleOf(span), true);
    if (status === Status.surplusBlock) return false;
    endSpan(span);
    if (status === Status.sparse) this.trims.trimSparse(block);
    return true;
  }

  /** Finishes a release: trims the block, or unmaps it where it is surplus, or throws the refusal. */
  #finishRelease(address: Address, status: Status): void {
    if (status === Status.sparse) this.trims.trimSparse(this.core.block);
    else if (status === Status.surplusBlock) this.blocks.remove(this.blocks.at(this.core.block));
    else throw this.addresses.refuse("release", address, status);
  }

  #releaseTarget(target: Span | Address): void {
    if (!this.#isPlain) this.#warmUp();
    if (this.own.isInside) this.#retire(target);
    else if (typeof target !== "number") {
      if (!this.#releaseOwn(target)) this.#freeSpan(this.identity.liveBlock(target, "release"), target);
    } else {
      const mapped = this.addresses.beginningAt(target, "release");
      this.free(mapped, this.core.granule, false);
    }
  }

  /** Ends a live allocation of whose code this thread may be in the middle. */
  #retire(target: Span | Address): void {
    this.own.retire(this.find(target, "release"), this.core.granule);
    if (typeof target !== "number") endSpan(target);
    this.takeLongWay();
  }

  /** {@link #warmUp} finds out when nothing is in limbo any more. */
  protected takeLongWay(): void {
    this.#isPlain = false;
    this.#largestPlainSize = 0;
  }

  #freeSpan(mapped: MappedBlock, span: Span): void {
    this.free(mapped, granuleOf(span), !isChecked(span));
    endSpan(span);
  }

  free(mapped: MappedBlock, granule: number, isOwn: boolean): void {
    const core = this.core;
    if (this.#fills && !core.isLastOfSurplus(mapped.block)) fillReleased(core, this.blocks, mapped, granule);
    const status = core.free(mapped.block, granule, isOwn);
    if (status === Status.surplusBlock) this.blocks.remove(mapped);
    if (status === Status.sparse) this.trims.trimSparse(mapped.block);
  }

  commitModule(): void {
    this.checkOpen("commit a module of");
  }

  releaseModule(_ticket: ModuleTicket, spans: readonly Span[]): void {
    needMuchStack();
    this.#warmUp();
    this.releaseCount++;
    for (const span of spans) this.identity.liveBlock(span, "release");
    if (!this.own.isInside) removeDoomed(this.core, this.blocks, spans);
    for (const span of spans) if (this.isLive(span)) this.#releaseTarget(span);
  }

  shrink(target: Span | Address, newSize: number): void {
    needStack();
    const isPlain = typeof target === "number" && typeof newSize === "number" && this.#isPlain;
    if (!isPlain || !this.core.shrinkShort(target, newSize)) this.#shrinkTarget(target, newSize);
  }

  #shrinkTarget(target: Span | Address, newSize: number): void {
    this.#warmUp();
    const mapped = this.find(target, "shrink");
    if (shrinkTo(this.core, this.blocks, mapped, newSize, this.#fills)) return;
    this.releaseCount++;
    this.#releaseTarget(target);
  }

  // --- spans --------------------------------------------------------------------------------------------------

  query(rx: Address): Span {
    needStack();
    this.#warmUp();
    this.addresses.containing(rx);
    return this.identity.makeAnother(this.core.block, this.core.granule);
  }

  queryAddress(rx: Address): Address {
    return typeof rx === "number" && this.#isPlain && this.core.begins(rx) ? rx : this.addresses.startOf(rx);
  }

  spanOf(token: SpanToken): Span {
    needStack();
    this.#warmUp();
    return this.identity.spanOf(token);
  }

  tokenOf(span: Span): SpanToken {
    needStack();
    this.#warmUp();
    return this.identity.tokenOf(span);
  }

  observe(observer: Observer): void {
    observe(this, observer);
  }

  unobserve(observer: Observer): void {
    unobserve(this, observer);
  }

  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): void {
    needStack();
    this.#warmUp(); // before anything is written: the shrink at the end may need as much stack
    const length = this.bytes.writeBack(span, code, kept, policy);
    // The shrink comes last: if the flush fails, the span is as long as it was.
    if (length !== undefined) this.#shrinkTarget(span, length);
  }

  // --- all at once --------------------------------------------------------------------------------------------

  /** Releases everything and unmaps all blocks. The soft policy keeps the oldest of each pool, unless `immediateRelease`. */
  reset(policy: "soft" | "hard"): void {
    needMuchStack();
    this.checkOpen("reset");
    this.releaseCount++;
    if (this.own.isInside) {
      this.own.retireAll(policy === "hard");
      this.takeLongWay();
      return;
    }
    this.blocks.notePeak();
    const kept = policy === "soft" ? this.blocks.kept() : [];
    try {
      this.blocks.removeAllBut(kept);
      for (const mapped of kept) {
        this.blocks.clear(mapped);
        this.own.forget(mapped.block);
      }
    } finally {
      this.own.forgetGone();
    }
  }

  /** Gives the memory of all free pages back to the system. Returns bytes. */
  trim(): number {
    needMuchStack();
    this.checkOpen("trim");
    this.own.drain();
    return this.trims.trimAll();
  }

  dispose(): void {
    if (this.#isDisposed && !this.own.isEnding) return;
    needMuchStack();
    this.blocks.notePeak();
    this.releaseCount++;
    if (!this.own.postponeEnd()) {
      this.blocks.removeAllBut([]);
      this.own.forgetGone();
      this.blocks.source.releaseRange();
      this.own.isEnding = false;
    }
    this.closeDown();
    if (this.owner === this && !this.own.isEnding) keepBuffer(this.core, this.options);
  }

  /** Refuses every operation from now on: the blocks are unmapped, or belong to other threads alone. */
  closeDown(): void {
    this.#isDisposed = true;
    this.#largestSize = 0;
    this.#largestPlainSize = 0;
  }

  checkOpen(action: string): void {
    if (!this.#isDisposed) return;
    if (this.own.isEnding && !this.own.isHeld) this.dispose();
    throw refusals.refuseDisposed(action);
  }
}
