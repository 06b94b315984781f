/**
 * Runs a trace on an allocator. The loops in this file are timed, so they only pick the next operation and call the
 * allocator: the clock is read at the ends of a phase, and results go to arrays that exist already.
 */
import { JitAllocator, type JitAllocatorOptions, type Span } from "../index.ts";
import { OperationKind, type Trace } from "./trace.ts";

/** The method that a trace allocates by: `allocAddress` or `alloc`. */
export type ReplayApi = "address" | "span";

/** The peaks of the allocator's statistics while the trace runs, in bytes. */
export interface ReplayPeak {
  readonly reservedBytes: number;
  readonly usedBytes: number;
  /** The metadata when the reserved bytes were at their peak. */
  readonly overheadBytes: number;
}

/** An operation that the allocator refused. */
export class ReplayError extends Error {
  /** The index of the operation, from 0. */
  readonly operationIndex: number;

  constructor(operationIndex: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.operationIndex = operationIndex;
  }
}

/** A trace, and the slots for its live allocations, which are the same in every round. */
export interface Replay {
  readonly trace: Trace;
  /** Runs the operations from `start` to just before `end`. */
  run(allocator: JitAllocator, start: number, end: number): void;
}

/** The trace on `allocAddress`: a slot holds an address. */
class AddressReplay implements Replay {
  readonly trace: Trace;
  readonly #addresses: Float64Array;

  constructor(trace: Trace) {
    this.trace = trace;
    this.#addresses = new Float64Array(trace.slotCount);
  }

  run(allocator: JitAllocator, start: number, end: number): void {
    const addresses = this.#addresses;
    const { kinds, slots, sizes } = this.trace;
    for (let i = start; i < end; i++) {
      const slot = slots[i]!;
      switch (kinds[i]) {
        case OperationKind.alloc:
          addresses[slot] = allocator.allocAddress(sizes[i]!);
          break;
        case OperationKind.release:
          allocator.release(addresses[slot]!);
          break;
        case OperationKind.shrink:
          allocator.shrink(addresses[slot]!, sizes[i]!);
          break;
        default:
          allocator.queryAddress(addresses[slot]!);
      }
    }
  }
}

/** The trace on `alloc`: a slot holds a span, and keeps it until another replaces it. */
class SpanReplay implements Replay {
  readonly trace: Trace;
  readonly #spans: Span[];

  constructor(trace: Trace) {
    this.trace = trace;
    this.#spans = new Array<Span>(trace.slotCount);
  }

  run(allocator: JitAllocator, start: number, end: number): void {
    const spans = this.#spans;
    const { kinds, slots, sizes } = this.trace;
    for (let i = start; i < end; i++) {
      const slot = slots[i]!;
      switch (kinds[i]) {
        case OperationKind.alloc:
          spans[slot] = allocator.alloc(sizes[i]!);
          break;
        case OperationKind.release:
          allocator.release(spans[slot]!);
          break;
        case OperationKind.shrink:
          allocator.shrink(spans[slot]!, sizes[i]!);
          break;
        default:
          allocator.query(spans[slot]!.rx);
      }
    }
  }
}

/** Makes a trace ready to run on one of the two APIs. */
export function makeReplay(api: ReplayApi, trace: Trace): Replay {
  return api === "address" ? new AddressReplay(trace) : new SpanReplay(trace);
}

/**
 * Runs the trace once on a fresh allocator and times its phases.
 * @returns the nanoseconds of each phase.
 */
export function timeRound(replay: Replay, options: JitAllocatorOptions): Float64Array {
  const { phases } = replay.trace;
  const nanoseconds = new Float64Array(phases.length);
  const allocator = new JitAllocator(options);
  try {
    phases.forEach((phase, index) => {
      const before = performance.now();
      replay.run(allocator, phase.start, phase.end);
      nanoseconds[index] = (performance.now() - before) * 1e6;
    });
  } finally {
    allocator[Symbol.dispose]();
  }
  return nanoseconds;
}

/**
 * Runs the trace once, untimed, and reads the statistics where they can peak. Used and reserved bytes grow only in
 * allocations, so every peak comes after the last of a run of allocations: reading only there misses none.
 * @throws ReplayError with the operation that the allocator refused.
 */
export function measurePeak(replay: Replay, options: JitAllocatorOptions): ReplayPeak {
  const { kinds, operationCount } = replay.trace;
  let reservedBytes = 0;
  let usedBytes = 0;
  let overheadBytes = 0;
  const allocator = new JitAllocator(options);
  try {
    for (let i = 0; i < operationCount; i++) {
      try {
        replay.run(allocator, i, i + 1);
      } catch (cause) {
        throw new ReplayError(i, cause);
      }
      if (kinds[i] !== OperationKind.alloc || kinds[i + 1] === OperationKind.alloc) continue;
      const now = allocator.statistics();
      usedBytes = Math.max(usedBytes, now.usedSize);
      if (now.reservedSize > reservedBytes) {
        reservedBytes = now.reservedSize;
        overheadBytes = now.overheadSize;
      } else if (now.reservedSize === reservedBytes) {
        overheadBytes = Math.max(overheadBytes, now.overheadSize);
      }
    }
  } finally {
    allocator[Symbol.dispose]();
  }
  return { reservedBytes, usedBytes, overheadBytes };
}
