/** The machine that a simulated memory is of. */
import type { SimulatedPlacement } from "./placement.ts";

/** How the simulated machine is made. */
export interface SimulatedMemoryOptions {
  /** Bytes, a power of two. Default 4096. */
  readonly pageSize?: number;
  /** Bytes, a power of two, at least the page size. Default: the page size; 65536 is as on Windows. */
  readonly pageGranularity?: number;
  /** Bytes, 0 = none. Default 2 MiB. */
  readonly largePageSize?: number;
  /**
   * `ascending` (the default) and `descending` place each mapping next to the one before; `random` anywhere.
   * All are the same in every run. A dual mapping is placed as one, rw right after rx.
   */
  readonly placement?: SimulatedPlacement;
  /** The seed of `random`; the same seed gives the same addresses. Default 1. */
  readonly seed?: number;
  /** Bytes left free between neighbours. Default 0: they touch, which an allocator must survive. */
  readonly gapBytes?: number;
  /** Bytes of memory that the machine has; asking for more throws ERR_OUT_OF_MEMORY. Default: no bound. */
  readonly totalBytes?: number;
  /** A machine on which nothing is writable and executable at once. Default false. */
  readonly hardened?: boolean;
  /** A runtime that gives no views of native memory, like one with V8's sandbox. Default false. */
  readonly refusesViews?: boolean;
  /** A system that offers ranges, like Linux. Default false. */
  readonly hasRanges?: boolean;
  /** A processor with protection keys: once memory with closed views was asked for, a view is refused. Default false. */
  readonly hasKeys?: boolean;
}

/** Every option, with the value in force. */
export function withDefaults(options: SimulatedMemoryOptions): Required<SimulatedMemoryOptions> {
  const pageSize = options.pageSize ?? 4096;
  return {
    pageSize,
    pageGranularity: options.pageGranularity ?? pageSize,
    largePageSize: options.largePageSize ?? 2 * 1024 * 1024,
    placement: options.placement ?? "ascending",
    seed: options.seed ?? 1,
    gapBytes: options.gapBytes ?? 0,
    totalBytes: options.totalBytes ?? Number.POSITIVE_INFINITY,
    hardened: options.hardened ?? false,
    refusesViews: options.refusesViews ?? false,
    hasRanges: options.hasRanges ?? false,
    hasKeys: options.hasKeys ?? false,
  };
}
