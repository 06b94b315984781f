/**
 * The turn of one thread on a shared allocator: what each of its operations does before and after its work. It takes the lock,
 * repairs what a dead thread left, renews what this thread keeps for itself, and lets go.
 */
import type { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import { refuseDetached } from "../engine/refusals.ts";
import { needMuchStack, needStack, needStackAtFirst } from "../base/stack.ts";
import { Field } from "./layout.ts";
import type { Limbo } from "./limbo.ts";
import { Lock } from "./lock.ts";
import type { MemberTable } from "./members.ts";
import type { OwnGenerations } from "./own-generations.ts";
import { repair } from "./repair.ts";
import type { SharedState } from "./shared-state.ts";

/** Begins and ends the operations of one thread. */
export class Turn {
  readonly #engine: Engine;
  readonly #state: SharedState;
  readonly #members: MemberTable;
  readonly #generations: OwnGenerations;
  readonly #limbo: Limbo;
  #lock: Lock;
  /** The epoch of what this thread keeps for itself; NaN = all of it may be stale. */
  #epoch = NaN;
  /** The length of the core's buffer, in integers, when this thread last looked. */
  #length: number;
  #isOver = false;
  /** True while this thread holds the lock. */
  #holds = false;
  /** While the lock is held: whether the operation itself has begun, and the core gives this thread's generations. */
  #isReady = false;

  /** @param number the thread's member number; 0 = it has none yet */
  constructor(
    engine: Engine,
    state: SharedState,
    members: MemberTable,
    generations: OwnGenerations,
    limbo: Limbo,
    number: number,
  ) {
    this.#limbo = limbo;
    this.#engine = engine;
    this.#state = state;
    this.#members = members;
    this.#generations = generations;
    this.#length = engine.core.words.length;
    this.#lock = this.#lockAs(number);
  }

  #lockAs(number: number): Lock {
    return new Lock(this.#state.atomics, Field.lock, number, this.#members);
  }

  /** From now on the lock is taken as that member. */
  takeNumber(number: number): void {
    this.#lock = this.#lockAs(number);
  }

  /** Whether that member holds the lock, or waits for it. */
  involves(number: number): boolean {
    return this.#lock.involves(number);
  }

  /** Whether {@link end} was called: this thread's number may be another thread's by now. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether nothing of what this thread keeps for itself has become stale. */
  get isCurrent(): boolean {
    return this.#state.epoch === this.#epoch;
  }

  /** Notes that what this thread keeps for itself is new: it has just enrolled the allocator. */
  begin(): void {
    this.#length = this.#engine.core.words.length;
    this.#epoch = this.#state.epoch;
  }

  /** Ends the thread's part in the allocator. In a turn: the caller lets go after it. */
  end(): void {
    this.#isOver = true;
    this.#catchUp();
  }

  /**
   * Gives the thread's number back. Called behind {@link end}, when the thread is outside.
   * @param isLate whether others may have waited for it meanwhile: a disposal that did is finished first, as by the next
   *   operation of any thread, because there may be no other thread. Else this is still in the turn that ends its part.
   */
  over(number: number, isLate: boolean): void {
    try {
      if (isLate && Atomics.load(this.#state.atomics, Field.isDisposed) !== 0) this.#finish();
    } finally {
      this.#members.leave(number);
    }
  }

  #finish(): void {
    this.#isOver = false;
    try {
      this.run(() => this.end());
    } finally {
      this.#isOver = true;
    }
  }

  /** Takes the lock, and renews what this thread keeps for itself. If it throws, the caller calls {@link fail}. */
  enter(): void {
    if (this.#isOver) throw refuseDetached("use the allocator");
    needStack();
    needStackAtFirst();
    const isInherited = this.#lock.acquire();
    this.#holds = true;
    const state = this.#state;
    const isTorn = isInherited || state.isTorn || state.isEnding;
    // Stays set until the operation ends well: if the thread ends anywhere in between, there is something to repair.
    state.isTorn = true;
    if (isTorn) {
      needMuchStack();
      repair(this.#engine, state, this.#limbo, (number) => this.#members.isOver(number));
    }
    if (state.epoch !== this.#epoch) this.#catchUp();
    this.#generations.begin();
    this.#isReady = true;
  }

  /** Ends an operation that succeeded, and lets go. */
  leave(): void {
    this.#settle();
    this.#state.isTorn = false;
    this.#letGo();
  }

  /**
   * Ends an operation that failed, and lets go. Returns the error. Any error but a JitError (a used-up stack, say) may
   * have come in the middle of a change, so the next thread must repair.
   */
  fail(error: unknown): unknown {
    if (!this.#holds) return error;
    if (this.#isReady) {
      this.#settle();
      if (error instanceof JitError) this.#state.isTorn = false;
    }
    this.#letGo();
    return error;
  }

  /** Takes the lock, calls `act`, and lets go. For operations that are not frequent. */
  run<T>(act: () => T): T {
    try {
      this.enter();
      const result = act();
      this.leave();
      return result;
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Notes the generation that the operation has given, and tells the other threads if the buffer has grown. */
  #settle(): void {
    const { core } = this.#engine;
    this.#generations.end();
    if (core.words.length !== this.#length) {
      // The other threads' views are too short now.
      this.#length = core.words.length;
      this.#state.register.bumpEpoch();
    }
  }

  #letGo(): void {
    this.#holds = false;
    this.#isReady = false;
    this.#lock.release();
  }

  /** Renews what this thread keeps for itself, because a thread grew the buffer, unmapped a block, repaired, or disposed. */
  #catchUp(): void {
    const engine = this.#engine;
    const state = this.#state;
    engine.core.refreshViews();
    this.#length = engine.core.words.length;
    const isOver = state.isDisposed || this.#isOver;
    engine.blocks.dropUnmapped(isOver);
    if (isOver) engine.closeDown();
    this.#epoch = state.epoch;
  }
}
