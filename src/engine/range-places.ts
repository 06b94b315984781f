/**
 * Where blocks lie in a range. Kinds do not alternate: each has its own end of the range, or its middle, from which its
 * blocks grow.
 *
 * ```text
 * ├ code → ─ ─ ─ ─ ─ ─ ─ ─ ┼ ─ constants → ─ ─ ─ ─ ─ ─ ─ ─ ─ ← data ┤
 * start                  middle                        dataStart    end
 * ```
 *
 * A stretch that was data can be nothing else (vm/range/contract.ts): code and constants stay below `dataStart`, the lowest
 * address that data ever had. Where the middle is full, constants lie where code would.
 */
import type { Core } from "../core/core.ts";
import { eachGap, placeInGap } from "../core/gaps.ts";
import type { Address } from "../ffi/contract.ts";
import type { AddressRange, MemoryKind } from "../vm/contract.ts";

/** Bytes: a range is a whole number of large pages. */
export const UNIT_BYTES = 2 ** 21;

/**
 * Bytes behind the middle at which constants begin, in a range that is large enough: half of what the look-up of addresses
 * covers (core/layout.ts). Where it is no exact one, code and constants at the same place of it would push each other out.
 */
const APART_BYTES = 2 ** 25;

/** What decides where a block lies. */
export interface PlaceRequest {
  readonly kind: MemoryKind;
  readonly sizeBytes: number;
  /** Whether a block of a large page or more is to begin at one. */
  readonly isAligned: boolean;
  /** The lowest address that was ever data's; 0 = none was. */
  readonly dataStart: Address;
}

/** The end of what may be code or constants. */
export function endOfCode({ rx, sizeBytes }: AddressRange, dataStart: Address): Address {
  return dataStart === 0 ? rx + sizeBytes : dataStart;
}

/** Where a new block begins; -1 where no free stretch of the range will do. */
export function placeInRange(core: Core, range: AddressRange, request: PlaceRequest): number {
  const { sizeBytes, isAligned } = request;
  if (isAligned && sizeBytes >= UNIT_BYTES) {
    // A large page has to begin at a multiple of its size.
    const wide = find(core, range, request, sizeBytes + UNIT_BYTES);
    if (wide !== -1) return Math.ceil(wide / UNIT_BYTES) * UNIT_BYTES;
  }
  return find(core, range, request, sizeBytes);
}

function find(core: Core, range: AddressRange, { kind, dataStart }: PlaceRequest, sizeBytes: number): number {
  const { words, doubles } = core;
  const { rx } = range;
  const end = rx + range.sizeBytes;
  if (kind === "data") return placeInGap(words, doubles, rx, end, sizeBytes, "highest");
  const endBelow = endOfCode(range, dataStart);
  if (kind === "constants") {
    const apartBytes = range.sizeBytes >= 4 * APART_BYTES ? APART_BYTES : 0;
    const start = Math.min(rx + range.sizeBytes / 2 + apartBytes, endBelow);
    const place = placeInGap(words, doubles, start, endBelow, sizeBytes, "lowest");
    if (place !== -1) return place;
  }
  return placeInGap(words, doubles, rx, endBelow, sizeBytes, "lowest");
}

/** Bytes of the longest stretch that is free for blocks of a kind. */
export function largestPlace(core: Core, range: AddressRange, kind: MemoryKind, dataStart: Address): number {
  const { words, doubles } = core;
  let largest = 0;
  const end = kind === "data" ? range.rx + range.sizeBytes : endOfCode(range, dataStart);
  eachGap(words, doubles, range.rx, end, (_start, sizeBytes) => {
    largest = Math.max(largest, sizeBytes);
    return false;
  });
  return largest;
}
