/** Arithmetic on ranges of addresses. */
import type { MappedRange } from "./contract.ts";

/** The parts of a range that lie in none of the others. */
export function without(range: MappedRange, others: readonly MappedRange[]): MappedRange[] {
  let rest = [range];
  for (const other of others) {
    const otherEnd = other.address + other.sizeBytes;
    rest = rest.flatMap(({ address, sizeBytes }) => {
      const below = Math.min(other.address, address + sizeBytes) - address;
      const above = address + sizeBytes - Math.max(otherEnd, address);
      return [
        { address, sizeBytes: below },
        { address: address + sizeBytes - above, sizeBytes: above },
      ].filter((part) => part.sizeBytes > 0);
    });
  }
  return rest;
}
