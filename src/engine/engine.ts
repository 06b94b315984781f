/** One allocator in one thread: the core decides, the virtual memory acts, and an operation that fails changes nothing. */
import type { AllocatorOperations } from "./operations.ts";
import { BlockMemory } from "./block-memory.ts";
import { BlockTrims } from "./block-trims.ts";
import type { ModuleTicket, SharedParts, SpanOwner, SpanToken } from "./contract.ts";
import type { Core } from "../core/core.ts";
import { enterInLedger } from "../core/generations.ts";
import { Kind } from "../core/layout.ts";
import { Status } from "../core/status.ts";
import { verifyStructure } from "../core/verify.ts";
import type { JitError } from "../base/errors.ts";
import { afterReturn, signals } from "../base/return-queue.ts";
import type { Address } from "../ffi/contract.ts";
import { HeldReleases } from "./held-releases.ts";
import { fillCutOff, fillReleased, fillTaken } from "./filling.ts";
import { keepBuffer, makeCore } from "./make-core.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { refusedAddress } from "./refused-address.ts";
import { removeDoomed } from "./doomed-blocks.ts";
import * as refusals from "./refusals.ts";
import { SpanBytes } from "./span-bytes.ts";
import { SpanIdentity } from "./span-identity.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";
import * as stack from "../base/stack.ts";
import { uniqueName } from "../base/unique.ts";
import { describeBlock, statisticsOf } from "./statistics.ts";
import type { BlockInfo, Statistics } from "./statistics.ts";
import type { AddressRange, VirtualMemory } from "../vm/contract.ts";
import type { CachePolicy } from "./contract.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { isIndex } = refusals;
const { needMuchStack, needStack, needStackAtFirst } = stack;
const { block: blockOf, granule: granuleOf, isChecked, end: endSpan } = spanAccess;

/** 2 GiB - 1: a request is at most 2 GiB less a granule (asmjit). No power, which engines would keep as a double. */
const TWO_GIB_LESS_ONE = 0x7fff_ffff;

/**
 * The inside of a JitAllocator. Checks the arguments, which come from users. Takes no lock: in a shared allocator,
 * SharedEngine stands before it.
 */
export class Engine implements AllocatorOperations {
  readonly core: Core;
  readonly blocks: BlockMemory;
  readonly trims: BlockTrims;
  readonly isExecutable: boolean;
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
  /** The name by which the system tells this allocator's memory from all other. */
  readonly tagName: string;
  /** The object that spans call: this one, or the SharedEngine that locks before it calls this one. */
  owner: SpanOwner = this;
  readonly #identity: SpanIdentity;
  readonly #bytes: SpanBytes;
  readonly #held: HeldReleases;
  readonly #granuleShift: number;
  readonly #poolsPerKind: 1 | 3;
  readonly #fills: boolean;
  /** Bytes: the largest request; 0 once disposed, so that the hot path needs no other check. */
  #largestSize: number;
  /**
   * The same with one pool; 0 with three, while {@link #warmUp} lasts, and where free memory is filled. Requests up to it take
   * the short path.
   */
  #largestPlainSize = 0;
  /** Whether releases and shrinks may take the short path: nothing is filled, and {@link #warmUp} is over. */
  #isPlain = false;
  readonly #granuleMask: number;
  #isDisposed = false;
  /**
   * Counts the operations that may have ended a span. While the count stays the same, every span that was live is live,
   * so a function need not look its span up at each call. NaN, which equals nothing, forces the look-up: it must be NaN
   * once other threads can release.
   */
  releaseCount = 0;

