/** What is mapped where, as Windows tells it. */
import { JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import { RegionInfo, RegionState } from "./kernel32.ts";
import type { Kernel32 } from "./kernel32.ts";
import { lastError } from "./last-error.ts";

/**
 * The bytes that were mapped at `address` in one piece, 0 where no mapping begins there.
 * VirtualQuery tells of runs of pages that are alike; the mapping ends where another one begins, or nothing is.
 *
 * @param asked for the error: what the caller was asked, as it follows `Cannot`.
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
 * Windows gives back what was mapped in one piece in one piece: a part of it is refused.
 *
 * @param mappedBytes what {@link mappedSize} says
 * @throws JitError `ERR_INVALID_ARGUMENT` where that is not `sizeBytes`
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
