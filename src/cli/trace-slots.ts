/** The dense slots that the IDs of a trace are renamed to, and what is live. */

/** Ids below this have their slots in a flat table of at most 64 MiB, which grows as needed; other ids in a map. */
const DENSE_ID_LIMIT = 1 << 24;

/** The states of a slot; 0 = its id was seen for the first time. */
const LIVE = 1;
const RELEASED = 2;
/** Live as far as has been recorded, and perhaps ended by a reset in another thread. */
const DOUBTFUL = 3;

/** The slots of a trace. */
export class TraceSlots {
  /** The slot of each small id, plus 1; 0 means none yet. */
  #ofSmallId = new Int32Array(1024);
  readonly #ofLargeId = new Map<number, number>();
  #states = new Uint8Array(1024);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The slot of an id; -1 where it has none. */
  find(id: number): number {
    return id < DENSE_ID_LIMIT ? (this.#ofSmallId[id] ?? 0) - 1 : (this.#ofLargeId.get(id) ?? -1);
  }

  /** The slot of an id: a new one if it has none. */
  findOrMake(id: number): number {
    const known = this.find(id);
    if (known >= 0) return known;
    const slot = this.#count++;
    if (id < DENSE_ID_LIMIT) {
      if (id >= this.#ofSmallId.length) {
        const larger = new Int32Array(Math.min(Math.max(this.#ofSmallId.length * 2, id + 1), DENSE_ID_LIMIT));
        larger.set(this.#ofSmallId);
        this.#ofSmallId = larger;
      }
      this.#ofSmallId[id] = slot + 1;
    } else {
      this.#ofLargeId.set(id, slot);
    }
    if (slot >= this.#states.length) {
      const larger = new Uint8Array(this.#states.length * 2);
      larger.set(this.#states);
      this.#states = larger;
    }
    return slot;
  }

  isLive(slot: number): boolean {
    const state = this.#states[slot];
    return state === LIVE || state === DOUBTFUL;
  }

  setLive(slot: number): void {
    this.#states[slot] = LIVE;
  }

  setReleased(slot: number): void {
    this.#states[slot] = RELEASED;
  }

  /** Doubts all that is live. */
  doubt(): void {
    const states = this.#states.subarray(0, this.#count);
    for (const [slot, state] of states.entries()) if (state === LIVE) states[slot] = DOUBTFUL;
  }

  /** Ends what is in doubt, but for these ids. @returns the slots that have ended */
  settle(kept: readonly number[]): readonly number[] {
    for (const id of kept) {
      const slot = this.find(id);
      if (this.#states[slot] === DOUBTFUL) this.#states[slot] = LIVE;
    }
    const ended: number[] = [];
    const states = this.#states.subarray(0, this.#count);
    for (const [slot, state] of states.entries()) {
      if (state !== DOUBTFUL) continue;
      states[slot] = RELEASED;
      ended.push(slot);
    }
    return ended;
  }
}
