/** The listeners of one thread to the pressure on a shared allocator (engine/pressure.ts). */
import type { Engine } from "../engine/engine.ts";
import type { MemoryPressure, PressureListener } from "../engine/contract.ts";
import { measurePressure, PressureWatch } from "../engine/pressure.ts";
import type { Span } from "../engine/span.ts";
import type { Limbo } from "./limbo.ts";
import type { Turn } from "./turn.ts";

export class SharedPressure {
  /** Who wants to know; undefined = nobody does. */
  watch: PressureWatch | undefined;
  readonly #engine: Engine;
  readonly #limbo: Limbo;
  readonly #turn: Turn;

  constructor(engine: Engine, limbo: Limbo, turn: Turn) {
    this.#engine = engine;
    this.#limbo = limbo;
    this.#turn = turn;
  }

  /** Takes over the listeners of the allocator that has just been shared. */
  takeOver(): void {
    this.watch = this.#engine.pressure;
    this.watch?.measureBy((leastRatio) => this.#measure(leastRatio));
    this.#engine.pressure = undefined;
  }

  add(atRatio: number, listener: PressureListener): Disposable {
    this.watch ??= new PressureWatch((leastRatio) => this.#measure(leastRatio));
    return this.watch.add(atRatio, listener);
  }

  /** Runs an allocation, and then, without the lock, calls the listeners of this thread whose ratio it has crossed. */
  around(allocate: () => Span): Span {
    if (this.watch?.isEmpty === true) this.watch = undefined;
    return this.watch === undefined ? allocate() : this.watch.around(allocate, (span) => span);
  }

  /** What can be freed is freed before it counts. */
  #measure(leastRatio: number): MemoryPressure | undefined {
    if (this.#turn.isOver) return undefined;
    const { core, blocks } = this.#engine;
    return this.#turn.run(() => {
      const pressure = measurePressure(core, blocks, leastRatio);
      if (pressure === undefined || !this.#limbo.drain()) return pressure;
      return measurePressure(core, blocks, leastRatio);
    });
  }
}
