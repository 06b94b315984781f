/**
 * Ranges that were given back and are kept for the next allocator: making one takes longer than mapping a block, and what
 * is sealed cannot be given back at all.
 */
import { isMainThread } from "../../base/unique.ts";
import type { MappingTag } from "../contract.ts";
import type { AddressRange, RangeRequest, ReservedRange } from "../range/contract.ts";

/** The ranges that one thread keeps: one of which nothing is sealed, and all others. */
export class KeptRanges {
  readonly #kept: ReservedRange[] = [];

  /** A range that is what is asked for. Shared allocators get one of their own, which bears their tag. */
  take(request: RangeRequest): ReservedRange | undefined {
    if (request.tag?.isGuarded === true) return undefined;
    // What is sealed already comes first, the smallest of it: it is of use to nobody else.
    const [fitting] = this.#kept
      .filter((range) => fits(range, request))
      .sort((a, b) => Math.sign(b.sealedBytes) - Math.sign(a.sealedBytes) || a.sizeBytes - b.sizeBytes);
    if (fitting !== undefined) this.#kept.splice(this.#kept.indexOf(fitting), 1);
    return fitting;
  }

  /**
   * Keeps a range, if it is one to keep. Returns whether it is. Only the main thread keeps any: a worker that ends would
   * leave the addresses behind.
   */
  keep({ rx, rw, sizeBytes }: AddressRange, sealedBytes: number, tag: MappingTag | undefined): boolean {
    if (tag?.isGuarded === true || !isMainThread()) return false;
    const isEnough = rx === rw || this.#kept.some((range) => range.sealedBytes === 0);
    if (sealedBytes === 0 && isEnough) return false;
    this.#kept.push({ rx, rw, sizeBytes, sealedBytes });
    return true;
  }
}

function fits(
  range: ReservedRange,
  { sizeBytes, isDual, near, reachBytes, isSealed }: RangeRequest,
): boolean {
  if (isDual !== (range.rx !== range.rw)) return false;
  if (range.sealedBytes === 0) return near === undefined && range.sizeBytes === sizeBytes;
  const isNear =
    near === undefined || Math.max(near - range.rx, range.rx + range.sizeBytes - near) <= reachBytes;
  return isSealed === true && isNear && range.sizeBytes >= sizeBytes;
}
