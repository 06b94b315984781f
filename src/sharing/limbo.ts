/**
 * Limbo: allocations that were retired, whose granules are free once no thread can be running them (inside.ts).
 *
 * The ledger says which they are: RETIRED stands in it in place of their generation. All else is derived from it, and made anew
 * by a repair: a queue of their places, in the order in which they were retired, and the count of those that found it full.
 *
 * ```text
 *   head                             limboNew
 * ┌ era 5 ┬ era 5 ┬ era 7 ┬ era 7 ┬ … ┬ 0 ┬ 0 ┐      0 = retired since the last era was closed
 * └───────┴───────┴───────┴───────┴───┴───┴───┘
 * ```
 *
 * An era is closed for many at once, because that takes a call of the system: when {@link AT_ONCE} are new, when room is short,
 * and when somebody asks what is in use. The lock is held throughout.
 */
import { JitError } from "../base/errors.ts";
import { needMuchStack } from "../base/stack.ts";
import { isRetired, readLedger, RETIRED, retireEntry } from "../core/ledger.ts";
import { shiftOfPool } from "../core/state.ts";
import type { RegisterEntry } from "../engine/contract.ts";
import type { Engine } from "../engine/engine.ts";
import type { InsideTable } from "./inside.ts";
import { Field, Limbo as Queue } from "./layout.ts";
import type { SharedState } from "./shared-state.ts";

/** So many are retired before an era is closed for them, which takes half a microsecond: a sixty-fourth of that each. */
const AT_ONCE = 64;
/** Or one of so many bytes: the memory that waits is to stay small. */
const LARGE_BYTES = 16 * 1024;

/** Limbo of one allocator, as one of its threads sees it. */
export class Limbo {
  readonly #engine: Engine;
  readonly #state: SharedState;
  readonly #inside: InsideTable;

  constructor(engine: Engine, state: SharedState, inside: InsideTable) {
    this.#engine = engine;
    this.#state = state;
    this.#inside = inside;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** The number of allocations that wait. */
  get count(): number {
    const { words } = this.#state;
    return (words[Field.limboCount] ?? 0) + (words[Field.limboBeyond] ?? 0);
  }

  /** Bytes. */
  get sizeBytes(): number {
    return this.#state.doubles[Field.limboBytes >> 1] ?? 0;
  }

  has(block: number, granule: number): boolean {
    return !this.isEmpty && isRetired(this.#engine.core.words, block, granule);
  }

  /** Ends the live allocation that begins at `granule`; its memory is free later. Cannot fail. */
  retire(block: number, granule: number): void {
    const { core } = this.#engine;
    const sizeBytes = core.lengthInLedger(block, granule) * 2 ** core.granuleShiftOf(core.poolIndexOf(block));
    retireEntry(core.words, block, granule);
    this.#enter(block, granule, sizeBytes);
    const { words } = this.#state;
    if (sizeBytes >= LARGE_BYTES || (words[Field.limboNew] ?? 0) >= AT_ONCE) this.drain();
  }

  #enter(block: number, granule: number, sizeBytes: number): void {
    const { words, doubles } = this.#state;
    const count = words[Field.limboCount] ?? 0;
    const beyond = words[Field.limboBeyond] ?? 0;
    doubles[Field.limboBytes >> 1] = this.sizeBytes + sizeBytes;
    if (beyond > 0 || count >= Queue.capacity) {
      words[Field.limboBeyond] = beyond + 1;
      return;
    }
    const at = placeAt((words[Field.limboHead] ?? 0) + count);
    words[at + Queue.block] = block;
    words[at + Queue.granule] = granule;
    words[at + Queue.era] = 0;
    words[Field.limboCount] = count + 1;
    words[Field.limboNew] = (words[Field.limboNew] ?? 0) + 1;
  }

  /**
   * Frees what no thread can be running, and finishes a hard reset that waited for that. What the system refuses to unmap waits
   * for the next time. Returns true where something was freed.
   */
  drain(): boolean {
    if (this.isEmpty && !this.#state.isEmptying) return false;
    needMuchStack();
    const hasFreed = this.#freeAll();
    if (this.isEmpty && this.#state.isEmptying) this.#removeEmpty();
    return hasFreed;
  }

  #freeAll(): boolean {
    const { words } = this.#state;
    let hasFreed = false;
    let free = 0;
    while (this.#settle()) {
      const at = placeAt(words[Field.limboHead] ?? 0);
      const era = words[at + Queue.era] ?? 0;
      if (era !== free && this.#inside.isOccupiedSince(era)) break;
      free = era;
      if (!this.#free(words[at + Queue.block] ?? 0, words[at + Queue.granule] ?? 0)) break;
      hasFreed = true;
      words[Field.limboHead] = ((words[Field.limboHead] ?? 0) + 1) % Queue.capacity;
      words[Field.limboCount] = (words[Field.limboCount] ?? 0) - 1;
    }
    return hasFreed;
  }

  #removeEmpty(): void {
    try {
      this.#engine.blocks.removeEmpty();
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      return;
    }
    this.#state.isEmptying = false;
  }

  /** Sees to it that the first entry of the queue has an era. Returns false where there is none, or no era can be closed. */
  #settle(): boolean {
    const { words } = this.#state;
    if (this.count === 0) return false;
    // The queue is empty, and others wait without an entry.
    if (words[Field.limboCount] === 0) this.rebuild();
    const added = words[Field.limboNew] ?? 0;
    const count = words[Field.limboCount] ?? 0;
    if (added === 0) return true;
    const era = this.#inside.closeEra();
    if (era === 0) return added < count;
    for (let index = count - added; index < count; index++) {
      words[placeAt((words[Field.limboHead] ?? 0) + index) + Queue.era] = era;
    }
    words[Field.limboNew] = 0;
    return true;
  }

  #free(block: number, granule: number): boolean {
    const { core, blocks } = this.#engine;
    const sizeBytes = core.lengthInLedger(block, granule) * 2 ** core.granuleShiftOf(core.poolIndexOf(block));
    try {
      this.#engine.free(blocks.at(block), granule, false);
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      return false;
    }
    this.#state.doubles[Field.limboBytes >> 1] = this.sizeBytes - sizeBytes;
    return true;
  }

  /** Makes the queue and the counts anew, of what the ledgers say. */
  rebuild(): void {
    const { words, doubles, register } = this.#state;
    words[Field.limboHead] = 0;
    words[Field.limboCount] = 0;
    words[Field.limboNew] = 0;
    words[Field.limboBeyond] = 0;
    doubles[Field.limboBytes >> 1] = 0;
    for (const entry of register.staying()) {
      const granuleBytes = 2 ** shiftOfPool(this.#engine.core.words, entry.pool);
      this.#read(entry, (granule, count, generation) => {
        if (generation === RETIRED) this.#enter(entry.block, granule, count * granuleBytes);
      });
    }
  }

