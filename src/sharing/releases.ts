/**
 * Ends allocations of a shared allocator: one, those of a module, or all. What some thread may be running ends at once as well,
 * and waits in limbo. The lock is held throughout.
 */
import { needMuchStack } from "../base/stack.ts";
import type { ModuleTicket } from "../engine/contract.ts";
import type { Engine } from "../engine/engine.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import type { InsideTable } from "./inside.ts";
import { Intent } from "./layout.ts";
import type { Limbo } from "./limbo.ts";
import type { SharedState } from "./shared-state.ts";

/** Releases, as one thread of the allocator makes them. */
export class SharedReleases {
  readonly #engine: Engine;
  readonly #state: SharedState;
  readonly #inside: InsideTable;
  readonly #limbo: Limbo;

  constructor(engine: Engine, state: SharedState, inside: InsideTable, limbo: Limbo) {
    this.#engine = engine;
    this.#state = state;
    this.#inside = inside;
    this.#limbo = limbo;
  }

  /** Releases what is live: at once where nobody can be running it. */
  release(target: Span | Address, action: "release" | "shrink" = "release"): void {
    const engine = this.#engine;
    const isOccupied = this.#inside.mayBeOccupied;
    if (!isOccupied) this.#limbo.drain();
    // What still waits in limbo is an allocation to the core: an address must be looked up.
    if (isOccupied || !this.#limbo.isEmpty)
      this.#limbo.retire(engine.find(target, action).block, engine.core.granule);
    else if (action === "shrink") engine.shrink(target, 0);
    else engine.release(target);
  }

  /** Releases live spans of a module: all, or where the system refuses the first step, none. */
  releaseModule(ticket: ModuleTicket, spans: readonly Span[]): void {
    const engine = this.#engine;
    if (!this.#inside.mayBeOccupied) {
      engine.releaseModule(ticket, spans);
      return;
    }
    needMuchStack();
    for (const span of spans) engine.find(span, "release");
    // From here on nothing can fail.
    for (const span of spans) if (engine.isLive(span)) this.release(span);
  }

  reset(policy: "soft" | "hard"): void {
    this.#engine.checkOpen("reset");
    const intent = policy === "soft" ? Intent.resetSoft : Intent.resetHard;
    this.#endAll(intent, () => this.#engine.reset(policy));
  }

  /** Disposes of the allocator for all threads. What may be running keeps it mapped, until a later operation finds nobody inside. */
  dispose(): void {
    if (!this.#state.isDisposed) this.#endAll(Intent.dispose, () => this.#engine.dispose());
  }

  /**
   * Runs an operation on all blocks, and notes its intent: should this thread end in the middle, a repair finishes the
   * operation. Where a thread is inside, everything ends at once, and waits in limbo.
   */
  #endAll(intent: Intent, act: () => void): void {
    const state = this.#state;
    state.intent = intent;
    let isVacant = true;
    try {
      if (this.#inside.mayBeOccupied) {
        this.#limbo.retireAll();
        isVacant = this.#limbo.isVacant();
      }
      if (isVacant) act();
      if (intent === Intent.dispose) {
        state.isDisposed = true;
        state.register.bumpEpoch();
      } else {
        state.noteReset(intent, isVacant);
      }
    } finally {
      if (!state.isEnding || isVacant) state.intent = Intent.none;
      this.#limbo.rebuild();
    }
  }
}
