/** The threads that share an allocator: which numbers they have, and which of them still live. */
import type { SharingSupport, ThreadIdentity } from "../vm/contract.ts";
import { Field, Members } from "./layout.ts";
import type { HolderInspector } from "./lock.ts";

/** What the system can tell of threads. */
export type ThreadInspector = Pick<SharingSupport, "currentThread" | "isAlive">;

/** Native thread ids are below it on every system: from here on they are of threads that cannot be told apart otherwise. */
const UNNAMED_IDS = 2 ** 30;

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
    this.#doubles = new Float64Array(words.buffer, 0, words.length >> 1);
    this.#threads = threads;
    this.#self = threads.currentThread() ?? {
      // A number of its own from the shared buffer, which no two threads that share it can have.
      id: UNNAMED_IDS + (Atomics.add(words, Field.unnamedThreads, 1) % UNNAMED_IDS),
      mark: 0,
    };
  }

  /** Enters this thread under a number that nobody had, or returns 0 where all were given. Needs no lock. */
  join(): number {
    for (let number = 1; number < Members.count; number++) {
      // The id claims the number: whoever dies right behind this is known to be dead.
      if (Atomics.compareExchange(this.#words, at(number) + Members.id, 0, this.#self.id) !== 0) continue;
      this.#doubles[(at(number) >> 1) + Members.mark] = this.#self.mark;
      return number;
    }
    return 0;
  }

  /**
   * Takes the number of a thread that is over, and returns what it was then; undefined where it is not over, or somebody
   * else was faster. From then on the number is this thread's in the eyes of all. Precondition: the other one does not
   * hold the lock, which it cannot take again. Needs no lock.
   */
  claim(number: number): ThreadIdentity | undefined {
    const index = at(number) + Members.id;
    const id = Atomics.load(this.#words, index);
    if (id === 0 || !this.#isOver(number, id)) return undefined;
    // Below 0 the number is being claimed, and nobody else's to claim until all of it is this thread's.
    if (Atomics.compareExchange(this.#words, index, id, -this.#self.id) !== id) return undefined;
    // In between it may have been given to a thread with the same id: one that had left it, and is back.
    if (!this.#isOver(number, id)) {
      Atomics.store(this.#words, index, id);
      return undefined;
    }
    const before = this.#identity(number, id);
    this.#enter(number, this.#self, false);
    return before;
  }

  /** Undoes {@link claim}: the number is that of a thread that is over again. Precondition: the lock is not held. */
  giveBack(number: number, before: ThreadIdentity): void {
    Atomics.store(this.#words, at(number) + Members.id, -this.#self.id);
    this.#enter(number, before, true);
  }

  /** Writes all of a number that this thread is claiming; the id, which ends that, last. */
  #enter(number: number, { id, mark }: ThreadIdentity, hasLeft: boolean): void {
    this.#doubles[(at(number) >> 1) + Members.mark] = mark;
    this.#words[at(number) + Members.hasLeft] = hasLeft ? 1 : 0;
    Atomics.store(this.#words, at(number) + Members.id, id);
  }

  /** Notes that this member is done. */
  leave(number: number): void {
    this.#words[at(number) + Members.hasLeft] = 1;
  }

  /** Whether nothing will come of this member any more. */
  isOver(number: number): boolean {
    return this.#isOver(number, this.#idOf(number));
  }

  hasLeft(number: number): boolean {
    return this.#hasLeft(number, this.#idOf(number));
  }

  /** Whether that is a number that was ever given; any other value is none. */
  has(number: number): boolean {
    return Number.isInteger(number) && number > 0 && number < Members.count && this.#idOf(number) !== 0;
  }

  /** How many numbers were ever given; they are given in order, from 1. */
  count(): number {
    let number = 1;
    while (number < Members.count && this.#words[at(number) + Members.id] !== 0) number++;
    return number - 1;
  }

  isThisThread(number: number): boolean {
    return this.has(number) && this.#isSelf(this.#identity(number, this.#idOf(number)));
  }

  /** A number that no member has holds no lock: somebody has written over the lock. */
  isGone(number: number, heldMs: number): boolean {
    return !this.has(number) || !(this.isAlive(number) ?? heldMs < LONGEST_HOLD_MS);
  }

  /** Whether the member's thread still runs; undefined where the system does not tell. */
  isAlive(number: number): boolean | undefined {
    return this.#isAlive(this.#identity(number, this.#idOf(number)));
  }

  #idOf(number: number): number {
    return Atomics.load(this.#words, at(number) + Members.id);
  }

  // What follows is given the id that was read before, so that all of it is about the same thread.

  #isOver(number: number, id: number): boolean {
    return this.#hasLeft(number, id) || this.#isAlive(this.#identity(number, id)) === false;
  }

  #hasLeft(number: number, id: number): boolean {
    return id > 0 && this.#words[at(number) + Members.hasLeft] !== 0;
  }

  #isAlive(thread: ThreadIdentity): boolean | undefined {
    if (this.#isSelf(thread)) return true;
    return thread.id >= UNNAMED_IDS ? undefined : this.#threads.isAlive(thread);
  }

  /**
   * Whether that is this very thread. It may have another mark there: from another copy of this library, say. Of two
   * threads that live, no two have one id. A thread that died while it joined may have left no mark.
   */
  #isSelf(thread: ThreadIdentity): boolean {
    if (thread.id !== this.#self.id) return false;
    if (thread.mark === this.#self.mark || thread.mark === 0) return true;
    return this.#threads.isAlive(thread) === true;
  }

  #identity(number: number, id: number): ThreadIdentity {
    // Of a thread that is claiming the number only the id is there. If it dies, it has gone like any other.
    if (id < 0) return { id: -id, mark: 0 };
    return { id, mark: this.#doubles[(at(number) >> 1) + Members.mark] ?? 0 };
  }
}

function at(number: number): number {
  return Members.start + number * Members.integers;
}
