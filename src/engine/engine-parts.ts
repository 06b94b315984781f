/** The parts of an engine, and the operations that one of them does by itself. */
import { verifyStructure } from "../core/verify.ts";
import type { Core } from "../core/core.ts";
import { needMuchStack } from "../base/stack.ts";
import { uniqueName } from "../base/unique.ts";
import type { Address } from "../ffi/contract.ts";
import type { AddressRange, VirtualMemory } from "../vm/contract.ts";
import { AddressLookUp } from "./address-look-up.ts";
import { BlockMemory } from "./block-memory.ts";
import { BlockTrims } from "./block-trims.ts";
import type {
  CachePolicy,
  MemoryPressure,
  Observer,
  PressureListener,
  RetiredPlaces,
  SharedParts,
  SpanOwner,
  SpanToken,
} from "./contract.ts";
import { makeCore } from "./make-core.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { OwnLimbo } from "./own-limbo.ts";
import { measurePressure, PressureWatch } from "./pressure.ts";
import { NewRoom } from "./new-room.ts";
import { SpanBytes } from "./span-bytes.ts";
import { SpanIdentity } from "./span-identity.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";
import { detailsOf } from "./detailed-statistics.ts";
import type { DetailedStatistics } from "./detailed-statistics.ts";
import { surveyHeap, type HeapSurvey } from "./heap-survey.ts";
import { describeBlock, statisticsOf } from "./statistics.ts";
import type { BlockInfo, Statistics } from "./statistics.ts";

const { block: blockOf } = spanAccess;

/** What an engine is made of. */
export abstract class EngineParts implements SpanOwner {
  readonly core: Core;
  readonly blocks: BlockMemory;
  readonly room: NewRoom;
  readonly trims: BlockTrims;
  readonly isExecutable: boolean;
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
  /** The name by which the system tells this allocator's memory from all other. */
  readonly tagName: string;
  /** The object that spans call: this one, or the SharedEngine that locks before it calls this one. */
  owner: SpanOwner = this;
  /** Undefined: this thread alone can release, and it knows where it is. */
  readonly door = undefined;
  /** What was released while it may be running: this thread's own limbo, or the one of all threads. */
  limbo: RetiredPlaces;
  readonly own: OwnLimbo;
  /** Who wants to know of pressure; undefined = nobody does. */
  pressure: PressureWatch | undefined;
  /**
   * Counts the operations that may have ended a span. While the count stays the same, every span that was live is live,
   * so a function need not look its span up at each call. NaN, which equals nothing, forces the look-up: it must be NaN
   * once other threads can release.
   */
  releaseCount = 0;
  protected readonly addresses: AddressLookUp;
  protected readonly identity: SpanIdentity;
  protected readonly bytes: SpanBytes;

  constructor(options: Readonly<ResolvedJitAllocatorOptions>, memory: VirtualMemory, shared?: SharedParts) {
    this.options = options;
    this.tagName = shared?.tagName ?? uniqueName();
    this.core = makeCore(options, shared?.buffer);
    this.blocks = new BlockMemory(this, this.core, memory, options, this.tagName);
    this.room = new NewRoom(this.core, this.blocks, options);
    this.trims = new BlockTrims(this.core, this.blocks, memory);
    this.limbo = this.own = new OwnLimbo(
      this.core,
      this.blocks,
      (mapped, granule) => this.free(mapped, granule, false),
      () => this.dispose(),
    );
    this.addresses = new AddressLookUp(this.core, this.blocks, this);
    this.identity = new SpanIdentity(this.core, this.blocks, this);
    this.bytes = new SpanBytes(this.core, this.identity, this.blocks);
    this.isExecutable = memory.name !== "simulated";
  }

  /** Releases the allocation that begins at `granule`; `isOwn` says that it goes through the span that `alloc` made. */
  abstract free(mapped: MappedBlock, granule: number, isOwn: boolean): void;
  abstract release(target: Span | Address): void;
  abstract shrink(target: Span | Address, newSize: number): void;
  abstract tokenOf(span: Span): SpanToken;
  abstract dispose(): void;
  abstract observe(observer: Observer): void;
  abstract unobserve(observer: Observer): void;
  /** @throws JitError `ERR_DISPOSED` */
  abstract checkOpen(action: string): void;
  /** Until nothing is in limbo, operations look before they take the short path. */
  protected abstract takeLongWay(): void;

