/** What an allocator tells of the memory that it may still take. */
import type { Engine } from "../engine/engine.ts";
import type { PressureListener } from "../engine/contract.ts";
import { refuseValue } from "../engine/refusals.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import { HeapObservation } from "./heap-observation.ts";

/** The part of `JitAllocator` that is about the limit of its memory. */
export abstract class MemoryLimits extends HeapObservation {
  readonly #operations: () => Engine | SharedEngine;

  /** @internal */
  constructor(operations: () => Engine | SharedEngine) {
    super(operations);
    this.#operations = operations;
  }

  /**
   * Calls `listener` when `atRatio` of `maxReservedSize` has come into use (`statistics().usedSize`): behind the allocation that
   * crossed it, once, and again only after the use fell below it. The listener may release and allocate. Dispose of the result
   * to end it.
   *
   * What is retired, or released while it may be running, is in use until its memory is free: a listener that evicts counts what
   * it has evicted, and does not wait for the use to fall. `reserveForMustSucceed` is a part of `maxReservedSize` that others
   * cannot use: `atRatio` must be below what is left.
   *
   * What a listener throws goes to the caller of the allocation, which is released then. Every listener is for one thread: in a
   * shared allocator it is called behind the first allocation of that thread which finds the ratio crossed, whichever thread
   * crossed it. While there are listeners, allocations take longer; releases do not.
   *
   * @param atRatio above 0, up to 1
   * @throws JitError `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`
   * @example
   * ```ts
   * const cache: Span[] = []; // the oldest first
   * allocator.onPressure(0.9, ({ usedSize, maxReservedSize }) => {
   *   let surplus = usedSize - allocator.statistics().retiredSize - 0.7 * maxReservedSize;
   *   while (surplus > 0) {
   *     const oldest = cache.shift();
   *     if (oldest === undefined) break; // the rest is not the cache's
   *     surplus -= oldest.size;
   *     oldest.retire();
   *   }
   * });
   * ```
   */
  onPressure(atRatio: number, listener: PressureListener): Disposable {
    // NaN is in no range.
    if (typeof atRatio !== "number" || !(atRatio > 0 && atRatio <= 1))
      throw refuseValue("listen to pressure at", atRatio, "a ratio is a number above 0, up to 1");
    if (typeof listener !== "function")
      throw refuseValue("listen to pressure with", listener, "the listener must be a function");
    const operations = this.#operations();
    operations.checkOpen("listen to the pressure of");
    return operations.watchPressure(atRatio, listener);
  }
}
