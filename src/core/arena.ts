/**
 * Allocates the shared buffer in chunks: for blocks, their generations, the lists of free runs and the owner table.
 * The buffer only grows; a chunk given back is coalesced with its free neighbours and used again.
 */
import { assert } from "../base/assert.ts";
import { broken } from "./broken.ts";
import { Bins, Format, Header, Link, Size, Unit } from "./layout.ts";
import { ringInit, ringInsert, ringRemove } from "./ring.ts";

/**
 * The bytes by which the buffer grows: whole pages, since less cannot be committed, and several at once, because each
 * growth is a system call. Untouched pages take no memory.
 */
const GROWTH_BYTES = 64 * 1024;

/**
 * Hands out zeroed chunks of whole units of one growable SharedArrayBuffer.
 *
 * The owner table has one integer per unit: the block whose chunk holds the unit; at the first and last unit of a free
 * chunk, minus the chunk's length in units; else 0. When the buffer grows, new views are made: a caller that keeps views
 * must read them again after `take`.
 */
export class Arena {
  readonly buffer: SharedArrayBuffer;
  words: Int32Array;
  doubles: Float64Array;
  /** Whether the last failure of `take` was for lack of room in the buffer; otherwise it was for lack of memory. */
  isFull = false;

  /**
   * @param fixedIntegers how many integers, from index 0, the caller lays out itself
   * @param maxIntegers the most the buffer may ever hold
   * @param shared a buffer that another arena laid out: this one then works on it too
   * @param spare a buffer that an arena had and nobody has any more, cleared; used if it may grow as much
   */
  constructor(
    fixedIntegers: number,
    maxIntegers: number,
    shared?: SharedArrayBuffer,
    spare?: SharedArrayBuffer,
  ) {
    if (shared !== undefined) {
      this.buffer = shared;
      this.words = new Int32Array(shared, 0, shared.byteLength >> 2);
      this.doubles = new Float64Array(shared, 0, shared.byteLength >> 3);
      return;
    }
    const table = (fixedIntegers + Unit.integers - 1) >> Unit.shift;
    // The first owner table describes the fixed part, itself, and as much again: enough for a small allocator.
    const tableUnits = Math.ceil((2 * (table + 1)) / Unit.integers);
    const limit = Math.min(maxIntegers, Format.maxIntegers);
    const maxByteLength = roundToPages(limit * 4);
    this.buffer =
      spare?.maxByteLength === maxByteLength
        ? spare
        : newBuffer((table + tableUnits) * Unit.integers * 4, maxByteLength);
    this.words = new Int32Array(this.buffer, 0, this.buffer.byteLength >> 2);
    this.doubles = new Float64Array(this.buffer, 0, this.buffer.byteLength >> 3);
    const words = this.words;
    words[Header.magic] = Format.magic;
    words[Header.version] = Format.version;
    words[Header.maxIntegers] = this.buffer.maxByteLength >> 2;
    words[Header.owners] = table << Unit.shift;
    words[Header.ownersCapacity] = tableUnits << Unit.shift;
    words[Header.unitCount] = table + tableUnits;
    for (let bin = 0; bin < Bins.count; bin++) ringInit(words, Bins.start + bin * Size.node);
  }

  /** Makes the views anew, after another thread may have grown the buffer. */
  refreshViews(): void {
    if (this.words.byteLength === this.buffer.byteLength) return;
    this.words = new Int32Array(this.buffer, 0, this.buffer.byteLength >> 2);
    this.doubles = new Float64Array(this.buffer, 0, this.buffer.byteLength >> 3);
  }

  /**
   * Takes a zeroed chunk of `unitCount` units. Returns its index, or 0 where the buffer cannot grow enough (nothing has
   * changed).
   * @param isBlock whether the owner table names the chunk, as a block, for each of its units
   */
  take(unitCount: number, isBlock: boolean): number {
    let unit = this.#takeFree(unitCount);
    if (unit === 0) {
      unit = this.#extend(unitCount);
      if (unit === 0) return 0;
    } else {
      this.words.fill(0, unit << Unit.shift, (unit + unitCount) << Unit.shift);
    }
    const index = unit << Unit.shift;
    const owners = this.words[Header.owners]!;
    this.words.fill(isBlock ? index : 0, owners + unit, owners + unit + unitCount);
    return index;
  }

  /** Gives a chunk back. */
  give(index: number, unitCount: number): void {
    const words = this.words;
    const owners = words[Header.owners]!;
    let first = index >> Unit.shift;
    let count = unitCount;
    assert(
      first + count <= words[Header.unitCount]!,
      5,
      "a chunk is given back that the buffer does not have",
    );
    assert(words[owners + first]! >= 0, 6, "a chunk is given back that is free");
    words.fill(0, owners + first, owners + first + count);
    const after = first + count;
    if (after < words[Header.unitCount]! && words[owners + after]! < 0) {
      count += -words[owners + after]!;
      this.#forget(after);
    }
    const before = words[owners + first - 1]!;
    if (before < 0) {
      first += before;
      count -= before;
      this.#forget(first);
    }
    rememberChunk(words, first, count);
  }