  /** Hands the allocator over to what locks before it calls this one. */
  ownBy(owner: SpanOwner, limbo: RetiredPlaces): void {
    this.owner = owner;
    this.limbo = limbo;
    this.releaseCount = NaN; // also for functions that were made before
    this.own.isShared = true;
    this.takeLongWay();
  }

  /** Takes back what {@link ownBy} handed over. */
  ownAgain(releaseCount: number): void {
    this.owner = this;
    this.limbo = this.own;
    this.releaseCount = releaseCount;
    this.own.isShared = false;
  }

  enter(): void {
    this.own.entries += 1;
    this.takeLongWay();
  }

  leave(): void {
    this.own.leave();
  }

  /** Finds a live allocation. Returns its block; the core names its granule. @throws JitError where it is not live */
  find(target: Span | Address, action: string): MappedBlock {
    if (typeof target === "number") return this.addresses.beginningAt(target, action);
    const mapped = this.identity.liveBlock(target, action);
    this.core.granule = spanAccess.granule(target);
    return mapped;
  }

  /** The start of the live allocation that contains an address. @throws JitError as {@link find} */
  startOf(rx: Address): Address {
    return this.addresses.startOf(rx);
  }

  // --- spans and their bytes ----------------------------------------------------------------------------------

  isLive(span: Span): boolean {
    return this.identity.isLive(span);
  }

  releaseIfLive(span: Span): void {
    if (this.isLive(span)) this.release(span);
  }

  sizeOf(span: Span): number {
    return this.isLive(span) ? this.identity.liveSize(span, blockOf(span)) : 0;
  }

  read(span: Span, offset: number, length: number | undefined): Uint8Array {
    return this.bytes.read(span, offset, length);
  }

  writeBytes(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void {
    this.bytes.write(span, offset, bytes, policy);
  }

  patch(span: Span, offset: number, bytes: Uint8Array): void {
    needMuchStack();
    this.bytes.patch(span, offset, bytes);
  }

  store(span: Span, offset: number, bytes: Uint8Array): void {
    needMuchStack();
    this.bytes.store(span, offset, bytes);
  }

  copyToWrite(span: Span): Uint8Array {
    return this.bytes.copy(span);
  }

  flushRange(mapped: MappedBlock, start: number, end: number): void {
    this.blocks.flush(mapped, start, end - start);
  }

  // --- telling ------------------------------------------------------------------------------------------------

  get range(): AddressRange | undefined {
    return this.blocks.source.range.range;
  }

  get maxReservedSize(): number {
    return this.core.maxReservedBytes;
  }

  statistics(): Statistics {
    this.own.drain();
    this.blocks.notePeak();
    return statisticsOf(this.core, this.trims.residentBytes(), this.limbo);
  }

  detailedStatistics(): DetailedStatistics {
    return detailsOf(this.core, this.blocks, this.trims, this.statistics());
  }

  watchPressure(atRatio: number, listener: PressureListener): Disposable {
    this.pressure ??= new PressureWatch((leastRatio) => this.#measurePressure(leastRatio));
    this.takeLongWay();
    return this.pressure.add(atRatio, listener);
  }

  /** What can be freed is freed before it counts. */
  #measurePressure(leastRatio: number): MemoryPressure | undefined {
    const pressure = measurePressure(this.core, this.blocks, leastRatio);
    if (pressure === undefined || this.own.isEmpty || !this.own.drain()) return pressure;
    return measurePressure(this.core, this.blocks, leastRatio);
  }

  describeBlocks(): BlockInfo[] {
    this.own.drain();
    return this.blocks.all().map((mapped) => describeBlock(this.core, mapped));
  }

  survey(wantsCode: boolean): HeapSurvey {
    return surveyHeap(this, this.statistics(), wantsCode);
  }

  verify(): void {
    verifyStructure(this.core.words, this.core.doubles);
    this.blocks.verify();
  }
}
