/** Reads and writes the bytes of live spans, also those of a write callback. Checks the arguments. */
import type { BlockMemory } from "./block-memory.ts";
import type { Core } from "../core/core.ts";
import { JitError } from "../base/errors.ts";
import { platform } from "../base/platform.ts";
import type { MappedBlock } from "./mapped-block.ts";
import * as intrinsics from "../base/intrinsics.ts";
import type { SpanIdentity } from "./span-identity.ts";
import * as refusals from "./refusals.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";
import type { CachePolicy } from "./contract.ts";

// Constants of this module, as in core/ (docs/performance.md).
const {
  bytesOf,
  copyBytes,
  filledLength,
  isUint8Array,
  kindOfBytes,
  lengthOfBytes,
  newBytes,
  typedArrayLength,
} = intrinsics;
const { isIndex } = refusals;
const { block: blockOf, granule: granuleOf } = spanAccess;

/** The bytes that are stored in one access; on AArch64 an instruction has four. */
const STORE_SIZES: readonly number[] = [1, 2, 4, 8];
const ONE_WORD: readonly number[] = [4];

/** Reads and writes the spans of one allocator in one thread. */
export class SpanBytes {
  readonly #core: Core;
  readonly #identity: SpanIdentity;
  readonly #blocks: BlockMemory;
  /** Whether what was written may have to be flushed. */
  readonly #flushes: boolean;

  constructor(core: Core, identity: SpanIdentity, blocks: BlockMemory) {
    this.#core = core;
    this.#identity = identity;
    this.#blocks = blocks;
    this.#flushes = !blocks.isCoherent;
  }

  read(span: Span, offset: number, length: number | undefined): Uint8Array {
    const mapped = this.#identity.liveBlock(span, "read");
    const size = this.#identity.liveSize(span, mapped);
    const wanted = length === undefined && isIndex(offset) ? size - offset : length;
    if (!isIndex(offset) || !isIndex(wanted) || offset + wanted > size) {
      throw refusals.refuseRange("read", offset, length ?? size, size);
    }
    return mapped.read((granuleOf(span) << mapped.granuleShift) + offset, wanted);
  }

  write(span: Span, offset: number, bytes: Uint8Array | undefined, policy: CachePolicy): void {
    const identity = this.#identity;
    const mapped = identity.soleBlock(span) ?? identity.liveBlock(span, "write"); // the first is the quicker look
    // From here on nothing runs the caller's code, which could unmap the memory.
    const length = filledLength(bytes);
    // `>>> 0` leaves only the integers that can be an offset as they are.
    if (length !== 0 && bytes !== undefined && typeof offset === "number" && offset >>> 0 === offset) {
      const granule = granuleOf(span);
      const shift = mapped.granuleShift;
      if (this.#core.hasRoom(mapped.block, granule, shift, offset + length)) {
        const start = (granule << shift) + offset;
        mapped.write(start, bytes, length);
        if (this.#flushes) this.#flush(mapped, start, length, policy);
        return;
      }
    }
    // Apart: the bytecode of a write, of its callers and of what it calls is what V8 can still compile in one piece.
    this.#writeNothing(mapped, span, offset, bytes);
  }

  #flush(mapped: MappedBlock, start: number, length: number, policy: CachePolicy): void {
    if (policy !== "never") this.#blocks.flush(mapped, start, length);
  }

