/**
 * The shared buffer, and the chunks it is cut into: for blocks, their generations and the owner table.
 * The buffer only grows; chunks given back are joined with their free neighbours and used again.
 */
import {
  BIN_COUNT,
  BINS,
  HEADER_MAGIC,
  HEADER_OWNERS,
  HEADER_OWNERS_CAPACITY,
  HEADER_UNIT_COUNT,
  HEADER_VERSION,
  LAYOUT_VERSION,
  MAGIC,
  MAX_INTEGERS,
  NEXT,
  RECORD_INTEGERS,
  UNIT_INTEGERS,
  UNIT_SHIFT,
} from "./layout.ts";
import { ringInit, ringInsert, ringRemove } from "./ring.ts";

/** The buffer grows by whole pages, since less than one cannot be committed. */
const GROWTH_BYTES = 4096;
/**
 * Hands out zeroed chunks of whole units of one growable SharedArrayBuffer.
 *
 * The owner table has an integer a unit: the block whose chunk holds it; minus its length at the first and last unit
 * of a free chunk; else 0. Views are made anew when the buffer grew: whoever keeps them reads them again after `take`.
 */
export class Arena {
  readonly buffer: SharedArrayBuffer;
  words: Int32Array;
  doubles: Float64Array;

  /**
   * @param fixedIntegers how many integers, from index 0, the caller lays out itself
   * @param maxIntegers the most the buffer may ever hold
   */
  constructor(fixedIntegers: number, maxIntegers: number) {
    const table = (fixedIntegers + UNIT_INTEGERS - 1) >> UNIT_SHIFT;
    // The first owner table describes the fixed part, itself, and as much again: it serves the small allocators.
    const tableUnits = Math.ceil((2 * (table + 1)) / UNIT_INTEGERS);
    const limit = Math.min(maxIntegers, MAX_INTEGERS);
    this.buffer = new SharedArrayBuffer(roundToPages((table + tableUnits) * UNIT_INTEGERS * 4), {
      maxByteLength: roundToPages(limit * 4),
    });
    this.words = new Int32Array(this.buffer, 0, this.buffer.byteLength >> 2);
    this.doubles = new Float64Array(this.buffer, 0, this.buffer.byteLength >> 3);
    const words = this.words;
    words[HEADER_MAGIC] = MAGIC;
    words[HEADER_VERSION] = LAYOUT_VERSION;
    words[HEADER_OWNERS] = table << UNIT_SHIFT;
    words[HEADER_OWNERS_CAPACITY] = tableUnits << UNIT_SHIFT;
    words[HEADER_UNIT_COUNT] = table + tableUnits;
    for (let bin = 0; bin < BIN_COUNT; bin++) ringInit(words, BINS + bin * RECORD_INTEGERS);
  }

  /**
   * A zeroed chunk of `unitCount` units, its index, or 0 where the buffer cannot grow enough (nothing has changed).
   * @param isBlock the owner table then names it in each of its units
   */
  take(unitCount: number, isBlock: boolean): number {
    let unit = this.#takeFree(unitCount);
    if (unit === 0) {
      unit = this.#extend(unitCount);
      if (unit === 0) return 0;
    } else {
      this.words.fill(0, unit << UNIT_SHIFT, (unit + unitCount) << UNIT_SHIFT);
    }
    const index = unit << UNIT_SHIFT;
    const owners = this.words[HEADER_OWNERS]!;
    this.words.fill(isBlock ? index : 0, owners + unit, owners + unit + unitCount);
    return index;
  }

  /** Gives a chunk back. */
  give(index: number, unitCount: number): void {
    const words = this.words;
    const owners = words[HEADER_OWNERS]!;
    let first = index >> UNIT_SHIFT;
    let count = unitCount;
    words.fill(0, owners + first, owners + first + count);
    const after = first + count;
    if (after < words[HEADER_UNIT_COUNT]! && words[owners + after]! < 0) {
      count += -words[owners + after]!;
      this.#forget(after);
    }
    const before = words[owners + first - 1]!;
    if (before < 0) {
      first += before;
      count -= before;
      this.#forget(first);
    }
    this.#remember(first, count);
  }

  /** A free chunk cut to size, its unit, or 0. Any chunk of a higher bin is large enough; in its own bin, the first. */
  #takeFree(unitCount: number): number {
    const words = this.words;
    const owners = words[HEADER_OWNERS]!;
    for (let bin = binOf(unitCount); bin < BIN_COUNT; bin++) {
      const sentinel = BINS + bin * RECORD_INTEGERS;
      const node = words[sentinel + NEXT]!;
      if (node === sentinel) continue;
      const unit = node >> UNIT_SHIFT;
      const length = -words[owners + unit]!;
      if (length < unitCount) continue;
      this.#forget(unit);
      if (length > unitCount) this.#remember(unit + unitCount, length - unitCount);
      return unit;
    }
    return 0;
  }

  /** New units at the end, the first one, or 0. The owner table moves to a larger chunk first where it is full. */
  #extend(unitCount: number): number {
    const words = this.words;
    const end = words[HEADER_UNIT_COUNT]!;
    const owners = words[HEADER_OWNERS]!;
    const capacity = words[HEADER_OWNERS_CAPACITY]!;
    let newCapacity = capacity;
    let tableUnits = 0;
    while (end + tableUnits + unitCount > newCapacity) {
      newCapacity *= 2;
      tableUnits = newCapacity >> UNIT_SHIFT;
    }
    const newEnd = end + tableUnits + unitCount;
    if (!this.#grow(newEnd)) return 0;
    const grown = this.words;
    grown[HEADER_UNIT_COUNT] = newEnd;
    if (tableUnits > 0) {
      const table = end << UNIT_SHIFT;
      grown.copyWithin(table, owners, owners + end);
      grown[HEADER_OWNERS] = table;
      grown[HEADER_OWNERS_CAPACITY] = newCapacity;
      this.give(owners, capacity >> UNIT_SHIFT);
    }
    return end + tableUnits;
  }

  #grow(unitCount: number): boolean {
    const neededBytes = roundToPages(unitCount * UNIT_INTEGERS * 4);
    if (neededBytes <= this.words.byteLength) return true;
    if (neededBytes > this.buffer.maxByteLength) return false;
    try {
      this.buffer.grow(neededBytes);
    } catch {
      return false; // the system would not commit the pages; the buffer is as it was
    }
    this.words = new Int32Array(this.buffer, 0, neededBytes >> 2);
    this.doubles = new Float64Array(this.buffer, 0, neededBytes >> 3);
    return true;
  }

  #remember(unit: number, count: number): void {
    const words = this.words;
    const owners = words[HEADER_OWNERS]!;
    words[owners + unit] = -count;
    words[owners + unit + count - 1] = -count;
    ringInsert(words, BINS + binOf(count) * RECORD_INTEGERS, unit << UNIT_SHIFT);
  }

  #forget(unit: number): void {
    const words = this.words;
    const owners = words[HEADER_OWNERS]!;
    const count = -words[owners + unit]!;
    words[owners + unit] = 0;
    words[owners + unit + count - 1] = 0;
    ringRemove(words, unit << UNIT_SHIFT);
  }
}

function binOf(unitCount: number): number {
  return 31 - Math.clz32(unitCount);
}

function roundToPages(bytes: number): number {
  return Math.ceil(bytes / GROWTH_BYTES) * GROWTH_BYTES;
}
