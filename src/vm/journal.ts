/**
 * The journal of a shared allocator. It says what the thread in the lock has mapped and not registered yet, and which
 * call of the system it is making. If that thread ends, another one can give everything back without asking the system
 * what is mapped.
 *
 * A thread can end between any two steps of JavaScript, but never inside a native call: a runtime terminates only its own
 * code, and a call that has begun comes to its end. So each call is noted before it is made, and the routine that makes
 * it (routine.ts) notes its result before JavaScript goes on. The journal thus tells of each call whether it was made and
 * what it returned. Nothing is guessed, and no address is given back that may belong to somebody else by now.
 *
 * There are two banks; one number says which is current:
 * ```
 * ┌ current ┬ routine, check ┬ bank 0: result, check, call, leaving, handles, ranges ┬ bank 1: the same ┐
 * └─────────┴────────────────┴───────────────────────────────────────────────────────┴──────────────────┘
 * ```
 * A bank has the ranges and handles held before a call, and the call. What is held after the call follows from both. The
 * next call is written to the other bank, with what is held by then; a single write makes that bank current.
 *
 * Any code that has the buffer can write over the journal, and the library calls, closes and unmaps what it finds there.
 * So each bank has a checksum of all that its thread wrote, which is verified before every read (invariant 19).
 */
import type { Address } from "../ffi/contract.ts";
import type { JournalStorage, MappedRange, MappingJournal } from "./contract.ts";

/** The effect of a call that succeeds. */
export const Call = {
  none: 0,
  /** Maps `sizeBytes` at the address that it returns. */
  map: 1,
  /** Unmaps `sizeBytes` at `address`. */
  unmap: 2,
  /** Opens the descriptor or handle that it returns. */
  open: 3,
  /** Closes the descriptor or handle `address`, whatever it returns. */
  close: 4,
} as const;

/** A function's effect, and how its result is read. */
export interface NotedFunction {
  /** One of {@link Call}. */
  readonly call: number;
  /** The result that means failure. */
  readonly failure: number;
  /** Whether the result is an integer of 64 bits; else of 32. */
  readonly isWide: boolean;
}

/** The fields before the banks, as indices of doubles. */
const enum Head {
  current = 0,
  /** The address of the routine that notes results; 0 = none. */
  routine = 1,
  routineCheck = 2,
  count = 3,
}

/** The fields of a bank, as indices of doubles. */
const enum Bank {
  /** The result: two integers, the lower one first. The routine writes it, so the checksum leaves it out. */
  result = 0,
  /** The checksum, 32 bits, of the fields that follow. */
  check = 1,
  call = 2,
  /** 1 where the routine makes the call: a missing result then means that the call was not made. */
  isExact = 3,
  /** The result that means failure ({@link NotedFunction.failure}). */
  failure = 4,
  /** 1 = the result has 64 bits; 0 = it has 32, and the upper integer means nothing. */
  isWide = 5,
  address = 6,
  size = 7,
  /** The start of the block that is being given back; 0 = none. */
  leaving = 8,
  /** Two descriptors or handles, each with 1 added; 0 = none. */
  handles = 9,
  rangeCount = 11,
  ranges = 12,
}

const HANDLES = 2;

/**
 * Stands for "no result yet". It is the lower half of no result: addresses and handles are even, and no descriptor is so
 * high.
 */
const PENDING = 0x7eed_0bad;
const TWO_TO_32 = 2 ** 32;

/** {@link MappingJournal} in shared memory. */
export class Journal implements MappingJournal {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  /** In doubles. */
  readonly #start: number;
  readonly #bankSize: number;
  readonly #mostRanges: number;
  /** Scratch space of `#subtract`: the ranges that remain. Each range may leave two. */
  readonly #rest: Float64Array;
  /** The result fields, by bank. */
  readonly #slots: readonly Int32Array[];

