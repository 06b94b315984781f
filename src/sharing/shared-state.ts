/** The state of a shared allocator: the buffer by which its threads coordinate, and the tables in it. */
import { GenerationBatches } from "./batches.ts";
import { Batches, Entry, Field, Format, Intent, Journal } from "./layout.ts";
import { SharedPeakRecord } from "./peak-record.ts";
import { SharedRangeRecord } from "./range-record.ts";
import { SharedRegister } from "./register.ts";
import type { JournalStorage } from "../vm/contract.ts";

export { Intent } from "./layout.ts";

/** Views of the buffer, one for each type of number in it. */
export interface StateViews {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** The owners of batches alone. */
  readonly owners: Uint16Array;
}

/** Makes views of fixed lengths: reading a view that follows the length of its buffer costs 20 to 30 times as much. */
export function viewsOf(buffer: SharedArrayBuffer): StateViews {
  return {
    words: new Int32Array(buffer, 0, buffer.byteLength >> 2),
    doubles: new Float64Array(buffer, 0, buffer.byteLength >> 3),
    owners: new Uint16Array(buffer, Batches.start * 4, Batches.count),
  };
}

/** Everything that the threads of one allocator share besides the core. Everything but reading the epoch needs the lock. */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  /** The lock and the epoch are read and changed through these, with Atomics; all else through plain views. */
  readonly atomics: Int32Array;
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly batches: GenerationBatches;
  readonly register: SharedRegister;
  readonly journal: JournalStorage;
  readonly range: SharedRangeRecord;
  readonly peaks: SharedPeakRecord;

  /** @param views of the buffer; tests pass views that stop at a given write */
  constructor(buffer: SharedArrayBuffer, views = viewsOf(buffer)) {
    const { words, doubles, owners } = views;
    this.buffer = buffer;
    this.atomics = viewsOf(buffer).words;
    this.words = words;
    this.doubles = doubles;
    this.batches = new GenerationBatches(words, owners);
    this.register = new SharedRegister(this.atomics, words, doubles);
    this.range = new SharedRangeRecord(words, doubles);
    this.peaks = new SharedPeakRecord(doubles);
    this.journal = { words, doubles, start: Journal.start, integers: Journal.integers };
  }

  /** Makes the state of an allocator that never has more than `mostBlocks` blocks. It is recognised by its seal. */
  static create(mostBlocks: number, seal = 0): SharedState {
    const integers = Entry.start + mostBlocks * Entry.integers;
    const byteLength = integers * 4;
    // V8 takes a buffer of fixed length from the C heap, which clears memory that it reuses: 2.6 MB would be resident for
    // each allocator. A growable buffer is mapped instead. This one never grows.
    const state = new SharedState(new SharedArrayBuffer(byteLength, { maxByteLength: byteLength }));
    state.words[Field.version] = Format.version;
    state.words[Field.seal] = seal;
    state.words[Field.integers] = integers;
    state.words[Field.magic] = Format.magic;
    return state;
  }

  /** Whether a buffer was made by {@link create}, with that seal and by this version of the library. */
  static isOne(buffer: SharedArrayBuffer, seal: number): boolean {
    if (buffer.byteLength < Entry.start * 4 || buffer.maxByteLength !== buffer.byteLength) return false;
    const words = new Int32Array(buffer, 0, Field.count);
    return (
      words[Field.magic] === Format.magic &&
      words[Field.version] === Format.version &&
      words[Field.seal] === seal &&
      words[Field.integers] === buffer.byteLength >> 2
    );
  }

  /** The seal, which the parts of one handle have in common. */
  get seal(): number {
    return this.words[Field.seal] ?? 0;
  }

  /** A number that changes when what a thread keeps for itself may be stale. Needs no lock. */
  get epoch(): number {
    return Atomics.load(this.atomics, Field.epoch);
  }

  get isTorn(): boolean {
    return this.words[Field.isTorn] !== 0;
  }

  set isTorn(value: boolean) {
    this.words[Field.isTorn] = value ? 1 : 0;
  }

  get intent(): Intent {
    return this.words[Field.intent] ?? Intent.none;
  }

  set intent(value: Intent) {
    this.words[Field.intent] = value;
  }

  /** The batch of the module that an operation is working on, with 1 added; 0 = none. */
  get module(): number {
    return this.words[Field.module] ?? 0;
  }

  set module(value: number) {
    this.words[Field.module] = value;
  }

  /** Whether a hard reset waits for threads inside: once limbo is empty, the blocks that nobody uses are unmapped. */
  get isEmptying(): boolean {
    return this.words[Field.isEmptying] !== 0;
  }

  set isEmptying(value: boolean) {
    this.words[Field.isEmptying] = value ? 1 : 0;
  }

  /**
   * Notes how a reset has gone. Called before its intent is cleared.
   * @param isWhole whether nobody was inside, and nothing was refused: no block is left that it was to unmap
   */
  noteReset(intent: Intent, isWhole: boolean): void {
    if (isWhole) this.isEmptying = false;
    else if (intent === Intent.resetHard) this.isEmptying = true;
  }

  get isDisposed(): boolean {
    return this.words[Field.isDisposed] !== 0;
  }

  set isDisposed(value: boolean) {
    this.words[Field.isDisposed] = value ? 1 : 0;
  }

  /** Whether the allocator was disposed while threads were inside its code: what they may be running is still mapped. */
  get isEnding(): boolean {
    return this.isDisposed && this.intent === Intent.dispose;
  }

  /** The bytes of the buffer that are or were in use: the table of members, the owners of batches, and the register. */
  get usedBytes(): number {
    const { words } = this;
    const batches = Math.min(words[Field.nextBatch] ?? 0, Batches.count);
    return (Batches.start + (words[Field.entryCount] ?? 0) * Entry.integers) * 4 + batches * 2;
  }

  get repairCount(): number {
    return this.words[Field.repairs] ?? 0;
  }

  countRepair(): void {
    this.words[Field.repairs] = this.repairCount + 1;
  }
}
