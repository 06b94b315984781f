import type { Core } from "../core/core.ts";
import { granulesOf, liveCountOf, totalLiveCount, totalUsedBytes, usedBytesOf } from "../core/survey.ts";
import type { RetiredPlaces } from "./contract.ts";
import { kindName } from "./kinds.ts";
import type { SpanKind } from "./kinds.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** The use of the memory of one kind at one moment; sizes are bytes. */
export interface KindStatistics {
  /** Mapped blocks. */
  blockCount: number;
  /** Allocations: those that are live, and those that were retired and are not free yet. */
  allocationCount: number;
  /** Bytes in use, including the padding of the blocks. */
  usedSize: number;
  /** Bytes of all mapped blocks. */
  reservedSize: number;
}

/** The use of an allocator's memory at one moment; sizes are bytes. See asmjit's JitAllocator::Statistics. */
export interface Statistics {
  /** Mapped blocks, over all pools. */
  blockCount: number;
  /** Live allocations. */
  allocationCount: number;
  /** Bytes in use, including the padding of the blocks, and what was retired and may still be running. */
  usedSize: number;
  /** Bytes of what was retired, or released, while it may be running: they come back when the threads inside have left. */
  retiredSize: number;
  /** Bytes of all mapped blocks. */
  reservedSize: number;
  /** `reservedSize - usedSize`. */
  unusedSize: number;
  /**
   * Bytes of all mapped blocks for which the system holds memory: pages that were written, and not given back since
   * (`trim`). Asked of the system (mincore), page by page, so that everything in a block counts, whoever wrote it. But a
   * block counts as empty, and is not asked about, as long as this library has neither written to it nor read from it,
   * and no other thread has the allocator: what a program writes by itself through `rw`, to such a block alone, is not
   * counted. `reservedSize` where the system does not say: without a range.
   */
  residentSize: number;
  /**
   * Bytes of metadata, which lies outside the mapped blocks; of a shared allocator, including the state that its threads
   * share. Addresses that are only reserved for more metadata do not count. Looking for a hole can make the lists of free
   * runs grow, even if the request is then refused.
   */
  overheadSize: number;
  /** `usedSize / reservedSize`, 0 where nothing is reserved. */
  usedRatio: number;
  /** `unusedSize / reservedSize`, 0 where nothing is reserved. */
  unusedRatio: number;
  /** `overheadSize / reservedSize`, 0 where nothing is reserved. */
  overheadRatio: number;
  /** The counts of each kind by itself. */
  byKind: Record<SpanKind, KindStatistics>;
}

/**
 * Counts.
 * @param residentSize bytes of all blocks for which the system holds memory
 * @param limbo what is no longer live, and not free yet
 * @param stateBytes bytes of metadata beside the core's buffer
 */
export function statisticsOf(
  core: Core,
  residentSize: number,
  limbo: RetiredPlaces,
  stateBytes = 0,
): Statistics {
  const { words, doubles, blockCount, reservedBytes } = core;
  const overheadSize = core.overheadBytes + stateBytes;
  const usedSize = totalUsedBytes(words, doubles);
  const ratio = (size: number): number => (reservedBytes === 0 ? 0 : size / reservedBytes);
  const unusedSize = reservedBytes - usedSize;
  return {
    blockCount,
    allocationCount: totalLiveCount(words, doubles) - limbo.count,
    usedSize,
    retiredSize: limbo.sizeBytes,
    reservedSize: reservedBytes,
    unusedSize,
    residentSize,
    overheadSize,
    usedRatio: ratio(usedSize),
    unusedRatio: ratio(unusedSize),
    overheadRatio: ratio(overheadSize),
    byKind: byKind(core),
  };
}

function byKind(core: Core): Record<SpanKind, KindStatistics> {
  const none = (): KindStatistics => ({ blockCount: 0, allocationCount: 0, usedSize: 0, reservedSize: 0 });
  const counts: Record<SpanKind, KindStatistics> = { code: none(), constants: none(), data: none() };
  for (let block = core.firstBlock(); block !== 0; block = core.nextBlock(block)) {
    const count = counts[kindName(core.kindOf(block))];
    count.blockCount += 1;
    count.allocationCount += liveCountOf(core.words, block);
    count.usedSize += usedBytesOf(core.words, block);
    count.reservedSize += core.sizeOf(block);
  }
  return counts;
}

/** One mapped block and the state of its granules: a copy, for tools and pictures. */
export interface BlockInfo {
  /** The address of the executable view. */
  rx: number;
  /** The address of the writable view; equal to `rx` unless the block is dual-mapped. */
  rw: number;
  /** What its memory is for. */
  kind: SpanKind;
  /** Bytes. */
  size: number;
  /** Bytes per granule: the granularity of the block's pool. */
  granularity: number;
  /** Allocations in it: those that are live, and those that were retired and are not free yet. */
  allocationCount: number;
  /** Bytes in use, including its padding. */
  usedSize: number;
  /** One byte per granule: 0 = free, 1 = used, 2 = used and the last of its allocation (or padding). */
  granules: Uint8Array;
}

/** Describes one block. */
export function describeBlock({ words }: Core, mapped: MappedBlock): BlockInfo {
  return {
    rx: mapped.rx,
    rw: mapped.rw,
    kind: mapped.kind,
    size: mapped.sizeBytes,
    granularity: 2 ** mapped.granuleShift,
    allocationCount: liveCountOf(words, mapped.block),
    usedSize: usedBytesOf(words, mapped.block),
    granules: granulesOf(words, mapped.block),
  };
}
