/**
 * A futex on Atomics. The holder hands it over to the heir: a thread that has spun in vain. The word is 0 when the lock
 * is free, else
 *
 * ```text
 * bit  30        19 … 10   9 … 0
 *      └ waiters └ heir    └ holder      both by their member's number, 0 = nobody
 * ```
 *
 * Taking an uncontended lock is one exchange, which names the holder in the same instant. Letting go is one exchange too.
 *
 * A thread that finds the lock taken spins for some microseconds, because most operations take less. A thread that has
 * spun in vain becomes the heir, if there is none yet. From then on no other thread gets the lock before it: the holder
 * that lets go makes the heir the holder. So no thread waits for longer than the operation under way and those of the
 * heirs before it. Threads that do short operations still take the lock from each other without waking anybody.
 *
 * An heir that dies is made the holder like any other; the threads that wait for it then find it dead.
 */

/** The bits of a member's number; there are 1,023 numbers. */
const MEMBER = 0x3ff;
const HEIR_SHIFT = 10;
const HEIR = MEMBER << HEIR_SHIFT;
/** A thread that is not the heir may be asleep. */
const WAITERS = 0x4000_0000;

/**
 * The integers after the word: the count of acquisitions; the one that the heir sleeps on; the one that all others sleep
 * on.
 */
const TAKEN = 1;
const HEIR_CALL = 2;
const OTHERS_CALL = 3;

/** How often the lock is read before the clock is, which takes 1 µs. Most operations take some tenths of that. */
const SPINS = 60;

/**
 * Milliseconds for which a thread spins in vain before it becomes the heir: as long as some tens of short operations, or
 * a part of a long one. Falling asleep and being woken takes longer.
 */
const SPIN_MS = 0.02;

/** Milliseconds between two checks whether the holder still lives. */
const PATIENCE_MS = 10;

/** The questions that a lock asks about the member that holds it. */
export interface HolderInspector {
  /** Whether the member is this very thread, and so cannot be in an operation now. Costs nothing. */
  isThisThread(member: number): boolean;
  /** Whether the member's thread has gone. `heldMs`: it has held the lock for at least this long without letting go. */
  isGone(member: number, heldMs: number): boolean;
}

/** A lock in shared memory, as one member sees it. Not reentrant. */
export class Lock {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #self: number;
  readonly #inspector: HolderInspector;

  /**
   * @param words in shared memory
   * @param at the index of the lock, which has four integers
   * @param self the number of this member, above 0
   */
  constructor(words: Int32Array, at: number, self: number, inspector: HolderInspector) {
    this.#words = words;
    this.#at = at;
    this.#self = self;
    this.#inspector = inspector;
  }