  /** Refuses a write to a live span, unless it is one of no bytes. @throws JitError */
  #writeNothing(mapped: MappedBlock, span: Span, offset: number, bytes: unknown): void {
    if (!isUint8Array(bytes)) throw refusals.refuseBytes(offset, bytes);
    const length = lengthOfBytes(bytes);
    if (length === 0 && kindOfBytes(bytes) === "lost") throw refusals.refuseLostBytes(bytes);
    if (length === 0 && isIndex(offset)) {
      if (offset === 0) return;
      if (this.#core.hasRoom(mapped.block, granuleOf(span), mapped.granuleShift, offset)) return;
    }
    throw refusals.refuseRange("write", offset, length, this.#identity.liveSize(span, mapped));
  }

  /** Writes to the start of a new span of at least `size` bytes, which nobody knows: it needs few of the checks of {@link write}. */
  writeNew(span: Span, size: number, bytes: Uint8Array): void {
    const length = lengthOfBytes(bytes);
    if (length === 0 || length > size) {
      this.write(span, 0, bytes, "default"); // its memory is lost, or has grown
      return;
    }
    const mapped = blockOf(span);
    const start = granuleOf(span) << mapped.granuleShift;
    mapped.write(start, bytes, length);
    if (this.#flushes) this.#blocks.flush(mapped, start, length);
  }

  /**
   * Replaces bytes that may be running. What makes the store one access stands in vm/atomic-stores.ts. What fetches
   * instructions sees it as one too:
   * - x86-64: code fetched while a naturally aligned store of up to 8 bytes replaces it is the old or the new (AMD APM vol. 2,
   *   7.6.1 "Cross-Modifying Code"; Intel SDM vol. 3A, 9.1.3 asks for a serializing instruction only where it must be the
   *   new at once).
   * - AArch64: Arm ARM B2.2.5 "Concurrent modification and execution of instructions" allows it for branches, nops, brk and a
   *   few others, one word at a time; for any other instruction the result is unpredictable until each processor has
   *   synchronised, which the flush sees to.
   */
  patch(span: Span, offset: number, bytes: Uint8Array): void {
    const mapped = this.#identity.liveBlock(span, "patch");
    if (mapped.kind === "data")
      throw refusals.refuseKind("patch", "data", "write to it, or store at its address");
    const isWord = mapped.kind === "code" && platform.processor === "arm64";
    this.#store(mapped, span, offset, bytes, isWord ? ONE_WORD : STORE_SIZES);
    this.#blocks.flush(mapped, (granuleOf(span) << mapped.granuleShift) + offset, typedArrayLength(bytes));
  }

  /** Stores 1, 2, 4 or 8 bytes that are read as data, in one access. Nothing is flushed. */
  store(span: Span, offset: number, bytes: Uint8Array): void {
    this.#store(this.#identity.liveBlock(span, "store"), span, offset, bytes, STORE_SIZES);
  }

  #store(
    mapped: MappedBlock,
    span: Span,
    offset: number,
    bytes: Uint8Array,
    lengths: readonly number[],
  ): void {
    const isRight = isUint8Array(bytes);
    if (!isRight) throw refusals.refuseBytes(offset, bytes);
    const length = typedArrayLength(bytes);
    if (!lengths.includes(length))
      throw refusals.refuseValue("patch", length, `a patch here has ${lengths.join(", ")} bytes`);
    const size = this.#identity.liveSize(span, mapped);
    if (!isIndex(offset) || offset + length > size) throw refusals.refuseRange("patch", offset, length, size);
    if (offset % length !== 0)
      throw refusals.refuseValue(
        "patch at",
        offset,
        `${length} bytes are patched at a multiple of ${length}`,
      );
    // A copy, which is as long as it says and cannot change on the way.
    const copy = newBytes(length);
    if (copy === undefined) throw refusals.outOfCopies("patch", length);
    copyBytes(copy, bytes, 0);
    mapped.store((granuleOf(span) << mapped.granuleShift) + offset, copy);
  }

  /** A copy of the whole span, for a write callback. */
  copy(span: Span): Uint8Array {
    const mapped = this.#identity.liveBlock(span, "write");
    return mapped.read(granuleOf(span) << mapped.granuleShift, this.#identity.liveSize(span, mapped));
  }

  /**
   * Writes back the copy that a write callback has changed; `code` is its memory, `kept` the callback's return value.
   * Returns the size in bytes to which the span must then shrink, or undefined.
   */
  writeBack(span: Span, code: ArrayBufferLike, kept: unknown, policy: CachePolicy): number | undefined {
    const mapped = this.#identity.liveBlock(span, "write"); // the callback may have released the span, or shrunk it
    const start = granuleOf(span) << mapped.granuleShift;
    const sizeNow = this.#identity.liveSize(span, mapped);
    if (kept !== undefined && !(isIndex(kept) && kept > 0 && kept <= sizeNow)) {
      throw refusals.refuseValue("keep", kept, `a write callback returns nothing, or 1 to ${sizeNow} bytes`);
    }
    const bytes = bytesOf(code, typeof kept === "number" ? kept : sizeNow);
    if (bytes === undefined) {
      throw new JitError("ERR_INVALID_ARGUMENT", "Cannot write: the callback gave its buffer away");
    }
    const length = typedArrayLength(bytes);
    mapped.write(start, bytes, length);
    if (this.#flushes && policy !== "never") this.#blocks.flush(mapped, start, length);
    return kept === undefined ? undefined : length;
  }
}
