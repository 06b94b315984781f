/** Sizes of mappings, asked of Windows. */
import { JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import { RegionInfo, RegionState } from "./kernel32.ts";
import type { Kernel32 } from "./kernel32.ts";
import { lastError } from "./last-error.ts";

/**
 * The bytes that were mapped at `address` in one piece; 0 = no mapping begins there. VirtualQuery reports runs of pages
 * that are alike, so runs are added up until another mapping begins or nothing is mapped.
 *
 * @param asked for the error: the request, worded to follow `Cannot`.
 */
export function mappedSize(kernel32: Kernel32, address: Address, asked: string): number {
  const result = new DataView(new ArrayBuffer(RegionInfo.SIZE));
  for (let end = address; ;) {
    if (kernel32.VirtualQuery(end, result, RegionInfo.SIZE) === 0) {
      throw lastError(kernel32, asked, "VirtualQuery");
    }
    if (result.getUint32(RegionInfo.STATE, true) === RegionState.FREE) return end - address;
    const base = Number(result.getBigUint64(RegionInfo.ALLOCATION_BASE, true));
    if (base !== address) return end - address;
    end += Number(result.getBigUint64(RegionInfo.REGION_SIZE, true));
  }
}

/**
 * Checks that a whole mapping is given back: Windows unmaps what was mapped in one piece only as a whole.
 *
 * @param mappedBytes the result of {@link mappedSize}
 * @throws JitError `ERR_INVALID_ARGUMENT` where `mappedBytes` is not `sizeBytes`
 */
export function checkWhole(mappedBytes: number, sizeBytes: number, asked: string): void {
  if (mappedBytes === sizeBytes) return;
  throw new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot ${asked}: ` +
      (mappedBytes === 0
        ? "no mapping begins there"
        : `${mappedBytes} bytes were mapped there, and Windows unmaps all of them or none`),
  );
}
