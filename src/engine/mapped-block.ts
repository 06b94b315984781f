/** A block as one thread touches it: where it is mapped, and the one view through which its bytes are reached. */
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import * as intrinsics from "../base/intrinsics.ts";
import type { SpanOwner } from "./contract.ts";
import { outOfCopies } from "./refusals.ts";
import type { VirtualMemory } from "../vm/contract.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { copyBytes, copyFrom, fillWords, newBytes } = intrinsics;

/**
 * Up to this size one view of the whole block is kept. Engines count a view's length as memory of the heap's, and
 * a view of a gigabyte makes them collect everything; what lies in a larger block gets a view for each access.
 */
const LARGEST_KEPT_VIEW_BYTES = 256 * 1024 * 1024;

/** A pattern is copied in pieces: large enough that the calls do not count, small enough for the heap. */
const COPIED_AT_ONCE_BYTES = 64 * 1024;

/**
 * Reads and writes one mapped block. Offsets and lengths are bytes within the block, and have been checked.
 * Never leaves the facade: no user of the library ever holds memory that can be unmapped.
 */
export class MappedBlock {
  /** The block's index in the core; set when the core has taken it in. */
  block = 0;
  /** Whose block it is; another object when the allocator is shared (see Engine.owner). */
  owner: SpanOwner;
  readonly rx: Address;
  readonly rw: Address;
  readonly sizeBytes: number;
  /** log2 of the block's granularity in bytes. */
  readonly granuleShift: number;
  /**
   * False from the moment it is unmapped, where another thread did that from the moment this one has noticed; or reset, and
   * another object stands for it. Spans of before know it by that.
   */
  isMapped = true;
  /**
   * By the granule at which an allocation begins: the generation it was given, and what stood in its place when its span
   * was made, which still knows it by that (core/generations.ts).
   */
  numbered: Map<number, readonly [generation: number, before: number]> | undefined;
  /** In a shared allocator: its entry in the register of blocks, and the serial that stands there while it lives. */
  entry = 0;
  serial = 0;
  /** Where other threads have the block too: its bytes are then copied, and no view is kept. */
  isShared: boolean;

  readonly #memory: VirtualMemory;
  #view: Uint8Array | undefined;
  /**
   * Whether the runtime has refused a view of this block: it is not asked again, since that costs more than a copy. The next
   * block is asked for anew, so a refusal of a moment (there was no room) is over with the block.
   */
  #isViewRefused = false;

  constructor(
    owner: SpanOwner,
    memory: VirtualMemory,
    rx: Address,
    rw: Address,
    sizeBytes: number,
    granuleShift: number,
    isShared: boolean,
  ) {
    this.isShared = isShared && memory.sharing !== undefined;
    this.owner = owner;
    this.#memory = memory;
    this.rx = rx;
    this.rw = rw;
    this.sizeBytes = sizeBytes;
    this.granuleShift = granuleShift;
  }

  /** Notes that an allocation, whose span knew it by `before`, was given a generation. */
  noteGeneration(granule: number, generation: number, before: number): void {
    this.numbered ??= new Map();
    this.numbered.set(granule, [generation, before]);
  }

  /** `length` is that of `bytes`. */
  write(offset: number, bytes: Uint8Array, length: number): void {
    if (this.#view !== undefined) copyBytes(this.#view, bytes, offset);
    else this.#writeWithoutView(offset, bytes, length);
  }

  /** Separate from `write`: the closure below would force `write`'s arguments onto the heap. */
  #writeWithoutView(offset: number, bytes: Uint8Array, length: number): void {
    const isDone = this.#access(offset, length, (view, start) => copyBytes(view, bytes, start));
    if (!isDone) this.#memory.copyIn(this.rw + offset, bytes, length);
  }

  /** A copy. @throws JitError `ERR_OUT_OF_MEMORY` where there is no memory for it */
  read(offset: number, length: number): Uint8Array {
    const copy = newBytes(length);
    if (copy === undefined) throw outOfCopies(length);
    const isDone = this.#access(offset, length, (view, start) => copyFrom(view, start, copy, length));
    if (!isDone) this.#memory.copyOut(this.rw + offset, copy);
    return copy;
  }

  /**
   * Repeats a 32-bit word, lowest byte first; offset and length are multiples of 4. Where the bytes are copied and the copying
   * fails, what was filled before, in pieces of 64 KiB, stays filled.
   */
  fill(offset: number, length: number, pattern: number): void {
    const isDone = this.#access(offset, length, (view, start) => fillWords(view, start, length, pattern));
    if (isDone) return;
    const words = new Uint32Array(Math.min(length, COPIED_AT_ONCE_BYTES) >>> 2).fill(pattern);
    const bytes = new Uint8Array(words.buffer);
    for (let done = 0; done < length; done += bytes.length) {
      this.#memory.copyIn(this.rw + offset + done, bytes, Math.min(bytes.length, length - done));
    }
  }

  /** Gives up the view: before the memory is unmapped, and for good if it was. */
  close(): void {
    if (this.#view === undefined) return;
    const view = this.#view;
    this.#view = undefined;
    this.#memory.closeView(view);
  }

  /** What is copied by the system is not held back by the end of a view; where a span ends says memory of all threads. */
  #checkInside(offset: number, length: number): void {
    if (offset + length > this.sizeBytes) {
      throw new Error(`invariant 7 is broken: ${length} bytes at ${offset} of a block of ${this.sizeBytes}`);
    }
  }

  /**
   * Reaches `length` bytes at `offset` through a view, which begins with the block or with them. False where there is none
   * and the bytes are to be copied by native calls: other threads have the block too, or the runtime refuses views.
   */
  #access(offset: number, length: number, act: (view: Uint8Array, start: number) => void): boolean {
    if (length === 0) return true;
    if (this.isShared || this.#isViewRefused) {
      this.#checkInside(offset, length);
      return false;
    }
    if (this.#view === undefined && this.sizeBytes <= LARGEST_KEPT_VIEW_BYTES) {
      this.#view = this.#tryView(0, this.sizeBytes);
    }
    if (this.#view !== undefined) {
      act(this.#view, offset);
      return true;
    }
    const view = this.#isViewRefused ? undefined : this.#tryView(offset, length);
    if (view === undefined) return false;
    try {
      act(view, 0);
    } finally {
      this.#memory.closeView(view);
    }
    return true;
  }

  /** Whatever the reason is, bytes can be copied without a view: a refusal is no failure. */
  #tryView(offset: number, length: number): Uint8Array | undefined {
    try {
      return this.#memory.openView(this.rw + offset, length);
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      this.#isViewRefused = true;
      return undefined;
    }
  }
}
