/** Reads and writes the bytes of live spans, also those of a write callback. Checks the arguments. */
import type { BlockMemory } from "./block-memory.ts";
import { JitError } from "../base/errors.ts";
import * as intrinsics from "../base/intrinsics.ts";
import type { SpanIdentity } from "./span-identity.ts";
import * as refusals from "./refusals.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";
import type { CachePolicy } from "./write-scope.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { bytesOf, isUint8Array, kindOfBytes, typedArrayLength } = intrinsics;
const { isIndex } = refusals;
const { block: blockOf, granule: granuleOf } = spanAccess;

/** Reads and writes the spans of one allocator in one thread. */
export class SpanBytes {
  readonly #identity: SpanIdentity;
  readonly #blocks: BlockMemory;

  constructor(identity: SpanIdentity, blocks: BlockMemory) {
    this.#identity = identity;
    this.#blocks = blocks;
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
    const isSole = this.#identity.isSole(span); // a quicker check that the span is live
    const mapped = isSole ? blockOf(span) : this.#identity.liveBlock(span, "write");
    // From here on nothing runs the caller's code, which could unmap the memory.
    if (!isUint8Array(bytes)) throw refusals.refuseBytes(offset, bytes);
    const length = typedArrayLength(bytes);
    if (length === 0 && kindOfBytes(bytes) === "lost") throw refusals.refuseLostBytes(bytes);
    const granule = granuleOf(span);
    if (!isIndex(offset) || !this.#identity.hasRoom(mapped, granule, offset + length)) {
      throw refusals.refuseRange("write", offset, length, this.#identity.liveSize(span, mapped));
    }
    const start = (granule << mapped.granuleShift) + offset;
    mapped.write(start, bytes, length);
    if (policy !== "never") this.#blocks.flush(mapped, start, length);
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
    if (policy !== "never") this.#blocks.flush(mapped, start, length);
    return kept === undefined ? undefined : length;
  }
}
