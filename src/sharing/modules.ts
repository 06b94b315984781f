/**
 * Modules of a shared allocator: whatever thread ends at whatever moment, another one finds a module whole or not at all. The
 * caller holds the lock.
 *
 * The allocations of a module have the generations of a batch of their own. The batch's owner says in one number whose they
 * are, and whether they are *pending*: not committed yet, or on their way out. So a commit is one write, and so is the step
 * by which a release begins. Pending allocations are released, never adopted, once their thread is over:
 * - by a repair, where the thread ended inside an operation on the module, which `Field.module` names;
 * - by a repair after any other thread, and when somebody adopts what the thread left, or takes its number.
 */
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { ModuleTicket } from "../engine/contract.ts";
import { outOfGenerations, outOfParts } from "../engine/refusals.ts";
import { batchOf, isLastOfBatch } from "./batches.ts";
import type { GenerationBatches } from "./batches.ts";
import type { SharedLedgers } from "./ledgers.ts";
import type { SharedState } from "./shared-state.ts";

/** The modules that one thread builds and releases. */
export class SharedModules {
  readonly #state: SharedState;
  readonly #batches: GenerationBatches;
  readonly #ledgers: SharedLedgers;
  readonly #member: () => number;
  /** A batch whose module is gone: the next module goes on behind the last generation that was given. */
  #spare: ModuleTicket | undefined;

  /** @param member the number of this thread */
  constructor(state: SharedState, ledgers: SharedLedgers, member: () => number) {
    this.#state = state;
    this.#batches = state.batches;
    this.#ledgers = ledgers;
    this.#member = member;
  }

  /**
   * Does what allocates one part; its generation is of the module's batch.
   * @param core gives the generation behind the one that stands there
   * @throws JitError as `act`; `ERR_TOO_LARGE` where the module has as many parts as a batch has generations
   */
  add<T>(ticket: ModuleTicket, core: { generation: number }, act: () => T): T {
    this.#ready(ticket);
    if (isUsedUp(ticket)) throw outOfParts();
    const own = core.generation;
    core.generation = ticket.last;
    this.#state.module = ticket.batch + 1;
    try {
      return act();
    } finally {
      ticket.last = core.generation;
      core.generation = own;
      this.#state.module = 0;
    }
  }

  /** Sees to it that the module has a batch, which no thread takes for its own. */
  #ready(ticket: ModuleTicket): void {
    if (ticket.batch !== -1 && this.#isMine(ticket.batch)) return;
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined && this.#isMine(spare.batch) && !isUsedUp(spare)) {
      Object.assign(ticket, spare);
      return;
    }
    const before = this.#batches.take(this.#member(), () => this.#ledgers.usedBatches());
    if (before === undefined) throw outOfGenerations();
    ticket.last = before;
    // Generation 0 of batch 0 is never given, so that the one before may be of the batch itself.
    ticket.batch = batchOf(before + 1);
    this.#batches.markPending(ticket.batch, true);
  }

  #isMine(batch: number): boolean {
    return this.#batches.isPending(batch) && this.#batches.ownerOfBatch(batch) === this.#member();
  }

  /** From here on the module is there, and whole. */
  commit({ batch }: ModuleTicket): void {
    if (batch !== -1 && this.#isMine(batch)) this.#batches.markPending(batch, false);
  }

  /**
   * Does what releases all spans of a module, of which some are live. From its first write on the module is gone, whether
   * this thread comes to the end or not.
   */
  release(ticket: ModuleTicket, spans: readonly Span[], act: () => void): void {
    const { batch } = ticket;
    // A batch in which nothing of the module is live may be another thread's by now.
    const isItsOwn = spans.some((span) => batchOf(spanAccess.generation(span)) === batch);
    if (batch === -1 || !isItsOwn) {
      act();
      return;
    }
    const wasPending = this.#batches.isPending(batch);
    this.#state.module = batch + 1;
    this.#batches.markPending(batch, true);
    let isDone = false;
    try {
      act();
      isDone = true;
    } finally {
      if (!isDone) this.#batches.markPending(batch, wasPending);
      this.#state.module = 0;
    }
    if (this.#isMine(batch)) this.#spare = { ...ticket };
  }
}

/** Whether all generations of the batch were given. Before the first one, the last was of the batch before. */
function isUsedUp({ batch, last }: ModuleTicket): boolean {
  return batchOf(last) === batch && isLastOfBatch(last);
}
