/**
 * Pressure: tells a program that much of what its code may take is in use, before nothing more can be had.
 *
 * What is in use is counted before and behind each allocation, while somebody wants to know: between two allocations it only
 * falls. So a release costs what it does without, and where nobody asked, so does an allocation.
 */
import type { Core } from "../core/core.ts";
import { JitError } from "../base/errors.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { MemoryPressure, PressureListener } from "./contract.ts";
import { tellBeforeOthers } from "./observation.ts";
import type { Span } from "./span.ts";

interface Watcher {
  readonly atRatio: number;
  readonly listener: PressureListener;
  /** Whether the ratio was reached when it was last looked at. */
  isAbove: boolean;
  /** Whether the listener is running, so that it is not called below itself. */
  isCalled: boolean;
}

/** Counts what is in use, if that can be `leastRatio` of what may be: reserved memory is counted already, used memory is not. */
export function measurePressure(
  core: Core,
  blocks: BlockMemory,
  leastRatio: number,
): MemoryPressure | undefined {
  const { reservedBytes, maxReservedBytes } = core;
  if (reservedBytes < leastRatio * maxReservedBytes) return undefined;
  return { usedSize: blocks.notePeak(), reservedSize: reservedBytes, maxReservedSize: maxReservedBytes };
}

/** Measures where it is due: undefined where less than `leastRatio` can be in use. */
type Measure = (leastRatio: number) => MemoryPressure | undefined;

/** The listeners of one allocator in one thread. */
export class PressureWatch {
  #watchers: readonly Watcher[] = [];
  #leastRatio = Infinity;
  #measureFrom: Measure;

  /** @param measure measures the allocator; it takes what locks it needs */
  constructor(measure: Measure) {
    this.#measureFrom = measure;
  }

  /** From now on measures in another way: the allocator was shared. */
  measureBy(measure: Measure): void {
    this.#measureFrom = measure;
  }

  #measure(): MemoryPressure | undefined {
    return this.#measureFrom(this.#leastRatio);
  }

  get isEmpty(): boolean {
    return this.#watchers.length === 0;
  }

  /** Calls `listener` when `atRatio` is crossed upwards from now on, until the result is disposed of. */
  add(atRatio: number, listener: PressureListener): Disposable {
    const watcher: Watcher = { atRatio, listener, isAbove: false, isCalled: false };
    this.#set([...this.#watchers, watcher].sort((one, other) => one.atRatio - other.atRatio));
    watcher.isAbove = isReached(watcher, this.#measure());
    return {
      [Symbol.dispose]: () => {
        this.#set(this.#watchers.filter((other) => other !== watcher));
      },
    };
  }

  #set(watchers: readonly Watcher[]): void {
    this.#watchers = watchers;
    this.#leastRatio = watchers[0]?.atRatio ?? Infinity;
  }

  /**
   * Runs an allocation, and calls the listeners whose ratio it has crossed: behind it, and outside of any lock. What one does
   * may change what is in use, and call or end others: so it is measured again before the next. If one throws, the allocation
   * is released, and what it threw is thrown when all have been called.
   * @param spanOf makes a span of what was allocated, by which it can be released even if listeners have done so
   */
  around<Made>(allocate: () => Made, spanOf: (made: Made) => Span): Made {
    this.#noteFallen();
    const made = allocate();
    let span: Span | undefined;
    const errors: unknown[] = [];
    let pressure = this.#measure();
    for (const watcher of this.#watchers) {
      if (pressure === undefined) break;
      if (!this.#isCrossed(watcher, pressure)) continue;
      if (span === undefined) tellBeforeOthers((span = spanOf(made)));
      errors.push(...call(watcher, pressure));
      pressure = this.#measure();
    }
    if (span === undefined) return made;
    this.#noteFallen();
    if (errors.length === 0) return made;
    release(span);
    throw errors[0];
  }

  /** Whether a listener is to be called: it is still there, and nothing that another did has called it. */
  #isCrossed(watcher: Watcher, pressure: MemoryPressure): boolean {
    const isDue = !watcher.isAbove && !watcher.isCalled && isReached(watcher, pressure);
    return isDue && this.#watchers.includes(watcher);
  }

  /** Notes which ratios are no longer reached. */
  #noteFallen(): void {
    const above = this.#watchers.filter(({ isAbove }) => isAbove);
    if (above.length === 0) return;
    const pressure = this.#measure();
    for (const watcher of above) watcher.isAbove = isReached(watcher, pressure);
  }
}

function isReached({ atRatio }: Watcher, pressure: MemoryPressure | undefined): boolean {
  return pressure !== undefined && pressure.usedSize >= atRatio * pressure.maxReservedSize;
}

/** Calls one listener. Returns what it threw, in a list. */
function call(watcher: Watcher, pressure: MemoryPressure): unknown[] {
  watcher.isAbove = true;
  watcher.isCalled = true;
  try {
    watcher.listener(pressure);
    return [];
  } catch (error) {
    return [error];
  } finally {
    watcher.isCalled = false;
  }
}

/** Releases what was allocated for nothing. If the system refuses, the listener's error matters more. */
function release(span: Span): void {
  try {
    span[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
  }
}
