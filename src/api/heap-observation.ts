/** What an allocator offers to those who look at its heap from outside. */
import type { AllocatorOperations } from "../engine/operations.ts";
import { refuseValue } from "../engine/refusals.ts";
import type { HeapSnapshot } from "../insight/snapshot-format.ts";
import { takeSnapshot } from "../insight/snapshot.ts";

/** What a snapshot has beside what it always has. */
export interface SnapshotOptions {
  /** Whether with the bytes of all code; default false. */
  readonly code?: boolean;
}

/** The part of `JitAllocator` that is about looking at its heap. */
export abstract class HeapObservation {
  readonly #operations: () => AllocatorOperations;

  /** @internal */
  constructor(operations: () => AllocatorOperations) {
    this.#operations = operations;
  }

  /**
   * Describes the heap as it is at this moment: every block, and every allocation with its size, its name and, in a shared
   * allocator, its thread. Plain data, for `JSON.stringify`. Takes some milliseconds for 10,000 allocations.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT`; `ERR_DISPOSED` where this thread has detached; `ERR_OUT_OF_MEMORY` where there
   *   is no memory for copies of the code
   * @example
   * ```ts
   * const { spans, statistics } = allocator.snapshot();
   * spans.length === statistics.allocationCount; // true, unless something was retired
   * ```
   */
  snapshot(options: SnapshotOptions = {}): HeapSnapshot {
    return takeSnapshot(this.#operations(), wantsCode(options));
  }
}

/** Each field is read once: a getter must not give another value after the check. */
function wantsCode(options: unknown): boolean {
  if (typeof options !== "object" || options === null)
    throw refuseValue("take a snapshot with", options, "its options are an object: { code }");
  const { code, ...others } = options as { readonly code?: unknown };
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw refuseValue("take a snapshot with", unknown, "it has one option, code");
  if (code !== undefined && typeof code !== "boolean")
    throw refuseValue("take a snapshot with the code", code, "it is true or false");
  return code === true;
}
