/**
 * An allocator that several threads share. Each operation takes the lock, calls the engine of this thread, and lets go.
 * When a thread has died in the middle of an operation, the next one that takes the lock repairs.
 *
 * The register of blocks and the ledger of each block (core/ledger.ts) are right at every instant. An operation has
 * happened once its write there is done, and not before. Everything else can be derived from them.
 */
import type { AllocatorOperations } from "../engine/operations.ts";
import type { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type { MappedBlock } from "../engine/mapped-block.ts";
import { outOfNumbers, refuseDetached } from "../engine/refusals.ts";
import type { Kind } from "../core/layout.ts";
import { repair } from "./repair.ts";
import { SharedLedgers } from "./ledgers.ts";
import type { ModuleTicket, SpanToken } from "../engine/contract.ts";
import type { Span } from "../engine/span.ts";
import { statisticsOf } from "../engine/statistics.ts";
import { needMuchStack, needStack, needStackAtFirst } from "../base/stack.ts";
import type { BlockInfo, Statistics } from "../engine/statistics.ts";
import { Lock } from "./lock.ts";
import { MemberTable } from "./members.ts";
import { Membership } from "./membership.ts";
import type { ThreadInspector } from "./members.ts";
import { Field, Intent } from "./layout.ts";
import { SharedModules } from "./modules.ts";
import { OwnGenerations } from "./own-generations.ts";
import type { SharedState } from "./shared-state.ts";
import { joinInPlace } from "./succession.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { CachePolicy } from "../engine/write-scope.ts";

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
  readonly #members: MemberTable;
  readonly #ledgers: SharedLedgers;
  readonly #generations: OwnGenerations;
  readonly #modules: SharedModules;
  #lock: Lock;
  /** The epoch of what this thread keeps for itself; NaN = all of it may be stale. */
  #epoch = NaN;
  /** The length of the core's buffer, in integers, when this thread last looked. */
  #length = 0;
  #hasLeft = false;
  /** True while this thread holds the lock. */
  #holds = false;
  /** While the lock is held: whether the operation itself has begun, and the core gives this thread's generations. */
  #isReady = false;

  /** @throws JitError `ERR_OUT_OF_MEMORY` where all member numbers belong to threads that are not over */
  constructor(engine: Engine, state: SharedState, threads: ThreadInspector) {
    this.engine = engine;
    this.isExecutable = engine.isExecutable;
    this.state = state;
    this.#members = new MemberTable(state.atomics, threads);
    this.#ledgers = new SharedLedgers(engine, state);
    this.#generations = new OwnGenerations(engine.core, state.batches, this.#ledgers);
    this.#modules = new SharedModules(state, this.#ledgers, () => this.memberId);
    this.#length = engine.core.words.length;
    const number = this.#members.join();
    this.#lock = this.#lockAs(number);
    this.memberId = number || this.#joinInPlace();
    this.membership = new Membership(this.memberId, this.#members, this.#ledgers, (act) => this.#run(act));
    engine.owner = this;
    engine.releaseCount = NaN; // also for functions that were made before
  }

  #lockAs(number: number): Lock {
    return new Lock(this.state.atomics, Field.lock, number, this.#members);
  }

  // --- the lock -----------------------------------------------------------------------------------------------

  /** Takes the lock, and renews what this thread keeps for itself. If it throws, the caller calls `#fail`. */
  #enter(): void {
    // After `detach`, this thread's number may be another thread's.
    if (this.#hasLeft) throw refuseDetached("use the allocator");
    needStack();
    needStackAtFirst();
    const isInherited = this.#lock.acquire();
    this.#holds = true;
    const { state } = this;
    const isTorn = isInherited || state.isTorn;
    // Stays set until the operation ends well: if the thread ends anywhere in between, there is something to repair.
    state.isTorn = true;
    if (isTorn) {
      needMuchStack();
      repair(this.engine, state, (number) => this.#members.isOver(number));
    }
    if (state.epoch !== this.#epoch) this.#catchUp();
    this.#generations.begin();
    this.#isReady = true;
  }

  /** Ends an operation that succeeded, and lets go. */
  #leave(): void {
    this.#settle();
    this.state.isTorn = false;
    this.#letGo();
  }

  /**
   * Ends an operation that failed, and lets go. Returns the error. Any error but a JitError (a used-up stack, say) may
   * have come in the middle of a change, so the next thread must repair.
   */
  #fail(error: unknown): unknown {
    if (!this.#holds) return error;
    if (this.#isReady) {
      this.#settle();
      if (error instanceof JitError) this.state.isTorn = false;
    }
    this.#letGo();
    return error;
  }

  /** Notes the generation that the operation has given, and tells the other threads if the buffer has grown. */
  #settle(): void {
    const { core } = this.engine;
    this.#generations.end();
    if (core.words.length !== this.#length) {
      // The other threads' views are too short now.
      this.#length = core.words.length;
      this.state.register.bumpEpoch();
    }
  }

  #letGo(): void {
    this.#holds = false;
    this.#isReady = false;
    this.#lock.release();
  }

  /** Takes the lock, calls `act`, and lets go. For operations that are not frequent. */
  #run<T>(act: () => T): T {
    try {
      this.#enter();
      const result = act();
      this.#leave();
      return result;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** Renews what this thread keeps for itself, because a thread grew the buffer, unmapped a block, repaired, or disposed. */
  #catchUp(): void {
    const { engine, state } = this;
    engine.core.refreshViews();
    this.#length = engine.core.words.length;
    const isOver = state.isDisposed || this.#hasLeft;
    engine.blocks.dropUnmapped(isOver);
    if (isOver) engine.closeDown();
    this.#epoch = state.epoch;
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
    this.state.batches.claim(this.memberId, core.generation, given);
    this.#generations.resume(this.memberId);
    blocks.share(this.state.register, this, journal, this.state.range);
    this.#length = core.words.length;
    this.#epoch = this.state.epoch;
  }

  /** Joins an allocator that another thread has enrolled. */
  join(): void {
    try {
      this.#attachBlocks();
      this.#run(() => this.#generations.resume(this.memberId));
    } catch (error) {
      this.#members.leave(this.memberId); // no thread will ever use the number
      throw error;
    }
  }

  #attachBlocks(): void {
    const { blocks } = this.engine;
    const { register, journal, range } = this.state;
    blocks.attach(register, this, blocks.source.prepare(journal, false), range);
  }

  /** Ends this thread's part: its views are closed, and its spans can no longer be used here. The allocations stay. */
  detach(): void {
    if (this.#hasLeft) return;
    this.#run(() => {
      this.#hasLeft = true;
      this.#catchUp();
      this.#members.leave(this.memberId);
    });
  }

  /** Takes the number of a thread that is over, because all numbers are given. */
  #joinInPlace(): number {
    this.#attachBlocks();
    const isHolder = (number: number): boolean => this.#lock.involves(number);
    const number = joinInPlace(this.state, this.#members, this.#ledgers, isHolder, (claimed, act) => {
      this.#lock = this.#lockAs(claimed);
      return this.#run(act);
    });
    if (number === 0) throw outOfNumbers();
    return number;
  }

  // --- operations ---------------------------------------------------------------------------------------------
  // Frequent operations do not use `#run`: the closure made for each call would cost as much as the lock.

  alloc(size: number): Span {
    try {
      this.#enter();
      this.#generations.prepare(this.memberId);
      const span = this.engine.alloc(size);
      this.#leave();
      return span;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  allocOf(size: number, kind: Kind): Span {
    return this.#run(() => {
      this.#generations.prepare(this.memberId);
      return this.engine.allocOf(size, kind);
    });
  }

  allocAddress(size: number): Address {
    try {
      this.#enter();
      this.#generations.prepare(this.memberId);
      const address = this.engine.allocTracked(size);
      this.#leave();
      return address;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  release(target: Span | Address): void {
    try {
      this.#enter();
      this.engine.release(target);
      this.#leave();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  allocPart(ticket: ModuleTicket, size: number, kind: Kind): Span {
    const { core } = this.engine;
    return this.#run(() => this.#modules.add(ticket, core, () => this.engine.allocOf(size, kind)));
  }

  commitModule(ticket: ModuleTicket): void {
    this.#run(() => this.#modules.commit(ticket));
  }

  releaseModule(ticket: ModuleTicket, spans: readonly Span[]): void {
    this.#run(() => this.#modules.release(ticket, spans, () => this.engine.releaseModule(ticket, spans)));
  }

  releaseIfLive(span: Span): void {
    if (this.#hasLeft) return;
    this.#run(() => this.engine.releaseIfLive(span));
  }

  shrink(target: Span | Address, newSize: number): void {
    try {
      this.#enter();
      this.engine.shrink(target, newSize);
      this.#leave();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  query(rx: Address): Span {
    try {
      this.#enter();
      const span = this.engine.query(rx);
      this.#leave();
      return span;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  queryAddress(rx: Address): Address {
    try {
      this.#enter();
      const address = this.engine.queryAddress(rx);
      this.#leave();
      return address;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  spanOf(token: SpanToken): Span {
    return this.#run(() => this.engine.spanOf(token));
  }

  /**
   * Looks first without the lock, and compares the epoch after that. If the epoch is the one that this thread knows, no
   * block has gone and nothing was repaired, so what was read in the ledger belongs to the span. The order matters.
   */
  isLive(span: Span): boolean {
    const isLive = this.engine.isLive(span);
    if (this.state.epoch === this.#epoch || this.#hasLeft) return isLive;
    return this.#run(() => this.engine.isLive(span));
  }

  tokenOf(span: Span): SpanToken {
    return this.#hasLeft ? this.engine.tokenOf(span) : this.#run(() => this.engine.tokenOf(span));
  }

  sizeOf(span: Span): number {
    if (this.#hasLeft) return 0;
    return this.#run(() => this.engine.sizeOf(span));
  }

  read(span: Span, offset: number, length: number | undefined): Uint8Array {
    return this.#run(() => this.engine.read(span, offset, length));
  }

  write(span: Span, offset: number, bytes: Uint8Array): void {
    this.writeBytes(span, offset, bytes, "default");
  }

  /** Writes under the lock, so that no thread unmaps the memory in the meantime. */
  writeBytes(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void {
    try {
      this.#enter();
      this.engine.writeBytes(span, offset, bytes, policy);
      this.#leave();
    } catch (error) {
      throw this.#fail(error);
    }
  }

  patch(span: Span, offset: number, bytes: Uint8Array): void {
    this.#run(() => this.engine.patch(span, offset, bytes));
  }

  store(span: Span, offset: number, bytes: Uint8Array): void {
    this.#run(() => this.engine.store(span, offset, bytes));
  }

  /** Only the copying takes the lock. The callback runs without it: it may take long, and use the allocator. */
  copyToWrite(span: Span): Uint8Array {
    return this.#run(() => this.engine.copyToWrite(span));
  }

  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): void {
    this.#run(() => this.engine.writeBack(span, code, kept, policy));
  }

  flushRange(block: MappedBlock, start: number, end: number): void {
    this.#run(() => this.engine.flushRange(block, start, end));
  }

  statistics(): Statistics {
    return this.#run(() => {
      const { core, trims } = this.engine;
      return statisticsOf(core, trims.residentBytes(), this.state.usedBytes);
    });
  }

  get range(): AddressRange | undefined {
    return this.#run(() => this.engine.range);
  }

  trim(): number {
    return this.#run(() => this.engine.trim());
  }

  get maxReservedSize(): number {
    return this.engine.maxReservedSize;
  }

  describeBlocks(): BlockInfo[] {
    return this.#run(() => this.engine.describeBlocks());
  }

  reset(policy: "soft" | "hard"): void {
    this.#runForAll(policy === "soft" ? Intent.resetSoft : Intent.resetHard, () => {
      this.engine.reset(policy);
    });
  }

  /** Disposes of the allocator for all threads. */
  dispose(): void {
    this.#runForAll(Intent.dispose, () => {
      this.engine.dispose();
      this.state.isDisposed = true;
      this.state.register.bumpEpoch();
    });
  }

  /**
   * Runs an operation on all blocks, and notes its intent: should this thread end in the middle, a repair finishes the
   * operation.
   */
  #runForAll(intent: Intent, act: () => void): void {
    this.#run(() => {
      this.state.intent = intent;
      try {
        act();
      } finally {
        this.state.intent = Intent.none;
      }
    });
  }

  checkOpen(action: string): void {
    if (this.#hasLeft) throw refuseDetached(action);
    if (this.state.epoch !== this.#epoch) this.#run(() => undefined);
    this.engine.checkOpen(action);
  }

  /** Checks the invariants of everything, of the register and the ledgers too. */
  verify(): void {
    this.#run(() => {
      this.engine.verify();
      this.#ledgers.verify();
    });
  }
}
