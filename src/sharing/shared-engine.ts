/**
 * An allocator that several threads share. Each operation takes the lock, calls the engine of this thread, and lets go
 * (turn.ts). When a thread has died in the middle of an operation, the next one that takes the lock repairs.
 *
 * The register of blocks and the ledger of each block (core/ledger.ts) are right at every instant: an operation has happened
 * once its write there is done, and not before. All else can be derived from them.
 */
import { allocAndWrite, type AllocatorOperations } from "../engine/operations.ts";
import type { Engine } from "../engine/engine.ts";
import type { Address } from "../ffi/contract.ts";
import type { MappedBlock } from "../engine/mapped-block.ts";
import { outOfNumbers, refuseDetached } from "../engine/refusals.ts";
import { Kind } from "../core/layout.ts";
import { detailsOf, type DetailedStatistics } from "../engine/detailed-statistics.ts";
import { retireEntry } from "../core/ledger.ts";
import { SharedLedgers } from "./ledgers.ts";
import { observe, unobserve } from "../engine/observation.ts";
import type {
  CachePolicy,
  Door,
  ModuleTicket,
  Observer,
  PressureListener,
  SpanToken,
} from "../engine/contract.ts";
import { surveyHeap, type HeapSurvey } from "../engine/heap-survey.ts";
import type { Span } from "../engine/span.ts";
import { statisticsOf, type BlockInfo, type Statistics } from "../engine/statistics.ts";
import { needMuchStack } from "../base/stack.ts";
import { InsideTable } from "./inside.ts";
import { Limbo } from "./limbo.ts";
import { MemberTable, type ThreadInspector } from "./members.ts";
import { Membership } from "./membership.ts";
import { SharedModules } from "./modules.ts";
import { OwnGenerations } from "./own-generations.ts";
import { SharedReleases } from "./releases.ts";
import { SharedPressure } from "./shared-pressure.ts";
import type { SharedState } from "./shared-state.ts";
import { Turn } from "./turn.ts";
import { joinInPlace } from "./succession.ts";
import type { AddressRange } from "../vm/contract.ts";

/** The inside of a shared JitAllocator, in one thread. */
export class SharedEngine implements AllocatorOperations {
  readonly isExecutable: boolean;
  /** NaN, because other threads can release at any time: functions look their span up at each call. */
  readonly releaseCount = NaN;
  readonly engine: Engine;
  readonly state: SharedState;
  /** The member number of this thread. */
  readonly memberId: number;
  readonly membership: Membership;
  readonly #inside: InsideTable;
  readonly #limbo: Limbo;
  readonly #releases: SharedReleases;
  readonly #members: MemberTable;
  readonly #ledgers: SharedLedgers;
  readonly #generations: OwnGenerations;
  readonly #modules: SharedModules;
  readonly #turn: Turn;
  readonly #pressure: SharedPressure;

