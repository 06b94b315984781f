/** The threads that share an allocator: which numbers they have, and which of them still live. */
import { Members } from "./layout.ts";
import type { HolderInspector } from "./lock.ts";

/** A thread as the system knows it. */
export interface ThreadIdentity {
  /** The native thread id: an integer from 1 to 2**31 − 1. */
  readonly id: number;
  /** When it began, in any unit, so that a later thread with the same id is told apart; 0 = not known. */
  readonly startTime: number;
}

/** What the system can tell of threads. */
export interface ThreadInspector {
  /** The thread that calls. */
  current(): ThreadIdentity;
  /** Whether that thread still lives; undefined where the system does not tell. */
  isAlive(thread: ThreadIdentity): boolean | undefined;
}

/**
 * Where the system does not tell, a thread that has held the lock for so long without a pause counts as gone.
 * The longest operation fills a block of 2 GiB, which takes a second or two.
 */
const LONGEST_HOLD_MS = 10_000;

/** The table of members, as one of them sees it. */
export class MemberTable implements HolderInspector {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #threads: ThreadInspector;
  readonly #self: ThreadIdentity;

  /** @param words the whole buffer */
  constructor(words: Int32Array, threads: ThreadInspector) {
    this.#words = words;
    this.#doubles = new Float64Array(words.buffer);
    this.#threads = threads;
    this.#self = threads.current();
  }

  /** Enters this thread under a number that nobody had, or returns 0 where all were given. Needs no lock. */
  join(): number {
    for (let number = 1; number < Members.count; number++) {
      // The id claims the number: whoever dies right behind this is known to be dead.
      if (Atomics.compareExchange(this.#words, at(number) + Members.id, 0, this.#self.id) !== 0) continue;
      this.#doubles[(at(number) >> 1) + Members.startTime] = this.#self.startTime;
      return number;
    }
    return 0;
  }

  /**
   * Takes the number of a thread that is over, and returns what it was then; undefined where somebody else was faster.
   * From then on the number is this thread's in the eyes of all. Precondition: the other one does not hold the lock,
   * which it cannot take again. Needs no lock.
   */
  claim(number: number): ThreadIdentity | undefined {
    const before = this.#identity(number);
    const index = at(number) + Members.id;
    if (Atomics.compareExchange(this.#words, index, before.id, this.#self.id) !== before.id) return undefined;
    this.#doubles[(at(number) >> 1) + Members.startTime] = this.#self.startTime;
    this.#words[at(number) + Members.hasLeft] = 0;
    return before;
  }

  /** Undoes {@link claim}: the number is that of a thread that is over again. Precondition: the lock is not held. */
  giveBack(number: number, before: ThreadIdentity): void {
    this.#words[at(number) + Members.hasLeft] = 1;
    this.#doubles[(at(number) >> 1) + Members.startTime] = before.startTime;
    Atomics.store(this.#words, at(number) + Members.id, before.id);
  }

  /** Notes that this member is done. */
  leave(number: number): void {
    this.#words[at(number) + Members.hasLeft] = 1;
  }

  /** Whether nothing will come of this member any more. */
  isOver(number: number): boolean {
    return this.hasLeft(number) || this.isAlive(number) === false;
  }

  hasLeft(number: number): boolean {
    return this.#words[at(number) + Members.hasLeft] !== 0;
  }

  /** How many numbers were ever given; they are given in order, from 1. */
  count(): number {
    let number = 1;
    while (number < Members.count && this.#words[at(number) + Members.id] !== 0) number++;
    return number - 1;
  }

  isThisThread(number: number): boolean {
    return isSame(this.#identity(number), this.#self);
  }

  isGone(number: number, heldMs: number): boolean {
    return !(this.isAlive(number) ?? heldMs < LONGEST_HOLD_MS);
  }

  /** Whether the member's thread still runs; undefined where the system does not tell. */
  isAlive(number: number): boolean | undefined {
    const thread = this.#identity(number);
    return isSame(thread, this.#self) || this.#threads.isAlive(thread);
  }

  #identity(number: number): ThreadIdentity {
    return {
      id: this.#words[at(number) + Members.id] ?? 0,
      startTime: this.#doubles[(at(number) >> 1) + Members.startTime] ?? 0,
    };
  }
}

function at(number: number): number {
  return Members.start + number * Members.integers;
}

/** A thread that died while it joined may have left no time. */
function isSame(thread: ThreadIdentity, other: ThreadIdentity): boolean {
  return thread.id === other.id && (thread.startTime === other.startTime || thread.startTime === 0);
}
