/** The generations that one thread gives: those of its batch, one after the other. The caller holds the lock. */
import type { Core } from "../core/core.ts";
import { outOfGenerations } from "../engine/refusals.ts";
import { isLastOfBatch } from "./batches.ts";
import type { GenerationBatches } from "./batches.ts";
import type { SharedLedgers } from "./ledgers.ts";

/**
 * One thread's place in its batch of generations. The core gives the generations while an operation of the thread is
 * under way.
 */
export class OwnGenerations {
  readonly #core: Core;
  readonly #batches: GenerationBatches;
  readonly #ledgers: SharedLedgers;
  /** The generation that was given last. */
  #last = 0;
  /** Whether the next generation needs a new batch. */
  #needsBatch = true;

  constructor(core: Core, batches: GenerationBatches, ledgers: SharedLedgers) {
    this.#core = core;
    this.#batches = batches;
    this.#ledgers = ledgers;
  }

  /** Called when an operation of this thread begins. */
  begin(): void {
    this.#core.generation = this.#last;
  }

  /** Called when the operation is over; it may have given a generation. */
  end(): void {
    const { generation } = this.#core;
    if (generation !== this.#last) this.#goOnBehind(generation);
  }

  /**
   * Called before an operation that gives a generation, and one at the most. @throws JitError where all batches are in
   * use
   */
  prepare(member: number): void {
    if (this.#needsBatch) this.#takeBatch(member);
    this.#batches.noteNext(member, this.#last);
  }

  /** Goes on with the batch that the member has begun, if any. */
  resume(member: number): void {
    const generation = this.#batches.resume(member);
    if (generation === 0) return;
    this.#goOnBehind(generation);
    this.begin();
  }

  #takeBatch(member: number): void {
    const generation = this.#batches.take(member, () => this.#ledgers.usedBatches());
    if (generation === undefined) throw outOfGenerations();
    this.#last = generation;
    this.#needsBatch = false;
    this.begin();
  }

  #goOnBehind(generation: number): void {
    this.#last = generation;
    this.#needsBatch = isLastOfBatch(generation);
  }
}
