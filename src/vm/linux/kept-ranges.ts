/**
 * Ranges that were given back and are kept for the next allocator: making one takes longer than mapping a block, and what
 * is sealed cannot be given back at all.
 */
import { isMainThread } from "../../base/unique.ts";
import type { Address } from "../../ffi/contract.ts";
import type { MappingTag } from "../contract.ts";
import type { AddressRange, RangeRequest, ReservedRange } from "../range/contract.ts";

/** The ranges that one thread keeps: one of which nothing is sealed, and all others. */
export class KeptRanges {
  readonly #kept: ReservedRange[] = [];
  /** Where ranges begin that are shorter than was wanted, because the system had no room. */
  readonly #short = new Set<Address>();

  /** Takes notice of a range that was made for a request. */
  noteMade({ rx, sizeBytes }: AddressRange, wantedBytes: number): void {
    if (sizeBytes < wantedBytes) this.#short.add(rx);
    else this.#short.delete(rx);
  }

  /** A range that is what is asked for. Shared allocators get one of their own, which bears their tag. */
  take(request: RangeRequest): ReservedRange | undefined {
    if (request.tag?.isGuarded === true) return undefined;
    // What is sealed already comes first, the smallest of it: it is of use to nobody else.
    const [fitting] = this.#kept
      .filter((range) => fits(range, request, this.#short.has(range.rx)))
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
  { sizeBytes, leastBytes, isDual, near, reachBytes, isSealed }: RangeRequest,
  isShort: boolean,
): boolean {
  if (isDual !== (range.rx !== range.rw)) return false;
  if (range.sealedBytes === 0) {
    if (near !== undefined) return false;
    // While a short one is kept there is even less room for another.
    return isShort
      ? range.sizeBytes <= sizeBytes && range.sizeBytes >= leastBytes
      : range.sizeBytes === sizeBytes;
  }
  const isNear =
    near === undefined || Math.max(near - range.rx, range.rx + range.sizeBytes - near) <= reachBytes;
  return isSealed === true && isNear && range.sizeBytes >= sizeBytes;
}
