/** Checks that blocks lie in the range where blocks may. */
import type { Address } from "../ffi/contract.ts";
import type { AddressRange, DualMapping, MemoryKind } from "../vm/contract.ts";
import type { RangeRecord } from "./contract.ts";
import { endOfCode } from "./range-places.ts";

/** A block, or what is to be one: its executable view, its length and its kind. */
export interface Stretch {
  readonly rx: Address;
  readonly sizeBytes: number;
  readonly kind: MemoryKind;
}

/** @throws Error where a block does not lie where a block may, or is not sealed where all are to be */
export function verifyPlaces(
  blocks: readonly (Stretch & DualMapping)[],
  range: AddressRange,
  { dataStart, sealedBytes }: Pick<RangeRecord, "dataStart" | "sealedBytes">,
  isSealed: boolean,
): void {
  const end = endOfCode(range, dataStart);
  for (const { rx, rw, sizeBytes, kind } of blocks) {
    const offset = rx - range.rx;
    const isAtPlace = kind === "data" ? rw === rx && rx >= end : rw - range.rw === offset;
    const isInside = offset >= 0 && offset + sizeBytes <= range.sizeBytes && isAtPlace;
    if (!isInside)
      throw new Error(
        "invariant 20 is broken: a block does not lie in the range, at one place in both views",
      );
    if (isSealed && offset + sizeBytes > sealedBytes)
      throw new Error("invariant 20 is broken: a block is not sealed");
  }
}
