/** Places new mappings on a simulated machine, at the same addresses in every run. */
import type { Address } from "../../ffi/contract.ts";

/**
 * `ascending` and `descending` place each mapping next to the one before, `random` anywhere.
 * An allocator must work with each; one that compares addresses wrongly fails with the second or the third.
 */
export type SimulatedPlacement = "ascending" | "descending" | "random";

/** How mappings are placed. */
export interface PlacementOptions {
  readonly placement: SimulatedPlacement;
  /** The seed of `random`. */
  readonly seed: number;
  /** The alignment of every mapping, in bytes. */
  readonly pageGranularity: number;
  /** Bytes left free between neighbours. */
  readonly gapBytes: number;
  readonly isFree: (address: Address, sizeBytes: number) => boolean;
}

/** A quarter of the addresses a process on x86-64 has: room in both directions. */
const FIRST_ADDRESS = 0x2000_0000_0000;

/** Makes the function that finds a place for so many bytes. */
export function makePlacer(options: PlacementOptions): (sizeBytes: number) => Address {
  const { placement, pageGranularity, gapBytes, isFree } = options;
  const spanOf = (sizeBytes: number): number =>
    Math.ceil((sizeBytes + gapBytes) / pageGranularity) * pageGranularity;
  let next = FIRST_ADDRESS;
  switch (placement) {
    case "ascending":
      return (sizeBytes) => {
        const address = next;
        next += spanOf(sizeBytes);
        return address;
      };
    case "descending":
      return (sizeBytes) => (next -= spanOf(sizeBytes));
    case "random": {
      const random = makeRandom(options.seed);
      return (sizeBytes) => {
        for (;;) {
          // 2**32 places of one granule each, so that addresses differ in their upper halves too.
          const address = FIRST_ADDRESS + random() * pageGranularity;
          if (isFree(address, spanOf(sizeBytes))) return address;
        }
      };
    }
  }
}

/** mulberry32: 32 bits of state are plenty to scatter addresses. */
function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (bits ^ (bits >>> 14)) >>> 0;
  };
}
