/** A mapped block in one thread: its addresses, and the one view through which its bytes are reached. */
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import * as intrinsics from "../base/intrinsics.ts";
import type { SpanOwner } from "./contract.ts";
import type { SpanKind } from "./kinds.ts";
import { outOfCopies } from "./refusals.ts";
import type { VirtualMemory } from "../vm/contract.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { copyBytes, copyFrom, fillWords, newBytes } = intrinsics;

/**
 * The largest block of which one view is kept. Engines count a view's length as heap memory, and a view of a gigabyte
 * makes them collect all garbage; a larger block gets a view for each access.
 */
const LARGEST_KEPT_VIEW_BYTES = 256 * 1024 * 1024;

/** Bytes of a fill pattern copied per call where nothing is live: enough that the calls do not count, few enough for the heap. */
const COPIED_AT_ONCE_BYTES = 64 * 1024;

/**
 * Reads and writes one mapped block. Offsets and lengths are bytes within the block, and have been checked.
 * Never leaves engine/: no user of the library ever holds memory that can be unmapped.
 */
export class MappedBlock {
  /** The block's index in the core; set when the core has added it. */
  block = 0;
  /** The object that spans of this block call; replaced when the allocator is shared (see Engine.owner). */
  owner: SpanOwner;
  readonly rx: Address;
  readonly rw: Address;
  readonly sizeBytes: number;
  /** log2 of the block's granularity in bytes. */
  readonly granuleShift: number;
  readonly kind: SpanKind;
  /**
   * False once the block is unmapped (by another thread: once this thread has noticed), or once a reset has put another
   * object in its place. By it earlier spans know that they have ended.
   */
  isMapped = true;
  /**
   * By the granule at which an allocation begins: the generation it was given, and the value that stood there before, by
   * which a span made earlier still knows it (core/generations.ts).
   */
  numbered: Map<number, readonly [generation: number, before: number]> | undefined;
  /** In a shared allocator: the block's entry in the register, and the serial that stands there while it is mapped. */
  entry = 0;
  serial = 0;
  /** Whether other threads have the block too: its bytes are then copied by native calls, and no view is kept. */
  isShared: boolean;

  /**
   * Whether this library has written to the block or read from it, from this thread. If not, the system holds no memory for
   * it, but for what the program writes by itself through `rw`: not worth a look at each of its pages.
   */
  wasWritten = false;

  readonly #memory: VirtualMemory;
  #view: Uint8Array | undefined;
  /**
   * Whether the runtime has refused a view of this block. It is not asked again, since that costs more than a copy. Each
   * block asks for itself, so that a passing refusal (there was no room) ends with the block.
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
    kind: SpanKind = "code",
  ) {
    this.isShared = isShared && memory.sharing !== undefined;
    this.owner = owner;
    this.#memory = memory;
    this.rx = rx;
    this.rw = rw;
    this.sizeBytes = sizeBytes;
    this.granuleShift = granuleShift;
    this.kind = kind;
  }

  /** Notes that an allocation, whose span knew it by `before`, was given a generation. */
  noteGeneration(granule: number, generation: number, before: number): void {
    this.numbered ??= new Map();
    this.numbered.set(granule, [generation, before]);
  }

  /** Writes `bytes`; `length` is their length. */
  write(offset: number, bytes: Uint8Array, length: number): void {
    if (this.#view !== undefined) copyBytes(this.#view, bytes, offset);
    else this.#writeWithoutView(offset, bytes, length);
  }

  /** Separate from `write`: the closure below would force `write`'s arguments onto the heap. */
  #writeWithoutView(offset: number, bytes: Uint8Array, length: number): void {
    const isDone = this.#access(offset, length, (view, start) => copyBytes(view, bytes, start));
    if (!isDone) this.#memory.copyIn(this.rw + offset, bytes, length);
  }

  /** Writes 1, 2, 4 or 8 bytes at a multiple of their number, in one access of the processor. */
  store(offset: number, bytes: Uint8Array): void {
    this.#checkInside(offset, bytes.length);
    this.wasWritten = true;
    this.#memory.storeAtomically(this.rw + offset, bytes);
  }

  /** Returns a copy of the bytes. @throws JitError `ERR_OUT_OF_MEMORY` where there is no memory for it */
  read(offset: number, length: number): Uint8Array {
    const copy = newBytes(length);
    if (copy === undefined) throw outOfCopies("read", length);
    const isDone = this.#access(offset, length, (view, start) => copyFrom(view, start, copy, length));
    if (!isDone) this.#memory.copyOut(this.rw + offset, copy);
    return copy;
  }

  /**
   * Fills with a 32-bit word, lowest byte first; `offset` and `length` are multiples of 4.
   * @param isLive whether there is live code: without a view it is filled by one copy then, because a second one that
   *   failed would leave the code half filled
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no memory for the copy
   */
  fill(offset: number, length: number, pattern: number, isLive: boolean): void {
    const isDone = this.#access(offset, length, (view, start) => fillWords(view, start, length, pattern));
    if (isDone) return;
    const pieceBytes = isLive ? length : Math.min(length, COPIED_AT_ONCE_BYTES);
    const bytes = newBytes(pieceBytes);
    if (bytes === undefined) throw outOfCopies("fill", length);
    fillWords(bytes, 0, pieceBytes, pattern);
    for (let done = 0; done < length; done += pieceBytes) {
      this.#memory.copyIn(this.rw + offset + done, bytes, Math.min(pieceBytes, length - done));
    }
  }

  /** Closes the view, before the memory is unmapped. A later access opens a new one. */
  close(): void {
    if (this.#view === undefined) return;
    const view = this.#view;
    this.#view = undefined;
    this.#memory.closeView(view);
  }

  /**
   * Native copies do not stop at the end of a view as others do, and the end of a span is read from memory that all threads
   * can write to. @throws Error where the bytes do not lie in the block
   */
  #checkInside(offset: number, length: number): void {
    if (offset + length > this.sizeBytes) {
      throw new Error(`invariant 7 is broken: ${length} bytes at ${offset} of a block of ${this.sizeBytes}`);
    }
  }

  /**
   * Calls `act` with a view of `length` bytes at `offset`, which begin at `start` of the view. Returns false where the bytes
   * must be copied by native calls instead: other threads have the block too, or the runtime refuses views.
   */
  #access(offset: number, length: number, act: (view: Uint8Array, start: number) => void): boolean {
    if (length === 0) return true;
    this.wasWritten = true;
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

  /** Opens a view, or returns undefined where it is refused. That is no failure: bytes can be copied without a view. */
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
