/** Statistics that take a look at every granule. */
import { countFreeRuns } from "../core/free-survey.ts";
import type { RunCount } from "../core/free-survey.ts";
import type { Core } from "../core/core.ts";
import { liveCountOf, usedBytesOf } from "../core/survey.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { BlockTrims } from "./block-trims.ts";
import type { SpanKind } from "./kinds.ts";
import type { KindStatistics, Statistics } from "./statistics.ts";

/** The free runs of one size class; sizes are bytes. */
export interface FreeRuns {
  /** The shortest run of the class. */
  readonly leastSize: number;
  /** How many there are. */
  readonly count: number;
  /** All of them together. */
  readonly totalSize: number;
}

/** A part of an allocator's memory in detail; sizes are bytes. */
export interface DetailedKindStatistics extends KindStatistics {
  /** What the system holds memory for, as `statistics().residentSize`. */
  residentSize: number;
  /**
   * The longest free run; of a kind, the longest outside of the reserve. Whatever is longer needs a new block. What is not may
   * get one all the same: of the runs that are not sure to be long enough, an allocation tries only some.
   */
  largestFreeRun: number;
}

/** One pool of an allocator: blocks of one kind and one granularity. */
export interface PoolStatistics extends DetailedKindStatistics {
  /** What its memory is for. */
  readonly kind: SpanKind;
  /** Bytes a granule. */
  readonly granularity: number;
  /** Whether it is the reserve for allocations that must succeed. */
  readonly isReserve: boolean;
  /** Its free runs by size class, the shortest first; classes that have none are left out. */
  readonly freeRuns: readonly FreeRuns[];
}

/** What `statistics({ detail: true })` returns; sizes are bytes. */
export interface DetailedStatistics extends Statistics {
  /** The free runs of all pools by size class, the shortest first; classes that have none are left out. */
  freeRuns: FreeRuns[];
  /** The longest free run of all pools, also of the reserve. */
  largestFreeRun: number;
  /**
   * The most that was seen in use. Allocations and releases do not count, so that it is looked at only when a block is mapped,
   * before a reset, for `statistics`, and while there is a listener to pressure, for each allocation. What was allocated and
   * released between two looks is not in it: the true peak lies between this and `peakReservedSize`.
   */
  peakUsedSize: number;
  /** The most that all blocks together have reserved. */
  peakReservedSize: number;
  /** The counts of each kind by itself. */
  byKind: Record<SpanKind, DetailedKindStatistics>;
  /** The counts of each pool that has a block. */
  byPool: PoolStatistics[];
}

/** Adds the details to statistics of the same moment. */
export function detailsOf(
  core: Core,
  blocks: BlockMemory,
  trims: BlockTrims,
  statistics: Statistics,
): DetailedStatistics {
  const all = new Map<number, RunCount>();
  const byKind = {
    code: { ...statistics.byKind.code, residentSize: 0, largestFreeRun: 0 },
    constants: { ...statistics.byKind.constants, residentSize: 0, largestFreeRun: 0 },
    data: { ...statistics.byKind.data, residentSize: 0, largestFreeRun: 0 },
  };
  const pools = new Map<number, { readonly counts: PoolStatistics; readonly runs: Map<number, RunCount> }>();
  for (const mapped of blocks.all()) {
    const { block, kind, sizeBytes } = mapped;
    const number = core.poolIndexOf(block);
    const pool = pools.get(number) ?? { counts: emptyPool(core, number, kind), runs: new Map() };
    pools.set(number, pool);
    const residentSize = trims.residentBytesOf(mapped);
    const longest = countFreeRuns(core.words, block, pool.runs);
    countFreeRuns(core.words, block, all);
    pool.counts.blockCount += 1;
    pool.counts.allocationCount += liveCountOf(core.words, block);
    pool.counts.usedSize += usedBytesOf(core.words, block);
    pool.counts.reservedSize += sizeBytes;
    for (const counts of [pool.counts, byKind[kind]]) {
      counts.residentSize += residentSize;
      const isOpen = counts === pool.counts || !core.isReserve(block);
      if (isOpen) counts.largestFreeRun = Math.max(counts.largestFreeRun, longest);
    }
  }
  const byPool = [...pools]
    .sort(([one], [other]) => one - other)
    .map(([, { counts, runs }]) => ({ ...counts, freeRuns: inOrder(runs) }));
  return {
    ...statistics,
    freeRuns: inOrder(all),
    largestFreeRun: Math.max(0, ...byPool.map(({ largestFreeRun }) => largestFreeRun)),
    peakUsedSize: blocks.peaks.usedSize,
    peakReservedSize: blocks.peaks.reservedSize,
    byKind,
    byPool,
  };
}

function emptyPool(core: Core, number: number, kind: SpanKind): PoolStatistics {
  return {
    kind,
    granularity: 2 ** core.granuleShiftOf(number),
    isReserve: number === core.reservePool,
    ...{
      blockCount: 0,
      allocationCount: 0,
      usedSize: 0,
      reservedSize: 0,
      residentSize: 0,
      largestFreeRun: 0,
    },
    freeRuns: [],
  };
}

function inOrder(runs: ReadonlyMap<number, RunCount>): FreeRuns[] {
  return [...runs.values()].sort((one, other) => one.leastSize - other.leastSize);
}