  /**
   * Takes the lock. Waits for it if need be, on the main thread too.
   * @returns true where the lock was taken over from a holder that is gone: the data that it guards may be half changed
   */
  acquire(): boolean {
    const words = this.#words;
    const at = this.#at;
    const isInherited = Atomics.compareExchange(words, at, 0, this.#self) === 0 ? false : this.#wait();
    words[at + TAKEN] = (words[at + TAKEN] ?? 0) + 1;
    return isInherited;
  }

  /** Lets go. Precondition: this member holds it. */
  release(): void {
    if (Atomics.compareExchange(this.#words, this.#at, this.#self, 0) !== this.#self) this.#handOver();
  }

  /** Whether a member holds the lock, or is the heir, who is made the holder without doing anything more. */
  involves(member: number): boolean {
    const value = Atomics.load(this.#words, this.#at);
    return (value & MEMBER) === member || heirOf(value) === member;
  }

  #handOver(): void {
    const words = this.#words;
    const at = this.#at;
    for (;;) {
      const value = Atomics.load(words, at);
      const heir = heirOf(value);
      // Without an heir the lock is free for the first taker. One sleeper is woken, and sets WAITERS again, since others
      // may sleep.
      const next = heir === 0 ? 0 : heir | (value & WAITERS);
      if (Atomics.compareExchange(words, at, value, next) !== value) continue;
      if (heir !== 0) this.#call(HEIR_CALL);
      // A sleeper is woken even where there is an heir: it can become the next heir.
      if ((value & WAITERS) !== 0) this.#call(OTHERS_CALL);
      return;
    }
  }

  #call(offset: number): void {
    Atomics.add(this.#words, this.#at + offset, 1);
    Atomics.notify(this.#words, this.#at + offset, 1);
  }

  #wait(): boolean {
    const words = this.#words;
    const at = this.#at;
    const self = this.#self;
    let deadline = NaN;
    let isHeir = false;
    /** WAITERS from the first sleep on: other threads may sleep too, and the next holder that lets go must wake one. */
    let sleepers = 0;
    let heldMs = 0;
    let taken = 0;
    for (;;) {
      for (let spins = 0; spins < SPINS; spins++) {
        const seen = Atomics.load(words, at);
        if (seen === 0 || (isHeir && (seen & MEMBER) === self)) break;
      }
      const calls = Atomics.load(words, at + (isHeir ? HEIR_CALL : OTHERS_CALL));
      const value = Atomics.load(words, at);
      const holder = value & MEMBER;
      if (holder === 0) {
        // The rest of the word is 0 then, unless something has written over it.
        const seen = Atomics.compareExchange(words, at, value, self | sleepers);
        if (seen === value) return value !== 0;
        continue;
      }
      if (isHeir && heirOf(value) !== self) {
        if (holder === self) return false; // it was handed over
        isHeir = false; // another thread took the lock over from this thread's number
        continue;
      }
      // The holder is this very thread, which is in no operation now: its last one ended in the middle (out of stack,
      // say).
      if (this.#inspector.isThisThread(holder)) {
        if (Atomics.compareExchange(words, at, value, taking(self, value)) === value) return true;
        continue;
      }
      const now = performance.now();
      if (!(now >= deadline)) {
        if (Number.isNaN(deadline)) deadline = now + SPIN_MS;
        continue;
      }
      if (heirOf(value) === 0) {
        const asHeir = value | (self << HEIR_SHIFT) | sleepers;
        isHeir = Atomics.compareExchange(words, at, value, asHeir) === value;
        continue;
      }
      if (!isHeir && (value & WAITERS) === 0) {
        Atomics.compareExchange(words, at, value, value | WAITERS);
        continue;
      }
      if (!isHeir) sleepers = WAITERS;
      const wake = Atomics.wait(words, at + (isHeir ? HEIR_CALL : OTHERS_CALL), calls, PATIENCE_MS);
      deadline = performance.now() + SPIN_MS;
      if (wake !== "timed-out") continue;
      const takenNow = Atomics.load(words, at + TAKEN);
      heldMs = takenNow === taken ? heldMs + PATIENCE_MS : 0;
      taken = takenNow;
      if (this.#inspector.isGone(holder, heldMs) && this.#takeOver(holder, heldMs)) return true;
    }
  }

  /** Takes the lock from a holder that was found to be gone. Returns false where that came too late, or was a mistake. */
  #takeOver(holder: number, heldMs: number): boolean {
    const words = this.#words;
    const at = this.#at;
    const value = Atomics.load(words, at);
    if ((value & MEMBER) !== holder) return false;
    const mine = taking(this.#self, value);
    if (Atomics.compareExchange(words, at, value, mine) !== value) return false;
    // Since that check, other threads may have taken the lock over and let go, and a living thread may have the number
    // now and hold the lock. Nothing was changed yet: that thread gets the lock back, unless it has let go in this very
    // moment.
    if (this.#inspector.isGone(holder, heldMs)) return true;
    for (;;) {
      const late = Atomics.load(words, at);
      if ((late & MEMBER) !== this.#self) return false;
      if (Atomics.compareExchange(words, at, late, (late & ~MEMBER) | holder) === late) return false;
    }
  }
}

function heirOf(value: number): number {
  return (value & HEIR) >> HEIR_SHIFT;
}

/** The word with `self` as the holder, and as the heir no longer. WAITERS is set, because others may sleep. */
function taking(self: number, value: number): number {
  const heir = heirOf(value) === self ? 0 : value & HEIR;
  return self | heir | WAITERS;
}
