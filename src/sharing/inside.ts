/**
 * Knows which threads are inside machine code of a shared allocator, so that none of it is freed while it runs.
 *
 * The *era* is a count that moves on with what is retired. A thread that enters notes the era in its own place, and clears it
 * when it leaves: two plain stores. Behind the entry it checks that the code is live. Whoever retires code ends it first, then
 * makes the processor of every thread order its accesses, reads the era, and moves it on. So a thread that has found the code
 * live had noted its entry before, in that era or an earlier one, and it is seen now; one that notes a later era has found
 * the code ended. When no thread is inside since that era or before, nobody can be running the code.
 *
 * ```text
 * enters                         retires
 * place = era                    the ledger's entry = RETIRED
 * is the ledger's entry live?    barrier
 * call                           the code waits for: era;  era = era + 1
 * place = 0                      free, once each place is 0, or later than what it waits for
 * ```
 *
 * Where the system has no such barrier, who enters orders its accesses itself, by Atomics, which takes some nanoseconds more.
 *
 * Eras wrap around, and are compared by their difference. A thread that stays inside holds what is retired meanwhile, and
 * there are at most 2**25 allocations to retire; so no place is ever 2**31 eras behind.
 */
import { callbacks, whenReturned } from "../base/callbacks.ts";
import { platform } from "../base/platform.ts";
import type { Door } from "../engine/contract.ts";
import { Field, Inside, Members } from "./layout.ts";
import type { MemberTable, ThreadInspector } from "./members.ts";
import type { SharedState } from "./shared-state.ts";

/** Whether every store comes behind all that its thread did before it. Elsewhere a store of Atomics does. */
const STORES_COME_LAST = platform.processor === "x64";

/** The era after another one; 0 stands for being outside. */
export function eraAfter(era: number): number {
  return (era + 1) | 0 || 1;
}

/** Whether a place, which is not 0, was noted in `era` or before. */
export function isSince(place: number, era: number): boolean {
  return ((era - place) | 0) >= 0;
}

/** The threads inside, as one of them sees them. */
export class InsideTable implements Door {
  readonly #state: SharedState;
  readonly #members: MemberTable;
  readonly #threads: ThreadInspector;
  readonly #locked: (act: () => void) => void;
  /** Where this thread notes its entries: the state, until it has detached. */
  #words: Int32Array;
  #atomics: Int32Array;
  #place = 0;
  /** How often this thread has entered and not left. */
  #depth = 0;
  /** Whether the others know that this thread enters at all. */
  #isKnown = false;
  #isFencing = false;
  /** Whether this thread counts as inside because it was, below a callback, when it began to share. */
  #isBelow = false;
  /** Whether another thread is known to have entered at least once. */
  #hasOthers = false;
  #onLeave: (() => void) | undefined;

  /** @param locked calls a function while this thread holds the lock */
  constructor(
    state: SharedState,
    members: MemberTable,
    threads: ThreadInspector,
    locked: (act: () => void) => void,
  ) {
    this.#state = state;
    this.#members = members;
    this.#threads = threads;
    this.#locked = locked;
    this.#words = state.words;
    this.#atomics = state.atomics;
  }

  /** Called once by the thread that makes the state, before any other knows of it. */
  setUp(): void {
    const { words } = this.#state;
    words[Field.era] = 1;
    words[Field.isFencing] = this.#threads.orderStores?.() === true ? 0 : 1;
  }

