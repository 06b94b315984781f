/**
 * What the buffer says cannot be so. It is memory that any thread with the handle can write to: a walk through it ends,
 * whatever stands there, and tells which invariant (docs/invariants.md) does not hold.
 */
import { Block, Size, Unit } from "./layout.ts";

/** @throws Error always */
export function broken(invariant: number, what: string): never {
  throw new Error(`invariant ${invariant} is broken: ${what}`);
}

/** The most chunks there can be: none is shorter than a unit. */
export function mostChunks(words: Int32Array): number {
  return words.length >> Unit.shift;
}

/** Checks what says how far a walk through a block goes. @throws Error where it cannot be */
export function checkExtent(words: Int32Array, block: number): void {
  const records = words[block + Block.records]!;
  const capacity = words[block + Block.capacity]!;
  const tail = words[block + Block.tail]!;
  // Written so that NaN, of an index that is none, fails as well.
  const end = records + ((capacity >>> 5) + 1) * Size.record;
  const isPossible = records > block && capacity > 0 && end <= words.length && tail >= 0 && tail <= capacity;
  if (!isPossible) broken(9, `a block of ${capacity} granules has its tail at granule ${tail}`);
}
