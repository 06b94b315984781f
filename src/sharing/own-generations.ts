/** The generations that one thread gives: those of its batch, one after the other. The lock is needed. */
import type { Core } from "../core/core.ts";
import { outOfGenerations } from "../engine/refusals.ts";
import { isLastOfBatch } from "./batches.ts";
import type { GenerationBatches } from "./batches.ts";
import type { SharedLedgers } from "./ledgers.ts";

/** What one thread knows of its generations. The core gives them while this thread's operation is under way. */
export class OwnGenerations {
  readonly #core: Core;
  readonly #batches: GenerationBatches;
  readonly #ledgers: SharedLedgers;
  /** The one that was given last. */
  #last = 0;
  /** Whether the next one is of a batch that is still to be taken. */
  #needsBatch = true;

  constructor(core: Core, batches: GenerationBatches, ledgers: SharedLedgers) {
    this.#core = core;
    this.#batches = batches;
    this.#ledgers = ledgers;
  }

  /** An operation of this thread's begins. */
  begin(): void {
    this.#core.generation = this.#last;
  }

  /** It is over, and may have given one. */
  end(): void {
    const { generation } = this.#core;
    if (generation !== this.#last) this.#goOnBehind(generation);
  }

  /** For an operation that gives one, and one at the most: before it does. @throws JitError where all are in use */
  prepare(member: number): void {
    if (this.#needsBatch) this.#takeBatch(member);
    this.#batches.noteNext(member, this.#last);
  }

  /** Goes on with the batch that the member has begun. */
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