  /** Ends every live allocation, each in one write; {@link rebuild} then finds them. Can be repeated. */
  retireAll(): void {
    const { words } = this.#engine.core;
    for (const entry of this.#state.register.staying()) {
      this.#read(entry, (granule) => (words[entry.generations + granule] = RETIRED));
    }
  }

  /** Whether nobody is inside, so that all that has ended by now is free. Precondition: the ledgers say so already. */
  isVacant(): boolean {
    if (!this.#inside.mayBeOccupied) return true;
    const era = this.#inside.closeEra();
    return era !== 0 && !this.#inside.isOccupiedSince(era);
  }

  /** Checks invariant 22. @throws Error where it does not hold */
  verify(): void {
    const { words, register } = this.#state;
    let count = 0;
    let sizeBytes = 0;
    for (const entry of register.staying()) {
      const granuleBytes = 2 ** shiftOfPool(this.#engine.core.words, entry.pool);
      this.#read(entry, (_granule, granules, generation) => {
        if (generation !== RETIRED) return;
        count += 1;
        sizeBytes += granules * granuleBytes;
      });
    }
    check(count === this.count && sizeBytes === this.sizeBytes, "limbo and what the ledgers say");
    const queued = new Set<string>();
    for (let index = 0; index < (words[Field.limboCount] ?? 0); index++) {
      const at = placeAt((words[Field.limboHead] ?? 0) + index);
      const block = words[at + Queue.block] ?? 0;
      const granule = words[at + Queue.granule] ?? 0;
      check(register.find(block) !== undefined, "an entry in limbo and its block");
      check(isRetired(this.#engine.core.words, block, granule), "an entry in limbo and its allocation");
      queued.add(`${block} ${granule}`);
    }
    check(queued.size === words[Field.limboCount], "an allocation is in limbo twice");
  }

  #read(
    { pool, generations, sizeBytes }: RegisterEntry,
    visit: (granule: number, count: number, generation: number) => void,
  ): void {
    const { core, options } = this.#engine;
    const capacity = sizeBytes / 2 ** shiftOfPool(core.words, pool);
    readLedger(core.words, generations, options.disableInitialPadding ? 0 : 1, capacity, visit);
  }
}

function placeAt(index: number): number {
  return Queue.start + (index % Queue.capacity) * Queue.integers;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`invariant 22 is broken: ${what}`);
}
