/**
 * A futex on Atomics. The word is 0 when the lock is free, else the number of the member that holds it, with a bit
 * above it where somebody waits: taking an uncontended lock is one exchange, which names the holder in the same
 * instant, and letting go notifies only if somebody waits.
 */

/** Above all members' numbers. */
const WAITERS = 0x4000_0000;

/**
 * So often the lock is looked at before the thread sleeps. Most operations take some tenths of a microsecond, falling
 * asleep and being woken some ten microseconds.
 */
const SPINS = 60;

/** Milliseconds between two looks at whether the holder still lives. */
const PATIENCE_MS = 10;

/** What a lock asks about the member that holds it. */
export interface HolderInspector {
  /** Whether that member cannot be running, because this very thread is the one it is. Costs nothing. */
  isThisThread(member: number): boolean;
  /** Whether its thread has gone. `heldMs`: for so long at least it has held the lock without letting go once. */
  isGone(member: number, heldMs: number): boolean;
}

/** A lock in shared memory, as one member sees it. Not reentrant. */
export class Lock {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #self: number;
  readonly #inspector: HolderInspector;

  /**
   * @param words shared
   * @param at the index of the lock; the integer behind it counts acquisitions
   * @param self the number of this member, above 0
   */
  constructor(words: Int32Array, at: number, self: number, inspector: HolderInspector) {
    this.#words = words;
    this.#at = at;
    this.#self = self;
    this.#inspector = inspector;
  }

  /**
   * Takes the lock, and waits for it if need be, on the main thread too.
   * @returns true where it was taken over from a holder that is gone: what it guards may be half changed
   */
  acquire(): boolean {
    const words = this.#words;
    const at = this.#at;
    const isInherited = Atomics.compareExchange(words, at, 0, this.#self) === 0 ? false : this.#wait();
    words[at + 1] = (words[at + 1] ?? 0) + 1;
    return isInherited;
  }

  /** Lets go. Precondition: this member holds it. */
  release(): void {
    if ((Atomics.exchange(this.#words, this.#at, 0) & WAITERS) !== 0) {
      Atomics.notify(this.#words, this.#at, 1);
    }
  }

  /** The number of the member that holds the lock now, or 0. */
  holder(): number {
    return Atomics.load(this.#words, this.#at) & ~WAITERS;
  }

  /** Takes the lock from a holder that was seen to be gone. */
  #takeOver(holder: number, heldMs: number): boolean {
    const waited = holder | WAITERS;
    const taken = this.#self | WAITERS;
    if (Atomics.compareExchange(this.#words, this.#at, waited, taken) !== waited) return false;
    // Since it was seen, others may have taken the lock from it and let go, and its number may be a living thread's now
    // that holds the lock. Nothing was touched yet: it gets it back, unless it has let go in this very moment.
    if (this.#inspector.isGone(holder, heldMs)) return true;
    Atomics.compareExchange(this.#words, this.#at, taken, waited);
    return false;
  }

  #wait(): boolean {
    const words = this.#words;
    const at = this.#at;
    for (let spins = 0; spins < SPINS; spins++) {
      if (Atomics.load(words, at) === 0 && Atomics.compareExchange(words, at, 0, this.#self) === 0)
        return false;
    }
    let heldMs = 0;
    let sequence = 0;
    for (;;) {
      const value = Atomics.load(words, at);
      if (value === 0) {
        // Others may wait as well, and whoever lets go next must wake one of them.
        if (Atomics.compareExchange(words, at, 0, this.#self | WAITERS) === 0) return false;
        continue;
      }
      const holder = value & ~WAITERS;
      // A member that is this thread runs nothing now but this: its operation ended in the middle (out of stack, say).
      if (this.#inspector.isThisThread(holder)) {
        if (Atomics.compareExchange(words, at, value, this.#self | WAITERS) === value) return true;
        continue;
      }
      const waited = holder | WAITERS;
      if (value !== waited && Atomics.compareExchange(words, at, value, waited) !== value) continue;
      if (Atomics.wait(words, at, waited, PATIENCE_MS) !== "timed-out") continue;
      const now = Atomics.load(words, at + 1);
      heldMs = now === sequence ? heldMs + PATIENCE_MS : 0;
      sequence = now;
      if (this.#inspector.isGone(holder, heldMs) && this.#takeOver(holder, heldMs)) return true;
    }
  }
}