  constructor(options: Readonly<ResolvedJitAllocatorOptions>, memory: VirtualMemory, shared?: SharedParts) {
    this.options = options;
    this.tagName = shared?.tagName ?? uniqueName();
    this.#granuleShift = 31 - Math.clz32(options.granularity);
    this.#poolsPerKind = options.useMultiplePools ? 3 : 1;
    this.#fills = options.fillUnusedMemory;
    this.#granuleMask = options.granularity - 1;
    this.#largestSize = TWO_GIB_LESS_ONE - options.granularity + 1;
    this.core = makeCore(options, shared?.buffer);
    this.blocks = new BlockMemory(this, this.core, memory, options, this.tagName);
    this.trims = new BlockTrims(this.core, this.blocks, memory);
    this.#identity = new SpanIdentity(this.core, this.blocks, this);
    this.#bytes = new SpanBytes(this.#identity, this.blocks);
    this.#held = new HeldReleases(this.core, this.blocks, this.#identity, ({ mapped, granule }) => {
      this.#free(mapped, granule, false);
    });
    this.isExecutable = memory.name !== "simulated";
  }

  /** Sends the first operations, which call most functions for the first time, the long way: it checks for more stack. */
  #warmUp(): void {
    if (!needStackAtFirst() || this.#held.count > 0) return;
    this.#isPlain = !this.#fills;
    if (this.#poolsPerKind === 1 && !this.#fills) this.#largestPlainSize = this.#largestSize;
  }

  // --- allocation ---------------------------------------------------------------------------------------------

  allocAddress(size: number): Address {
    needStack();
    const core = this.core;
    // `| 0` leaves only the integers that can be a size as they are.
    const isPlain =
      typeof size === "number" && (size | 0) === size && size > 0 && size <= this.#largestPlainSize;
    if (!isPlain || !core.allocQuickly(0, (size + this.#granuleMask) >>> this.#granuleShift))
      this.#place(size);
    return core.addressOf(core.block, core.granule);
  }

  alloc(size: number): Span {
    needStack();
    const core = this.core;
    const isPlain =
      typeof size === "number" && (size | 0) === size && size > 0 && size <= this.#largestPlainSize;
    if (isPlain && core.allocQuickly(0, (size + this.#granuleMask) >>> this.#granuleShift)) {
      return this.#allocatedSpan(false);
    }
    return this.#allocatedSpan(this.#place(size));
  }

  /** Allocates memory of any kind. */
  allocOf(size: number, kind: Kind): Span {
    needStack();
    return this.#allocatedSpan(this.#place(size, kind));
  }

  allocPart(_ticket: ModuleTicket, size: number, kind: Kind): Span {
    return this.allocOf(size, kind);
  }

  /** Makes the span of the allocation that the core has just made. If that fails, the allocation is released. */
  #allocatedSpan(isInNewBlock: boolean): Span {
    const { block, granule } = this.core;
    try {
      return this.#identity.make(block, granule);
    } catch (error) {
      const mapped = this.blocks.at(block);
      this.#free(mapped, granule, true);
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
  #place(size: number, kind = Kind.code): boolean {
    this.#warmUp();
    const isInNewBlock = this.#takeRoom(size, kind);
    if (!isInNewBlock && this.#fills && this.trims.isTrimmed) fillTaken(this.core, this.blocks);
    return isInNewBlock;
  }

  /** Takes room for `size` bytes, which the core then names. Returns true where a block was mapped for it. */
  #takeRoom(size: number, kind: Kind): boolean {
    if (typeof size !== "number" || (size | 0) !== size || size <= 0 || size > this.#largestSize) {
      this.checkOpen("allocate");
      throw refusals.refuseSize(size, this.#largestSize);
    }
    if (kind !== Kind.code && this.options.sealed) throw refusals.sealedKind();
    // The request in granules of the base granularity; then the pool with the largest granules that divide it.
    const shift = this.#granuleShift;
    let count = (size + (1 << shift) - 1) >>> shift;
    let pool = 0;
    if (this.#poolsPerKind === 3) {
      pool = (count & 3) === 0 ? 2 : (count & 1) === 0 ? 1 : 0;
      count >>>= pool;
    }
    pool += kind * this.#poolsPerKind;
    return this.core.alloc(pool, count) ? false : this.blocks.makeRoom(pool, count, size);
  }

  // --- release and shrink -------------------------------------------------------------------------------------

  release(target: Span | Address): void {
    needStack();
    this.releaseCount++;
    if (signals.depth > 0 && this.#isAlone()) {
      this.#hold([target]);
    } else if (typeof target === "number" && this.#isPlain) {
      const status = this.core.release(target);
      if (status !== Status.ok) this.#finishRelease(target, status);
    } else {
      this.#releaseTarget(target);
    }
  }

  /**
   * Releases a span that `alloc` made, in a block where nothing has to be looked up. Returns false, and changes nothing, for
   * any other value or where there is more to do.
   */
  #releaseOwn(span: Span): boolean {
    if (this.#fills || !this.#identity.isSole(span)) return false;
    const { block } = blockOf(span);
    const status = this.core.free(block, granuleOf(span), true);
    if (status === Status.surplusBlock) return false;
    endSpan(span);
    if (status === Status.sparse) this.trims.trimSparse(block);
    return true;
  }

  /** Whether releases below a callback are held: not in a shared allocator. */
  #isAlone(): boolean {
    return this.owner === this;
  }

  /** Ends allocations below a callback: they may be running (held-releases.ts). All or none. */
  #hold(targets: readonly (Span | Address)[]): void {
    const places = targets.map((target) => {
      const isAddress = typeof target === "number";
      const mapped = isAddress
        ? this.#locateStart(target, "release")
        : this.#identity.liveBlock(target, "release");
      return { mapped, granule: isAddress ? this.core.granule : granuleOf(target) };
    });
    this.#held.hold(places);
    this.#isPlain = false;
  }

  /** Finishes a release: trims the block, or unmaps it where it is surplus, or throws the refusal. */
  #finishRelease(address: Address, status: Status): void {
    if (status === Status.sparse) {
      this.trims.trimSparse(this.core.block);
      return;
    }
    if (status !== Status.surplusBlock) throw this.#refuseAddress("release", address, status);
    this.blocks.remove(this.blocks.at(this.core.block));
  }

  #releaseTarget(target: Span | Address): void {
    if (!this.#isPlain) this.#warmUp();
    if (typeof target !== "number") {
      if (!this.#releaseOwn(target)) this.#freeSpan(this.#identity.liveBlock(target, "release"), target);
    } else {
      const mapped = this.#locateStart(target, "release");
      this.#free(mapped, this.core.granule, false);
    }
  }

  #freeSpan(mapped: MappedBlock, span: Span): void {
    this.#free(mapped, granuleOf(span), !isChecked(span));
    endSpan(span);
  }

  /** Releases the allocation that begins at `granule`; `isOwn` says that it goes through the span that `alloc` made. */
  #free(mapped: MappedBlock, granule: number, isOwn: boolean): void {
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
    for (const span of spans) this.#identity.liveBlock(span, "release");
    if (signals.depth > 0 && this.#isAlone()) {
      this.#hold(spans);
      return;
    }
    removeDoomed(this.core, this.blocks, spans);
    for (const span of spans) if (this.isLive(span)) this.#releaseTarget(span);
  }

  shrink(target: Span | Address, newSize: number): void {
    needStack();
    const isPlain = typeof target === "number" && typeof newSize === "number" && this.#isPlain;
    if (!isPlain || !this.core.shrinkShort(target, newSize)) this.#shrinkTarget(target, newSize);
  }

  #shrinkTarget(target: Span | Address, newSize: number): void {
    this.#warmUp();
    const core = this.core;
    const isAddress = typeof target === "number";
    const mapped = isAddress
      ? this.#locateStart(target, "shrink")
      : this.#identity.liveBlock(target, "shrink");
    const granule = isAddress ? core.granule : granuleOf(target);
    const count = core.lengthAt(mapped.block, granule);
    const size = count << mapped.granuleShift;
    if (!isIndex(newSize) || newSize > size) throw refusals.refuseNewSize(newSize, size);
    const newCount = (newSize + (1 << mapped.granuleShift) - 1) >>> mapped.granuleShift;
    if (newCount === count) return;
    if (newCount === 0) {
      this.release(target);
      return;
    }
    if (this.#fills) fillCutOff(core, this.blocks, mapped, granule, count, newCount);
    core.shrink(mapped.block, granule, count, newCount);
  }

  /** Finds the block of the allocation that begins at `address`; the core then names its granule. */
  #locateStart(address: Address, action: string): MappedBlock {
    const status = this.core.locateStart(address);
    if (status !== Status.ok) throw this.#refuseAddress(action, address, status);
    this.#refuseHeld(action, address);
    return this.blocks.at(this.core.block);
  }

  /** Refuses the allocation that the core names, if it has ended below a callback. */
  #refuseHeld(action: string, address: Address): void {
    const { block, granule } = this.core;
    if (this.#held.has(block, granule)) throw this.#refuseAddress(action, address, Status.notAllocated);
  }

  #refuseAddress(action: string, address: unknown, status: Status): JitError {
    this.checkOpen(action);
    return refusedAddress(this.core, action, address, status);
  }

  // --- spans --------------------------------------------------------------------------------------------------

  query(rx: Address): Span {
    needStack();
    this.#warmUp();
    if (typeof rx === "number" && this.core.begins(rx)) this.core.noteStart(rx);
    else this.#locate(rx);
    if (this.#held.count > 0) this.#refuseHeld("query", rx);
    return this.#identity.makeAnother(this.core.block, this.core.granule);
  }

  queryAddress(rx: Address): Address {
    const isStart = this.#held.count === 0 && typeof rx === "number" && this.core.begins(rx);
    return isStart ? rx : this.#startOf(rx);
  }

  /** The start address of the allocation that contains an address. */
  #startOf(rx: Address): Address {
    this.#locate(rx);
    this.#refuseHeld("query", rx);
    return this.core.addressOf(this.core.block, this.core.granule);
  }

  /** Finds the allocation that contains an address; the core then names its place. */
  #locate(rx: Address): void {
    const status = isIndex(rx) ? this.core.locate(rx) : Status.unknownAddress;
    if (status !== Status.ok) throw this.#refuseAddress("query", rx, status);
  }

  /** The span of the allocation that a token names. */
  spanOf({ rx, generation }: SpanToken): Span {
    needStack();
    this.#warmUp();
    if (isIndex(rx) && this.core.locateStart(rx) === Status.ok) {
      const { block, granule } = this.core;
      if (this.#identity.hasGeneration(block, granule, generation)) {
        return this.#identity.makeAnother(block, granule);
      }
    }
    this.checkOpen("look up");
    const isToken = isIndex(rx) && Number.isInteger(generation);
    throw isToken ? refusals.refuseReleased("look up", rx) : refusals.refuseToken(rx);
  }

  tokenOf(span: Span): SpanToken {
    needStack();
    this.#warmUp();
    return this.#identity.tokenOf(span);
  }

  isLive(span: Span): boolean {
    return this.#identity.isLive(span);
  }

  releaseIfLive(span: Span): void {
    if (this.isLive(span)) this.release(span);
  }

  sizeOf(span: Span): number {
    return this.isLive(span) ? this.#identity.liveSize(span, blockOf(span)) : 0;
  }

  read(span: Span, offset: number, length: number | undefined): Uint8Array {
    return this.#bytes.read(span, offset, length);
  }

  writeBytes(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void {
    this.#bytes.write(span, offset, bytes, policy);
  }

  patch(span: Span, offset: number, bytes: Uint8Array): void {
    needMuchStack();
    this.#bytes.patch(span, offset, bytes);
  }

  store(span: Span, offset: number, bytes: Uint8Array): void {
    needMuchStack();
    this.#bytes.store(span, offset, bytes);
  }

  copyToWrite(span: Span): Uint8Array {
    return this.#bytes.copy(span);
  }

  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): void {
    needStack();
    this.#warmUp(); // before anything is written: the shrink at the end may need as much stack
    const length = this.#bytes.writeBack(span, code, kept, policy);
    // The shrink comes last: if the flush fails, the span is as long as it was.
    if (length !== undefined) this.#shrinkTarget(span, length);
  }

  flushRange(mapped: MappedBlock, start: number, end: number): void {
    this.blocks.flush(mapped, start, end - start);
  }

  // --- all at once --------------------------------------------------------------------------------------------

  /** Releases everything and unmaps all blocks. The soft policy keeps the oldest of each pool, unless `immediateRelease`. */
  reset(policy: "soft" | "hard"): void {
    needMuchStack();
    this.checkOpen("reset");
    this.releaseCount++;
    if (signals.depth > 0 && this.#isAlone()) {
      this.#held.holdAll(policy === "hard");
      this.#isPlain = false;
      return;
    }
    const kept = policy === "soft" && !this.options.immediateRelease ? this.blocks.oldest() : [];
    this.blocks.removeAllBut(kept);
    for (const mapped of kept) this.blocks.clear(mapped);
  }

  /** Gives the memory of all free pages back to the system. Returns bytes. */
  trim(): number {
    needMuchStack();
    this.checkOpen("trim");
    return this.trims.trimAll();
  }

  dispose(): void {
    if (this.#isDisposed) return;
    needMuchStack();
    this.releaseCount++;
    if (signals.depth > 0 && this.#isAlone()) {
      this.#held.holdAll(false);
      this.closeDown();
      afterReturn(() => {
        this.#unmapAll();
      });
      return;
    }
    this.#unmapAll();
    this.closeDown();
    if (this.#isAlone()) keepBuffer(this.core, this.options);
  }

  #unmapAll(): void {
    this.blocks.removeAllBut([]);
    this.blocks.source.releaseRange();
  }

  /** Refuses every operation from now on: the blocks are unmapped, or belong to other threads alone. */
  closeDown(): void {
    this.#isDisposed = true;
    this.#largestSize = 0;
    this.#largestPlainSize = 0;
  }

  get range(): AddressRange | undefined {
    return this.blocks.source.range.range;
  }

  get maxReservedSize(): number {
    return this.core.maxReservedBytes;
  }

  // --- telling ------------------------------------------------------------------------------------------------

  statistics(): Statistics {
    return statisticsOf(this.core, this.trims.residentBytes());
  }

  describeBlocks(): BlockInfo[] {
    return this.blocks.all().map((mapped) => describeBlock(this.core, mapped));
  }

  verify(): void {
    verifyStructure(this.core.words, this.core.doubles);
    this.blocks.verify();
  }

  checkOpen(action: string): void {
    if (this.#isDisposed) throw refusals.refuseDisposed(action);
  }
}
