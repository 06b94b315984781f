/**
 * The register of blocks: the addresses at which each is mapped, and the place of its records in the core. The last write
 * of an entry enters a block, and a single write removes it, so that the register is right whenever a thread stops. The
 * caller holds the lock.
 */
import type { BlockRegister, RegisteredBlock, RegisterEntry } from "../engine/contract.ts";
import { Entry, Field } from "./layout.ts";

/** "FREE" in ASCII: the check of an entry that is free. */
const FREE = 0x4652_4545;

/** The register of one allocator, in its shared state. */
export class SharedRegister implements BlockRegister {
  readonly #atomics: Int32Array;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  /** @param atomics the same integers as `words`, for the field that is read without the lock */
  constructor(atomics: Int32Array, words: Int32Array, doubles: Float64Array) {
    this.#atomics = atomics;
    this.#words = words;
    this.#doubles = doubles;
  }

  /** Enters a block. Returns its entry; 0 = the register is full (which `maxReservedSize` rules out). */
  add(known: RegisteredBlock): number {
    const words = this.#words;
    const count = this.#count();
    let index = 0;
    while (index < count && words[at(index) + Entry.check] !== FREE) index++;
    const entry = at(index);
    if (entry + Entry.integers > words.length) return 0;
    if (index === count) {
      words[entry + Entry.check] = FREE;
      words[Field.entryCount] = index + 1;
    }
    const serial = (words[Field.nextSerial] ?? 0) & 0x7fff_ffff || 1;
    words[Field.nextSerial] = serial + 1;
    words[entry + Entry.serial] = serial;
    words[entry + Entry.pool] = known.pool;
    words[entry + Entry.block] = known.block;
    words[entry + Entry.generations] = known.generations;
    this.#doubles[(entry >> 1) + Entry.rx] = known.rx;
    this.#doubles[(entry >> 1) + Entry.rw] = known.rw;
    this.#doubles[(entry >> 1) + Entry.size] = known.sizeBytes;
    words[entry + Entry.check] = checkOf(words, entry);
    return entry;
  }

  /**
   * Notes for all threads that a block is about to be unmapped. From now on the block counts as gone, whichever thread
   * unmaps it.
   */
  markLeaving(entry: number): void {
    this.bumpEpoch();
    const serial = this.serialOf(entry);
    if (serial > 0) this.#words[entry + Entry.serial] = -serial;
  }

  /** Notes that a block stays, because the system refused to unmap it. */
  markStaying(entry: number): void {
    this.#words[entry + Entry.serial] = Math.abs(this.serialOf(entry));
  }

  /** Forgets a block that has been unmapped. */
  remove(entry: number): void {
    this.#words[entry + Entry.check] = FREE;
  }

  /**
   * Tells every thread that what it keeps for itself may be stale, and that what it reads without the lock may be half
   * changed. So it is called before the change.
   */
  bumpEpoch(): void {
    Atomics.add(this.#atomics, Field.epoch, 1);
  }

  /** The serial of an entry; 0 = the entry is free, below 0 = its block is leaving. */
  serialOf(entry: number): number {
    const words = this.#words;
    return words[entry + Entry.check] === FREE ? 0 : (words[entry + Entry.serial] ?? 0);
  }

  /** The blocks that are in use, in the order in which they were entered. */
  staying(): RegisterEntry[] {
    return this.#entries()
      .filter(({ serial }) => serial > 0)
      .sort((a, b) => a.serial - b.serial);
  }

  /** The blocks whose unmapping has begun. */
  leaving(): RegisterEntry[] {
    return this.#entries().filter(({ serial }) => serial < 0);
  }

  /** The entry of the block with that index in the core. */
  find(block: number): RegisterEntry | undefined {
    return this.#entries().find((known) => known.block === block && known.serial > 0);
  }

  /** The number of entries, in use or free. @throws Error where the number cannot be right */
  #count(): number {
    const count = this.#words[Field.entryCount] ?? 0;
    const next = this.#words[at(count) + Entry.check] ?? 0;
    const isPossible = count >= 0 && at(count) <= this.#words.length && (next === 0 || next === FREE);
    if (!isPossible) broken(`the register has not ${count} entries`);
    return count;
  }

  /** All entries that are in use. @throws Error where one fails its checksum: the memory that it names may not be a block */
  #entries(): RegisterEntry[] {
    const words = this.#words;
    const entries: RegisterEntry[] = [];
    const end = at(this.#count());
    for (let entry = at(0); entry < end; entry += Entry.integers) {
      const check = words[entry + Entry.check];
      if (check === FREE) continue;
      if (check !== checkOf(words, entry)) broken("an entry of the register was written over");
      entries.push(this.#read(entry));
    }
    return entries;
  }

  #read(entry: number): RegisterEntry {
    const words = this.#words;
    const doubles = this.#doubles;
    return {
      entry,
      serial: words[entry + Entry.serial] ?? 0,
      pool: words[entry + Entry.pool] ?? 0,
      block: words[entry + Entry.block] ?? 0,
      generations: words[entry + Entry.generations] ?? 0,
      rx: doubles[(entry >> 1) + Entry.rx] ?? 0,
      rw: doubles[(entry >> 1) + Entry.rw] ?? 0,
      sizeBytes: doubles[(entry >> 1) + Entry.size] ?? 0,
    };
  }
}

/** The checksum of an entry: 32 bits (FNV-1a, of integers) of all it says of its block. Leaving does not change it. */
function checkOf(words: Int32Array, entry: number): number {
  let hash = 0x811c_9dc5 ^ Math.abs(words[entry + Entry.serial] ?? 0);
  for (let index = entry + Entry.pool; index < entry + Entry.check; index++) {
    hash = Math.imul(hash, 0x0100_0193) ^ (words[index] ?? 0);
  }
  // One checksum in 2**31 would say that the entry is free or was never used.
  return hash === FREE || hash === 0 ? 1 : hash;
}

function broken(what: string): never {
  throw new Error(`invariant 16 is broken: ${what}`);
}

function at(index: number): number {
  return Entry.start + index * Entry.integers;
}
