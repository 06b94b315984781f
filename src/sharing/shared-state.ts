/** The buffer that coordinates the threads of a shared allocator, and the tables in it. */
import { GenerationBatches } from "./batches.ts";
import { Batches, Entry, Field, Format, Intent } from "./layout.ts";
import { SharedRegister } from "./register.ts";

export { Intent } from "./layout.ts";

/** All that the threads of one allocator share beside the core. Everything but reading the epoch needs the lock. */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  /** The lock and the epoch are read and changed through these, with Atomics; all else through plain views. */
  readonly atomics: Int32Array;
  readonly words: Int32Array;
  readonly batches: GenerationBatches;
  readonly register: SharedRegister;

  /** @param words, doubles views of the buffer; tests pass such as stop at a given write */
  constructor(buffer: SharedArrayBuffer, words = new Int32Array(buffer), doubles = new Float64Array(buffer)) {
    this.buffer = buffer;
    this.atomics = new Int32Array(buffer);
    this.words = words;
    const owners = new Uint16Array(buffer, Batches.start * 4, Batches.count);
    this.batches = new GenerationBatches(words, owners);
    this.register = new SharedRegister(this.atomics, words, doubles);
  }

  /** A new one, for an allocator that never has more than `mostBlocks` blocks. It is known again by its seal. */
  static create(mostBlocks: number, seal = 0): SharedState {
    const integers = Entry.start + mostBlocks * Entry.integers;
    const state = new SharedState(new SharedArrayBuffer(integers * 4));
    state.words[Field.version] = Format.version;
    state.words[Field.seal] = seal;
    state.words[Field.magic] = Format.magic;
    return state;
  }

  /** Whether a buffer was made by {@link create}, with that seal and by this version of the library. */
  static isOne(buffer: SharedArrayBuffer, seal: number): boolean {
    if (buffer.byteLength < Entry.start * 4) return false;
    const words = new Int32Array(buffer, 0, Field.count);
    return (
      words[Field.magic] === Format.magic &&
      words[Field.version] === Format.version &&
      words[Field.seal] === seal
    );
  }

  /** A number that changes when what a thread keeps of its own may be stale. Needs no lock. */
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

  get isDisposed(): boolean {
    return this.words[Field.isDisposed] !== 0;
  }

  set isDisposed(value: boolean) {
    this.words[Field.isDisposed] = value ? 1 : 0;
  }

  /** Bytes of it that are in use, or were: all members' numbers, the owners of batches, and the blocks. */
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