  /** @throws JitError `ERR_OUT_OF_MEMORY` where all member numbers belong to threads that are not over */
  constructor(engine: Engine, state: SharedState, threads: ThreadInspector) {
    this.engine = engine;
    this.isExecutable = engine.isExecutable;
    this.state = state;
    this.#members = new MemberTable(state.atomics, threads);
    this.#inside = new InsideTable(state, this.#members, threads, (act) => this.#turn.run(act));
    this.#limbo = new Limbo(engine, state, this.#inside);
    this.#releases = new SharedReleases(engine, state, this.#inside, this.#limbo);
    this.#ledgers = new SharedLedgers(engine, state, (address) => this.#releases.release(address));
    this.#generations = new OwnGenerations(engine.core, state.batches, this.#ledgers);
    this.#modules = new SharedModules(state, this.#ledgers, () => this.memberId);
    const number = this.#members.join();
    this.#turn = new Turn(engine, state, this.#members, this.#generations, this.#limbo, number);
    this.#pressure = new SharedPressure(engine, this.#limbo, this.#turn);
    this.memberId = number || this.#joinInPlace();
    this.membership = new Membership(this.memberId, this.#members, this.#ledgers, (act) =>
      this.#turn.run(act),
    );
    engine.ownBy(this, this.#limbo);
  }

  /** Machine code of the allocator is entered through it. */
  get door(): Door {
    return this.#inside;
  }

  // --- sharing ------------------------------------------------------------------------------------------------

  /**
   * Makes an allocator that one thread had for itself ready to be shared: every allocation gets a generation, and every
   * block an entry in the register. Called once, before any other thread knows of the allocator.
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no room for the ledgers
   */
  enrol(): void {
    needMuchStack();
    const { core, blocks } = this.engine;
    const journal = blocks.source.prepare(this.state.journal, true);
    const given = this.#ledgers.makeAll();
    // From here on nothing can fail.
    const retire = (block: number, granule: number): void => retireEntry(core.words, block, granule);
    this.state.isEmptying = this.engine.own.share(retire);
    this.state.batches.claim(this.memberId, core.generation, given);
    this.#generations.resume(this.memberId);
    blocks.share(this.state.register, this, journal, this.state);
    this.#pressure.takeOver();
    this.#inside.setUp();
    this.#inside.begin(this.memberId, this.engine.own.entries);
    this.#limbo.rebuild();
    this.engine.room.reclaim = () => this.#limbo.drain();
    this.#turn.begin();
  }

  /** Joins an allocator that another thread has enrolled. */
  join(): void {
    try {
      this.#attachBlocks();
      this.#turn.run(() => {
        this.#inside.begin(this.memberId, 0);
        this.#generations.resume(this.memberId);
      });
      this.engine.room.reclaim = () => this.#limbo.drain();
    } catch (error) {
      this.#members.leave(this.memberId); // no thread will ever use the number
      throw error;
    }
  }

  #attachBlocks(): void {
    const { blocks } = this.engine;
    const { register, journal } = this.state;
    blocks.attach(register, this, blocks.source.prepare(journal, false), this.state);
  }

  /** Ends this thread's part: its views are closed, and its spans can no longer be used here. The allocations stay. */
  detach(): void {
    if (this.#turn.isOver) return;
    this.#turn.run(() => {
      this.#turn.end();
      this.#inside.end((isLate) => this.#turn.over(this.memberId, isLate));
    });
  }

  /** Takes the number of a thread that is over, because all numbers are given. */
  #joinInPlace(): number {
    this.#attachBlocks();
    const isHolder = (number: number): boolean => this.#turn.involves(number);
    const number = joinInPlace(this.state, this.#members, this.#ledgers, isHolder, (claimed, act) => {
      this.#turn.takeNumber(claimed);
      return this.#turn.run(act);
    });
    if (number === 0) throw outOfNumbers();
    return number;
  }

  enter(): void {
    this.#inside.enter();
  }

  leave(): void {
    this.#inside.leave();
  }

  // --- operations ---------------------------------------------------------------------------------------------
  // Frequent operations do not use `run`: the closure made for each call would cost as much as the lock.

  alloc(size: number): Span {
    if (this.#pressure.watch !== undefined) return this.allocOf(size, Kind.code, false);
    try {
      this.#turn.enter();
      this.#generations.prepare(this.memberId);
      const span = this.engine.alloc(size);
      this.#turn.leave();
      return span;
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  allocOf(size: number, kind: Kind, mustSucceed: boolean): Span {
    return this.#pressure.around(() =>
      this.#turn.run(() => {
        this.#generations.prepare(this.memberId);
        return this.engine.allocOf(size, kind, mustSucceed);
      }),
    );
  }

  watchPressure(atRatio: number, listener: PressureListener): Disposable {
    return this.#pressure.add(atRatio, listener);
  }

  allocAddress(size: number): Address {
    if (this.#pressure.watch !== undefined) return this.allocOf(size, Kind.code, false).rx;
    try {
      this.#turn.enter();
      this.#generations.prepare(this.memberId);
      const address = this.engine.allocTracked(size);
      this.#turn.leave();
      return address;
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  release(target: Span | Address): void {
    try {
      this.#turn.enter();
      this.#releases.release(target);
      this.#turn.leave();
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  allocCode(code: Uint8Array, size: number, mustSucceed: boolean): Span {
    return allocAndWrite(this, code, size, mustSucceed);
  }

  allocPart(ticket: ModuleTicket, size: number, kind: Kind, mustSucceed: boolean): Span {
    const { core } = this.engine;
    const add = (): Span =>
      this.#modules.add(ticket, core, () => this.engine.allocOf(size, kind, mustSucceed));
    return this.#pressure.around(() => this.#turn.run(add));
  }

  commitModule(ticket: ModuleTicket): void {
    this.#turn.run(() => this.#modules.commit(ticket));
  }

  releaseModule(ticket: ModuleTicket, spans: readonly Span[]): void {
    this.#turn.run(() =>
      this.#modules.release(ticket, spans, () => this.#releases.releaseModule(ticket, spans)),
    );
  }

  releaseIfLive(span: Span): void {
    if (this.#turn.isOver) return;
    this.#turn.run(() => {
      if (this.engine.isLive(span)) this.#releases.release(span);
    });
  }

  observe(observer: Observer): void {
    observe(this, observer);
    this.membership.observers.push(observer);
  }

  unobserve(observer: Observer): void {
    unobserve(this, observer);
    const { observers } = this.membership;
    observers.splice(0, observers.length, ...observers.filter((each) => each !== observer));
  }

  shrink(target: Span | Address, newSize: number): void {
    try {
      this.#turn.enter();
      if (!this.#limbo.isEmpty) this.engine.find(target, "shrink");
      if (newSize === 0) this.#releases.release(target, "shrink");
      else this.engine.shrink(target, newSize);
      this.#turn.leave();
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  query(rx: Address): Span {
    try {
      this.#turn.enter();
      const span = this.engine.query(rx);
      this.#turn.leave();
      return span;
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  queryAddress(rx: Address): Address {
    try {
      this.#turn.enter();
      const { engine } = this;
      const address = this.#limbo.isEmpty ? engine.queryAddress(rx) : engine.startOf(rx);
      this.#turn.leave();
      return address;
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  spanOf(token: SpanToken): Span {
    return this.#turn.run(() => this.engine.spanOf(token));
  }

  /**
   * Looks first without the lock, and compares the epoch after that. If the epoch is the one that this thread knows, no
   * block has gone and nothing was repaired, so what was read in the ledger belongs to the span. The order matters.
   */
  isLive(span: Span): boolean {
    const isLive = this.engine.isLive(span);
    if (this.#turn.isCurrent || this.#turn.isOver) return isLive;
    return this.#turn.run(() => this.engine.isLive(span));
  }

  tokenOf(span: Span): SpanToken {
    return this.#turn.isOver ? this.engine.tokenOf(span) : this.#turn.run(() => this.engine.tokenOf(span));
  }

  sizeOf(span: Span): number {
    if (this.#turn.isOver) return 0;
    return this.#turn.run(() => this.engine.sizeOf(span));
  }

  read(span: Span, offset: number, length: number | undefined): Uint8Array {
    return this.#turn.run(() => this.engine.read(span, offset, length));
  }

  /** Writes under the lock, so that no thread unmaps the memory in the meantime. */
  writeBytes(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void {
    try {
      this.#turn.enter();
      this.engine.writeBytes(span, offset, bytes, policy);
      this.#turn.leave();
    } catch (error) {
      throw this.#turn.fail(error);
    }
  }

  patch(span: Span, offset: number, bytes: Uint8Array): void {
    this.#turn.run(() => this.engine.patch(span, offset, bytes));
  }

  store(span: Span, offset: number, bytes: Uint8Array): void {
    this.#turn.run(() => this.engine.store(span, offset, bytes));
  }

  /** Only the copying takes the lock. The callback runs without it: it may take long, and use the allocator. */
  copyToWrite(span: Span): Uint8Array {
    return this.#turn.run(() => this.engine.copyToWrite(span));
  }

  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): void {
    this.#turn.run(() => this.engine.writeBack(span, code, kept, policy));
  }

  flushRange(block: MappedBlock, start: number, end: number): void {
    this.#turn.run(() => this.engine.flushRange(block, start, end));
  }

  statistics(): Statistics {
    return this.#drained(() => this.#count());
  }

  detailedStatistics(): DetailedStatistics {
    const { core, blocks, trims } = this.engine;
    return this.#drained(() => detailsOf(core, blocks, trims, this.#count()));
  }

  #count(): Statistics {
    const { core, blocks, trims } = this.engine;
    blocks.notePeak();
    return statisticsOf(core, trims.residentBytes(), this.#limbo, this.state.usedBytes);
  }

  survey(wantsCode: boolean): HeapSurvey {
    const { batches } = this.state;
    return this.#drained(() =>
      surveyHeap(this.engine, this.#count(), wantsCode, (generation) => batches.ownerOf(generation)),
    );
  }

  get range(): AddressRange | undefined {
    return this.#turn.run(() => this.engine.range);
  }

  trim(): number {
    return this.#drained(() => this.engine.trim());
  }

  get maxReservedSize(): number {
    return this.engine.maxReservedSize;
  }

  describeBlocks(): BlockInfo[] {
    return this.#drained(() => this.engine.describeBlocks());
  }

  /** Runs what tells of the memory, behind the release of all that can be freed. */
  #drained<T>(act: () => T): T {
    return this.#turn.run(() => {
      this.#limbo.drain();
      return act();
    });
  }

  reset(policy: "soft" | "hard"): void {
    this.#turn.run(() => this.#releases.reset(policy));
  }

  /** Disposes of the allocator for all threads. */
  dispose(): void {
    this.#turn.run(() => this.#releases.dispose());
  }

  checkOpen(action: string): void {
    if (this.#turn.isOver) throw refuseDetached(action);
    if (!this.#turn.isCurrent) this.#turn.run(() => undefined);
    this.engine.checkOpen(action);
  }

  /** Checks the invariants of everything, of the register and the ledgers too. */
  verify(): void {
    this.#turn.run(() => {
      this.engine.verify();
      this.#ledgers.verify();
      this.#limbo.verify();
    });
  }
}