  /**
   * Called when this thread has its number, with the lock held. What an earlier thread with the number noted there means
   * nothing any more.
   * @param entries how often it has entered already, while the allocator was its own
   */
  begin(member: number, entries: number): void {
    this.#place = placeOf(member);
    this.#words[this.#place + Inside.era] = 0;
    this.#isFencing = this.#words[Field.isFencing] !== 0;
    this.#isBelow = callbacks.depth > 0;
    const all = entries + (this.#isBelow ? 1 : 0);
    if (all === 0) return;
    this.#becomeKnown();
    for (let count = 0; count < all; count++) this.enter();
    // A thread that detaches there has no later operation that would notice.
    if (this.#isBelow) whenReturned(() => this.#leaveCall());
  }

  /** Takes back the entry for the call of machine code in which this thread got its number. */
  #leaveCall(): void {
    if (!this.#isBelow) return;
    this.#isBelow = false;
    this.leave();
  }

  enter(): void {
    if (this.#depth === 0) {
      if (!this.#isKnown) this.#introduce();
      if (this.#isFencing) this.#noteInOrder();
      else this.#words[this.#place] = this.#words[Field.era] ?? 1;
    }
    this.#depth += 1;
  }

  leave(): void {
    this.#depth -= 1;
    if (this.#depth !== 0) return;
    if (this.#isFencing || !STORES_COME_LAST) Atomics.store(this.#atomics, this.#place, 0);
    else this.#words[this.#place] = 0;
    this.#onLeave?.();
  }

  #noteInOrder(): void {
    Atomics.store(this.#atomics, this.#place, this.#words[Field.era] ?? 1);
    // Behind this load come all later ones, also plain ones.
    Atomics.load(this.#atomics, this.#place);
  }

  /** Lets the others know, before its first entry, that this thread enters. */
  #introduce(): void {
    if (this.#onLeave === undefined) this.#locked(() => this.#becomeKnown());
  }

  #becomeKnown(): void {
    const words = this.#words;
    words[this.#place + Inside.isCaller] = 1;
    const last = words[Field.lastCaller] ?? 0;
    words[Field.lastCaller] = Math.max(last, numberOf(this.#place));
    this.#isKnown = true;
  }

  /**
   * Ends this thread's part. It has left for the others (`leave`) only when it is outside: at once, or late, when its outermost
   * call returns.
   */
  end(leave: (isLate: boolean) => void): void {
    const over = (isLate: boolean): void => {
      this.#onLeave = () => undefined;
      try {
        leave(isLate);
      } finally {
        // The place may be another thread's from now on.
        this.#words = new Int32Array(Field.count);
        this.#atomics = this.#words;
        this.#place = 0;
      }
    };
    if (this.#isOutside()) over(false);
    else this.#onLeave = () => over(true);
  }

  /** Whether this thread is outside. */
  #isOutside(): boolean {
    if (callbacks.depth === 0) this.#leaveCall();
    return this.#depth === 0;
  }

  /** Whether any thread can be inside: none can that has never entered, and this one knows about itself. The lock is held. */
  get mayBeOccupied(): boolean {
    return !this.#isOutside() || this.hasOthers;
  }

  /** Whether another thread has ever entered. The lock is held, so that none does for the first time meanwhile. */
  get hasOthers(): boolean {
    return (this.#hasOthers ||= this.#findOthers());
  }

  #findOthers(): boolean {
    const { words } = this.#state;
    const end = placeOf((words[Field.lastCaller] ?? 0) + 1);
    for (let place = placeOf(1); place < end; place += Inside.integers) {
      if (place !== this.#place && words[place + Inside.isCaller] !== 0) return true;
    }
    return false;
  }

  /**
   * Closes an era: whoever notes a later one finds ended what is ended now. Returns the era; 0 where this thread cannot have
   * the stores of the others ordered, so that nothing may be freed. The lock is held.
   */
  closeEra(): number {
    const { words, atomics } = this.#state;
    const isOrdered =
      words[Field.isFencing] !== 0 || !this.hasOthers || this.#threads.orderStores?.() === true;
    if (!isOrdered) return 0;
    const era = words[Field.era] ?? 1;
    words[Field.era] = eraAfter(era);
    // Who orders its own stores looks at the ledger behind a load of Atomics. So the reads below come behind this store.
    Atomics.store(atomics, Field.isFencing, words[Field.isFencing] ?? 0);
    return era;
  }

  /** Whether a thread that has entered in that era, or before, may still be inside. Threads that have ended count as gone. */
  isOccupiedSince(era: number): boolean {
    this.#isOutside();
    const { words, atomics } = this.#state;
    const end = placeOf((words[Field.lastCaller] ?? 0) + 1);
    for (let place = placeOf(1); place < end; place += Inside.integers) {
      const since = Atomics.load(atomics, place);
      if (since === 0 || !isSince(since, era)) continue;
      if (place === this.#place || !this.#members.isOver(numberOf(place))) return true;
    }
    return false;
  }
}

function placeOf(member: number): number {
  return Inside.start + Math.min(member, Members.count) * Inside.integers;
}

function numberOf(place: number): number {
  return (place - Inside.start) / Inside.integers;
}
