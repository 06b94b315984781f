/** What an allocator offers for code that may be running when it ends. */
import { JitError } from "../base/errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import { HeapObservation } from "./heap-observation.ts";

/** The part of `JitAllocator` that is about code which may be running. */
export abstract class CodeLifetimes extends HeapObservation {
  readonly #operations: () => Engine | SharedEngine;
  /** How often {@link enter} was called without {@link leave}. */
  #entries = 0;

  /** @internal */
  constructor(operations: () => Engine | SharedEngine) {
    super(operations);
    this.#operations = operations;
  }

  /**
   * Ends an allocation now, given its span or its start address (rx), also while its code runs: from now on it cannot be
   * called or looked up, and its memory is used again only when nobody can be running it. Until then it counts as
   * `retiredSize`.
   *
   * Nobody can be running it when every thread that was inside machine code of this allocator has left it, or has ended. A
   * thread is inside while a function that `toFunction` made runs, and from {@link enter} to {@link leave}. `release` does
   * the same; `retire` says that the code may be running.
   *
   * @throws JitError as `release`
   */
  retire(target: Span | Address): void {
    this.#operations().release(target);
  }

  /**
   * Says that from now on code of this allocator may be running of which `toFunction` does not know: native code was given
   * an address, and calls it by itself. What is retired from now on is not used again before {@link leave}. Calls may be
   * nested. Take the address after it, of code that is still live.
   *
   * @example
   * ```ts
   * allocator.enter();
   * try {
   *   if (span.isReleased) throw new Error("too late");
   *   // Hand span.rx to native code, and wait until that is done with it.
   * } finally {
   *   allocator.leave();
   * }
   * ```
   */
  enter(): void {
    this.#operations().enter();
    this.#entries += 1;
  }

  /** Ends what the last {@link enter} began. @throws JitError `ERR_INVALID_ARGUMENT` where there was none */
  leave(): void {
    if (this.#entries === 0) {
      throw new JitError(
        "ERR_INVALID_ARGUMENT",
        "Cannot leave: every enter() of this thread has had its leave()",
      );
    }
    this.#entries -= 1;
    this.#operations().leave();
  }
}