  constructor({ words, doubles, start, integers }: JournalStorage) {
    this.#words = words;
    this.#doubles = doubles;
    this.#start = start >> 1;
    this.#bankSize = ((integers >> 1) - Head.count) >> 1;
    this.#mostRanges = (this.#bankSize - Bank.ranges) >> 1;
    this.#rest = new Float64Array(4 * this.#mostRanges);
    this.#slots = [0, 1].map((bank) => {
      const offset = words.byteOffset + (this.#baseOf(bank) + Bank.result) * 8;
      return new Int32Array(words.buffer, offset, 2);
    });
  }

  get routine(): Address {
    const at = this.#start + Head.routine;
    if (this.#doubles[this.#start + Head.routineCheck] !== this.#hash(at, at + 1)) broken();
    return this.#doubles[at] ?? 0;
  }

  set routine(address: Address) {
    const at = this.#start + Head.routine;
    this.#doubles[at] = address;
    this.#doubles[this.#start + Head.routineCheck] = this.#hash(at, at + 1);
  }

  get leaving(): Address {
    return this.#doubles[this.#currentBase() + Bank.leaving] ?? 0;
  }

  // --- calls ------------------------------------------------------------------------------------------------------

  /**
   * Notes a call that is made right after this. Returns the place for its result, the lower half first.
   * @param address what the call unmaps or closes
   * @param isExact whether a routine writes the result; else {@link end} does
   */
  begin(
    { call, failure, isWide }: NotedFunction,
    address: Address,
    sizeBytes: number,
    isExact: boolean,
  ): Int32Array {
    const bank = this.#prepare();
    const base = this.#baseOf(bank);
    const doubles = this.#doubles;
    doubles[base + Bank.call] = call;
    doubles[base + Bank.isExact] = isExact ? 1 : 0;
    doubles[base + Bank.failure] = failure;
    doubles[base + Bank.isWide] = isWide ? 1 : 0;
    doubles[base + Bank.address] = address;
    doubles[base + Bank.size] = sizeBytes;
    this.#words[2 * (base + Bank.result)] = PENDING;
    this.#turnTo(bank);
    return this.#slots[bank] ?? new Int32Array(2);
  }

  /** Notes the result of a call that was made without the routine. */
  end(result: number): void {
    const at = 2 * (this.#currentBase() + Bank.result);
    const high = Math.floor(result / TWO_TO_32);
    // The lower half is written last: from then on the result counts as there.
    this.#words[at + 1] = high;
    this.#words[at] = result - high * TWO_TO_32;
  }

  // --- what is held ---------------------------------------------------------------------------------------------------

  take(ranges: readonly MappedRange[], leaving: Address): void {
    const bank = this.#prepare();
    const base = this.#baseOf(bank);
    for (const { address, sizeBytes } of ranges) this.#add(base, address, sizeBytes);
    this.#doubles[base + Bank.leaving] = leaving;
    this.#turnTo(bank);
  }

  drop(ranges: readonly MappedRange[]): void {
    const bank = this.#prepare();
    const base = this.#baseOf(bank);
    for (const { address, sizeBytes } of ranges) this.#subtract(base, address, sizeBytes);
    this.#doubles[base + Bank.leaving] = 0;
    this.#turnTo(bank);
  }

  heldRanges(): MappedRange[] {
    const base = this.#baseOf(this.#settled());
    return Array.from({ length: this.#doubles[base + Bank.rangeCount] ?? 0 }, (_, index) => ({
      address: this.#doubles[base + Bank.ranges + 2 * index] ?? 0,
      sizeBytes: this.#doubles[base + Bank.ranges + 2 * index + 1] ?? 0,
    }));
  }

  heldHandles(): number[] {
    const start = this.#baseOf(this.#settled()) + Bank.handles;
    return Array.from(this.#doubles.slice(start, start + HANDLES), (handle) => handle - 1).filter(
      (handle) => handle >= 0,
    );
  }

  // --- inside -----------------------------------------------------------------------------------------------------

  /**
   * The start of the current bank.
   * @throws Error where the bank fails its checksum
   */
  #currentBase(): number {
    const bank = this.#doubles[this.#start + Head.current];
    if (bank !== 0 && bank !== 1) return broken();
    const base = this.#baseOf(bank);
    const count = this.#doubles[base + Bank.rangeCount] ?? 0;
    // This form of the condition is false for NaN too.
    const isCount = count >= 0 && count <= this.#mostRanges;
    if (!isCount || this.#doubles[base + Bank.check] !== this.#checkOf(base)) broken();
    return base;
  }

  #checkOf(base: number): number {
    return this.#hash(
      base + Bank.call,
      base + Bank.ranges + 2 * (this.#doubles[base + Bank.rangeCount] ?? 0),
    );
  }

  /** 32 bits of the doubles from `start` to `end` (FNV-1a, of integers); 0 where all of them are 0. */
  #hash(start: number, end: number): number {
    let hash = 0;
    for (let index = 2 * start; index < 2 * end; index++) {
      hash = Math.imul(hash, 0x0100_0193) ^ (this.#words[index] ?? 0);
    }
    return hash;
  }

  #baseOf(bank: number): number {
    return this.#start + Head.count + bank * this.#bankSize;
  }

  #turnTo(bank: number): void {
    const base = this.#baseOf(bank);
    this.#doubles[base + Bank.check] = this.#checkOf(base);
    this.#doubles[this.#start + Head.current] = bank;
  }

  /** Turns to a bank without a call, and returns it. */
  #settled(): number {
    const bank = this.#prepare();
    this.#turnTo(bank);
    return bank;
  }

  /** Writes what is held now to the other bank, without a call, and returns that bank. It does not become current yet. */
  #prepare(): number {
    const doubles = this.#doubles;
    const from = this.#currentBase();
    const bank = from === this.#baseOf(0) ? 1 : 0;
    const to = this.#baseOf(bank);
    doubles[to + Bank.call] = Call.none;
    const count = doubles[from + Bank.rangeCount] ?? 0;
    const first: number = Bank.leaving;
    const end = Bank.ranges + 2 * count;
    for (let index = first; index < end; index++) doubles[to + index] = doubles[from + index] ?? 0;
    this.#account(from, to);
    return bank;
  }

  /** Applies the call of bank `from` to bank `to`: adds what the call made, and removes what it gave back. */
  #account(from: number, to: number): void {
    const doubles = this.#doubles;
    const call = doubles[from + Bank.call] ?? Call.none;
    if (call === Call.none) return;
    const result = this.#resultIn(from);
    // No result: the call was not made. Without the routine that is uncertain: what the call may have made is lost, and
    // what it may have given back is no longer held, since it may belong to somebody else by now.
    const isUncertain = result === undefined && doubles[from + Bank.isExact] !== 1;
    const isDone = result !== undefined && result !== doubles[from + Bank.failure];
    const address = doubles[from + Bank.address] ?? 0;
    const sizeBytes = doubles[from + Bank.size] ?? 0;
    if (call === Call.map && isDone) this.#add(to, result, sizeBytes);
    if (call === Call.unmap && (isDone || isUncertain)) this.#subtract(to, address, sizeBytes);
    if (call === Call.open && isDone) this.#replaceHandle(to, 0, result + 1);
    if (call === Call.close && (result !== undefined || isUncertain)) this.#replaceHandle(to, address + 1, 0);
  }

  /** The result of a bank's call; undefined where none is noted. */
  #resultIn(base: number): number | undefined {
    const at = 2 * (base + Bank.result);
    const low = this.#words[at] ?? 0;
    const high = this.#words[at + 1] ?? 0;
    if (low === PENDING) return undefined;
    return this.#doubles[base + Bank.isWide] === 1 ? high * TWO_TO_32 + (low >>> 0) : low;
  }

  /** Holds a range. Where there is no room the range is not held; that loses memory only if the thread dies. */
  #add(base: number, address: Address, sizeBytes: number): void {
    const doubles = this.#doubles;
    const count = doubles[base + Bank.rangeCount] ?? 0;
    for (let index = 0; index < count; index++) {
      const start = doubles[base + Bank.ranges + 2 * index] ?? 0;
      const end = start + (doubles[base + Bank.ranges + 2 * index + 1] ?? 0);
      // Mapped over a range that is held already.
      if (start <= address && address + sizeBytes <= end) return;
    }
    if (count >= this.#mostRanges) return;
    doubles[base + Bank.ranges + 2 * count] = address;
    doubles[base + Bank.ranges + 2 * count + 1] = sizeBytes;
    doubles[base + Bank.rangeCount] = count + 1;
  }

  /** Does what `without` (ranges.ts) does, but makes no objects: they would add a tenth to the cost of mapping a block. */
  #subtract(base: number, address: Address, sizeBytes: number): void {
    const doubles = this.#doubles;
    const rest = this.#rest;
    const count = doubles[base + Bank.rangeCount] ?? 0;
    const end = address + sizeBytes;
    let restCount = 0;
    for (let index = 0; index < count; index++) {
      const start = doubles[base + Bank.ranges + 2 * index] ?? 0;
      const startOfNext = start + (doubles[base + Bank.ranges + 2 * index + 1] ?? 0);
      const below = Math.min(address, startOfNext) - start;
      const above = startOfNext - Math.max(end, start);
      if (below > 0) {
        rest[2 * restCount] = start;
        rest[2 * restCount++ + 1] = below;
      }
      if (above > 0) {
        rest[2 * restCount] = startOfNext - above;
        rest[2 * restCount++ + 1] = above;
      }
    }
    restCount = Math.min(restCount, this.#mostRanges);
    for (let index = 0; index < 2 * restCount; index++)
      doubles[base + Bank.ranges + index] = rest[index] ?? 0;
    doubles[base + Bank.rangeCount] = restCount;
  }

  #replaceHandle(base: number, found: number, replacement: number): void {
    const doubles = this.#doubles;
    for (let index = 0; index < HANDLES; index++) {
      if (doubles[base + Bank.handles + index] !== found) continue;
      doubles[base + Bank.handles + index] = replacement;
      return;
    }
  }
}

function broken(): never {
  throw new Error("invariant 19 is broken: the journal was written over");
}