  /**
   * Promises a chunk of `unitCount` units: from now on there is room for it. It takes no memory until it is taken. Returns
   * false where the buffer cannot grow enough (nothing has changed).
   */
  promise(unitCount: number): boolean {
    if (!this.#makeRoom(unitCount)) return false;
    this.words[Header.promised] = this.words[Header.promised]! + unitCount;
    return true;
  }

  /** Takes back a promise. */
  unpromise(unitCount: number): void {
    const words = this.words;
    words[Header.promised] = words[Header.promised]! - unitCount;
    assert(words[Header.promised] >= 0, 5, "a promise is taken back that nobody made");
  }

  /** Takes a promised chunk, zeroed. Cannot fail, and makes no new views. */
  takePromised(unitCount: number): number {
    this.unpromise(unitCount);
    const index = this.take(unitCount, false);
    assert(index !== 0, 5, "there is no room for what was promised");
    return index;
  }

  /** Cuts a chunk from a free one: the first of its own bin, or any of a higher bin. Returns its unit, or 0. */
  #takeFree(unitCount: number): number {
    const words = this.words;
    const owners = words[Header.owners]!;
    for (let bin = binOf(unitCount); bin < Bins.count; bin++) {
      const sentinel = Bins.start + bin * Size.node;
      const node = words[sentinel + Link.next]!;
      if (node === sentinel) continue;
      const unit = node >> Unit.shift;
      const length = -words[owners + unit]!;
      if (length < unitCount) continue;
      this.#forget(unit);
      if (length > unitCount) rememberChunk(words, unit + unitCount, length - unitCount);
      return unit;
    }
    return 0;
  }

  /** Adds units at the end. Returns the first one, or 0. */
  #extend(unitCount: number): number {
    if (!this.#makeRoom(unitCount)) return 0;
    const words = this.words;
    const unit = words[Header.unitCount]!;
    words[Header.unitCount] = unit + unitCount;
    return unit;
  }

  /**
   * Sees to it that the buffer and its owner table have room for `unitCount` units more than there are and are promised. A
   * full owner table moves to a larger chunk.
   */
  #makeRoom(unitCount: number): boolean {
    const words = this.words;
    const end = words[Header.unitCount]!;
    const owners = words[Header.owners]!;
    const capacity = words[Header.ownersCapacity]!;
    if (capacity < Unit.integers) broken(5, `an owner table of ${capacity} integers`);
    const needed = end + words[Header.promised]! + unitCount;
    let newCapacity = capacity;
    let tableUnits = 0;
    while (needed + tableUnits > newCapacity) {
      newCapacity *= 2;
      tableUnits = newCapacity >> Unit.shift;
    }
    if (!this.#grow(needed + tableUnits)) return false;
    if (tableUnits > 0) {
      const grown = this.words;
      const table = end << Unit.shift;
      grown[Header.unitCount] = end + tableUnits;
      grown.copyWithin(table, owners, owners + end);
      grown[Header.owners] = table;
      grown[Header.ownersCapacity] = newCapacity;
      this.give(owners, capacity >> Unit.shift);
    }
    return true;
  }

  #grow(unitCount: number): boolean {
    const neededBytes = roundToPages(unitCount * Unit.integers * 4);
    if (neededBytes <= this.words.byteLength) return true;
    this.isFull = neededBytes > this.buffer.maxByteLength;
    if (this.isFull) return false;
    try {
      this.buffer.grow(neededBytes);
    } catch {
      return false; // the system would not commit the pages; the buffer is as it was
    }
    this.words = new Int32Array(this.buffer, 0, neededBytes >> 2);
    this.doubles = new Float64Array(this.buffer, 0, neededBytes >> 3);
    return true;
  }

  #forget(unit: number): void {
    const words = this.words;
    const owners = words[Header.owners]!;
    const count = -words[owners + unit]!;
    assert(count > 0 && words[owners + unit + count - 1] === -count, 6, "a free chunk has not one length");
    words[owners + unit] = 0;
    words[owners + unit + count - 1] = 0;
    ringRemove(words, unit << Unit.shift);
  }
}

/** Enters a free chunk in its bin, where the next `take` finds it. Its neighbours must not be free. */
export function rememberChunk(words: Int32Array, unit: number, count: number): void {
  const owners = words[Header.owners]!;
  words[owners + unit] = -count;
  words[owners + unit + count - 1] = -count;
  ringInsert(words, Bins.start + binOf(count) * Size.node, unit << Unit.shift);
}

function binOf(unitCount: number): number {
  return 31 - Math.clz32(unitCount);
}

/** A buffer of at least `sizeBytes`, zeroed. One that need not grow reserves no addresses, and is made in a tenth of the time. */
function newBuffer(sizeBytes: number, maxByteLength: number): SharedArrayBuffer {
  if (maxByteLength <= sizeBytes) return new SharedArrayBuffer(sizeBytes);
  return new SharedArrayBuffer(roundToPages(sizeBytes), { maxByteLength });
}

function roundToPages(bytes: number): number {
  return Math.ceil(bytes / GROWTH_BYTES) * GROWTH_BYTES;
}
