/**
 * A futex on Atomics, which hands over to who has waited in vain. The word is 0 when the lock is free, else
 *
 * ```text
 * bit  30        19 … 10   9 … 0
 *      └ waiters └ heir    └ holder      both by their member's number, 0 = nobody
 * ```
 *
 * Taking an uncontended lock is one exchange, which names the holder in the same instant; so is letting go.
 *
 * Who finds it taken looks for some microseconds: most operations take less. Whoever has looked in vain becomes the heir, if
 * there is none yet, and from then on the lock is not free for anybody before it: the holder that lets go makes the heir the
 * holder. So nobody waits for longer than the operation that is under way and those of the heirs before it, and threads
 * that do short operations still take the lock from each other without waking anybody.
 *
 * A heir that dies is made the holder like any other, and found dead by those who wait for it.
 */

/** The bits of a member's number, of which there are 1,023. */
const MEMBER = 0x3ff;
const HEIR_SHIFT = 10;
const HEIR = MEMBER << HEIR_SHIFT;
/** Somebody sleeps who is not the heir. */
const WAITERS = 0x4000_0000;

/** Beside the word, in integers: how often the lock was taken; what the heir sleeps on; what all others sleep on. */
const TAKEN = 1;
const HEIR_CALL = 2;
const OTHERS_CALL = 3;

/** So often the lock is looked at before the clock is: a microsecond. Most operations take some tenths of one. */
const SPINS = 60;

/**
 * Milliseconds for which the lock is looked at in vain before a thread becomes the heir: some tens of short operations, and
 * a part of one that lasts. Falling asleep and being woken takes longer.
 */
const SPIN_MS = 0.02;

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
   * Takes the lock, and waits for it if need be, on the main thread too.
   * @returns true where it was taken over from a holder that is gone: what it guards may be half changed
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

  /** Whether a member holds the lock, or will without doing anything more for it. */
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
      // Without a heir it is free for whoever is first; one of those who sleep is woken, and says so if others do.
      const next = heir === 0 ? 0 : heir | (value & WAITERS);
      if (Atomics.compareExchange(words, at, value, next) !== value) continue;
      if (heir !== 0) this.#call(HEIR_CALL);
      // Beside the heir, too: one of them can be the next heir.
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
    /** WAITERS from the first sleep on: others may sleep as well, and whoever lets go next must wake one. */
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
        // The rest of the word is 0 then, unless somebody has written over it.
        const seen = Atomics.compareExchange(words, at, value, self | sleepers);
        if (seen === value) return value !== 0;
        continue;
      }
      if (isHeir && heirOf(value) !== self) {
        if (holder === self) return false; // it was handed over
        isHeir = false; // somebody took the lock over for this thread's number
        continue;
      }
      // A member that is this thread runs nothing now but this: its operation ended in the middle (out of stack, say).
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

  /** Takes the lock from a holder that was seen to be gone. */
  #takeOver(holder: number, heldMs: number): boolean {
    const words = this.#words;
    const at = this.#at;
    const value = Atomics.load(words, at);
    if ((value & MEMBER) !== holder) return false;
    const mine = taking(this.#self, value);
    if (Atomics.compareExchange(words, at, value, mine) !== value) return false;
    // Since it was seen, others may have taken the lock from it and let go, and its number may be a living thread's now
    // that holds the lock. Nothing was touched yet: it gets it back, unless it has let go in this very moment.
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

/** The word with another holder, who is not the heir any more; somebody may sleep. */
function taking(self: number, value: number): number {
  const heir = heirOf(value) === self ? 0 : value & HEIR;
  return self | heir | WAITERS;
}
