/**
 * The barrier on the stores of all threads. A thread that stores often and one that looks seldom would both need a fence
 * between their store and their load. With membarrier only the one that looks pays: the kernel makes each processor that runs
 * a thread of the process execute a fence in the meantime.
 */
import { Membarrier } from "./core-barrier.ts";
import type { MembarrierCall } from "./core-barrier.ts";

/** Raises the barrier, by the best command that this kernel has. */
export class StoreBarrier {
  readonly #membarrier: MembarrierCall;
  /** The command that works here; 0 = none; undefined = not tried yet. */
  #command: number | undefined;

  constructor(membarrier: MembarrierCall) {
    this.#membarrier = membarrier;
  }

  /** Returns false where the kernel, or a filter of its calls, offers no barrier. */
  raise(): boolean {
    const command = this.prepare();
    return command !== 0 && this.#membarrier.call(command) === 0;
  }

  /** Finds the command; the first time, that also looks up the function. */
  prepare(): number {
    return (this.#command ??= this.#find());
  }

  #find(): number {
    const { PRIVATE_EXPEDITED, REGISTER_PRIVATE_EXPEDITED, GLOBAL } = Membarrier;
    if (this.#membarrier.call(REGISTER_PRIVATE_EXPEDITED) === 0) return PRIVATE_EXPEDITED;
    return this.#membarrier.call(GLOBAL) === 0 ? GLOBAL : 0;
  }
}
