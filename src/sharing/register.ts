/**
 * The register of blocks: where each is mapped, and where the core keeps its records. A block is entered with its last
 * write and leaves with a single one, so that it says what is true whenever a thread stops. The lock is needed.
 */
import type { BlockRegister, RegisteredBlock, RegisterEntry } from "../engine/contract.ts";
import { Entry, Field } from "./layout.ts";

/** The register of one allocator, in its shared state. */
export class SharedRegister implements BlockRegister {
  readonly #atomics: Int32Array;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  /** @param atomics the same as `words`, for what is read without the lock */
  constructor(atomics: Int32Array, words: Int32Array, doubles: Float64Array) {
    this.#atomics = atomics;
    this.#words = words;
    this.#doubles = doubles;
  }

  /** Enters a block. Returns its entry, or 0 where the register is full (which the reserve's limit rules out). */
  add(known: RegisteredBlock): number {
    const words = this.#words;
    let index = 0;
    while (words[at(index)] !== 0 && index < this.#count()) index++;
    const entry = at(index);
    if (entry + Entry.integers > words.length) return 0;
    words[entry + Entry.pool] = known.pool;
    words[entry + Entry.block] = known.block;
    words[entry + Entry.generations] = known.generations;
    this.#doubles[(entry >> 1) + Entry.rx] = known.rx;
    this.#doubles[(entry >> 1) + Entry.rw] = known.rw;
    this.#doubles[(entry >> 1) + Entry.size] = known.sizeBytes;
    if (index === this.#count()) words[Field.entryCount] = index + 1;
    const serial = (words[Field.nextSerial] ?? 0) & 0x7fff_ffff || 1;
    words[Field.nextSerial] = serial + 1;
    words[entry + Entry.serial] = serial;
    return entry;
  }

  /** Notes that a block is about to be unmapped, for all threads: from now on it is gone, whoever finishes that. */
  markLeaving(entry: number): void {
    this.bumpEpoch();
    const serial = this.serialOf(entry);
    if (serial > 0) this.#words[entry + Entry.serial] = -serial;
  }

  /** The system refused: it stays. */
  markStaying(entry: number): void {
    this.#words[entry + Entry.serial] = Math.abs(this.serialOf(entry));
  }

  /** Forgets a block that has been unmapped. */
  remove(entry: number): void {
    this.#words[entry + Entry.serial] = 0;
  }

  /**
   * Lets every thread know that what it keeps of its own may be stale, and that what it reads without the lock may be
   * in the middle of a change: so it comes before the change.
   */
  bumpEpoch(): void {
    Atomics.add(this.#atomics, Field.epoch, 1);
  }

  /** 0 = free, below 0 = leaving. */
  serialOf(entry: number): number {
    return this.#words[entry + Entry.serial] ?? 0;
  }

  /** The blocks there are, in the order in which they were entered. */
  staying(): RegisterEntry[] {
    return this.#entries((serial) => serial > 0).sort((a, b) => a.serial - b.serial);
  }

  /** The blocks that somebody began to unmap. */
  leaving(): RegisterEntry[] {
    return this.#entries((serial) => serial < 0);
  }

  /** The entry of the block with that index in the core. */
  find(block: number): RegisterEntry | undefined {
    for (let index = 0; index < this.#count(); index++) {
      if (this.#words[at(index) + Entry.block] === block && this.serialOf(at(index)) > 0)
        return this.#read(at(index));
    }
    return undefined;
  }

  #count(): number {
    return this.#words[Field.entryCount] ?? 0;
  }

  #entries(isWanted: (serial: number) => boolean): RegisterEntry[] {
    const entries: RegisterEntry[] = [];
    for (let index = 0; index < this.#count(); index++) {
      if (isWanted(this.serialOf(at(index)))) entries.push(this.#read(at(index)));
    }
    return entries;
  }

  #read(entry: number): RegisterEntry {
    const words = this.#words;
    const doubles = this.#doubles;
    return {
      entry,
      serial: this.serialOf(entry),
      pool: words[entry + Entry.pool] ?? 0,
      block: words[entry + Entry.block] ?? 0,
      generations: words[entry + Entry.generations] ?? 0,
      rx: doubles[(entry >> 1) + Entry.rx] ?? 0,
      rw: doubles[(entry >> 1) + Entry.rw] ?? 0,
      sizeBytes: doubles[(entry >> 1) + Entry.size] ?? 0,
    };
  }
}

function at(index: number): number {
  return Entry.start + index * Entry.integers;
}
