/** The threads that share an allocator: which numbers they have, and which of them still live. */
import type { SharingSupport, ThreadIdentity } from "../vm/contract.ts";
import { Field, Members } from "./layout.ts";
import type { HolderInspector } from "./lock.ts";

/** What the system can tell about threads. */
export type ThreadInspector = Pick<SharingSupport, "currentThread" | "isAlive" | "orderStores">;

/**
 * Native thread ids are below this on every system. Ids from here on are made up, for threads that the system cannot
 * identify.
 */
const UNNAMED_IDS = 2 ** 30;

/**
 * Where the system does not tell whether a thread lives, a thread that has held the lock for this long without letting go
 * counts as gone. The longest operation fills a block of 2 GiB, which takes a second or two.
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
      // A number from a counter in the shared buffer: no two threads that share the buffer get the same.
      id: UNNAMED_IDS + (Atomics.add(words, Field.unnamedThreads, 1) % UNNAMED_IDS),
      mark: 0,
    };
  }

  /** Enters this thread under a number that no thread had, and returns it; 0 = all were given. Needs no lock. */
  join(): number {
    for (let number = 1; number < Members.count; number++) {
      // The id claims the number: if the thread dies right after this, its id tells that it is dead.
      if (Atomics.compareExchange(this.#words, at(number) + Members.id, 0, this.#self.id) !== 0) continue;
      this.#doubles[(at(number) >> 1) + Members.mark] = this.#self.mark;
      return number;
    }
    return 0;
  }

  /**
   * Takes the number of a thread that is over, and returns the identity of that thread; undefined where it is not over,
   * or another thread was faster. From then on the number is this thread's for all threads. Precondition: the thread that
   * is over does not hold the lock (nor can it take it again). Needs no lock.
   */
  claim(number: number): ThreadIdentity | undefined {
    const index = at(number) + Members.id;
    const id = Atomics.load(this.#words, index);
    if (id === 0 || !this.#isOver(number, id)) return undefined;
    // An id below 0 marks the number as being claimed: no other thread can claim it until all its fields are this
    // thread's.
    if (Atomics.compareExchange(this.#words, index, id, -this.#self.id) !== id) return undefined;
    // Before the exchange the number may have been given to a thread with the same id: one that had left, and is back.
    if (!this.#isOver(number, id)) {
      Atomics.store(this.#words, index, id);
      return undefined;
    }
    const before = this.#identity(number, id);
    this.#enter(number, this.#self, false);
    return before;
  }

  /**
   * Undoes {@link claim}: the number is again that of the thread that is over. Precondition: this thread does not hold
   * the lock.
   */
  giveBack(number: number, before: ThreadIdentity): void {
    Atomics.store(this.#words, at(number) + Members.id, -this.#self.id);
    this.#enter(number, before, true);
  }

  /** Writes the fields of a number that this thread is claiming. The id comes last, and ends the claim. */
  #enter(number: number, { id, mark }: ThreadIdentity, hasLeft: boolean): void {
    this.#doubles[(at(number) >> 1) + Members.mark] = mark;
    this.#words[at(number) + Members.hasLeft] = hasLeft ? 1 : 0;
    Atomics.store(this.#words, at(number) + Members.id, id);
  }

  /** Notes that this member has left. */
  leave(number: number): void {
    this.#words[at(number) + Members.hasLeft] = 1;
  }

  /** Whether the member has left or its thread has ended: it will never use the allocator again. */
  isOver(number: number): boolean {
    return this.#isOver(number, this.#idOf(number));
  }

  hasLeft(number: number): boolean {
    return this.#hasLeft(number, this.#idOf(number));
  }

  /** Whether `number` is a member number that was ever given. */
  has(number: number): boolean {
    return Number.isInteger(number) && number > 0 && number < Members.count && this.#idOf(number) !== 0;
  }

  /** The count of numbers that were ever given; they are given in order, from 1. */
  count(): number {
    let number = 1;
    while (number < Members.count && this.#words[at(number) + Members.id] !== 0) number++;
    return number - 1;
  }

  isThisThread(number: number): boolean {
    return this.has(number) && this.#isSelf(this.#identity(number, this.#idOf(number)));
  }

  /** Whether the member's thread has gone. So has a number that no member has: something has written over the lock. */
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

  // The methods below take an id that was read before, so that all of them are about the same thread.

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
   * Whether `thread` is this very thread. The mark may differ, if another copy of this library made it, say. A live
   * thread with this id is this thread, since no two live threads have the same id. A mark of 0 counts as this thread's:
   * a thread that died while it joined may have left no mark.
   */
  #isSelf(thread: ThreadIdentity): boolean {
    if (thread.id !== this.#self.id) return false;
    if (thread.mark === this.#self.mark || thread.mark === 0) return true;
    return this.#threads.isAlive(thread) === true;
  }

  #identity(number: number, id: number): ThreadIdentity {
    // While a thread claims the number, only its id is known. If that thread dies, it counts as gone like any other.
    if (id < 0) return { id: -id, mark: 0 };
    return { id, mark: this.#doubles[(at(number) >> 1) + Members.mark] ?? 0 };
  }
}

function at(number: number): number {
  return Members.start + number * Members.integers;
}
