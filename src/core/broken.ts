/**
 * Reports a damaged buffer. Any thread with the handle can write to the buffer, so every walk through it must end,
 * whatever it contains, and name the invariant (docs/invariants.md) that does not hold.
 */
import { Block, Size, Unit } from "./layout.ts";

/** @throws Error always */
export function broken(invariant: number, what: string): never {
  throw new Error(`invariant ${invariant} is broken: ${what}`);
}

/** The most chunks that the buffer can have: none is shorter than a unit. */
export function mostChunks(words: Int32Array): number {
  return words.length >> Unit.shift;
}

/** Checks the fields that bound a walk through a block's records. @throws Error for impossible values */
export function checkExtent(words: Int32Array, block: number): void {
  const records = words[block + Block.records]!;
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  // Written so that NaN, which an invalid index yields, fails as well.
  const end = records + ((capacity >>> 5) + 1) * Size.record;
  const isPossible = records > block && capacity > 0 && end <= words.length && tail >= 0 && tail <= capacity;
  if (!isPossible) broken(9, `a block of ${capacity} granules has its tail at granule ${tail}`);
}
