/** What an allocator holds at a moment; sizes are bytes. See asmjit's JitAllocator::Statistics. */
export interface Statistics {
  /** Mapped blocks, over all pools. */
  blockCount: number;
  /** Live allocations. */
  allocationCount: number;
  /** Bytes in use, the padding of the blocks among them. */
  usedSize: number;
  /** Bytes of all mapped blocks. */
  reservedSize: number;
  /** `reservedSize - usedSize`. */
  unusedSize: number;
  /** Bytes of metadata, which lies outside the mapped blocks. */
  overheadSize: number;
  /** `usedSize / reservedSize`, 0 where nothing is reserved. */
  usedRatio: number;
  /** `unusedSize / reservedSize`, 0 where nothing is reserved. */
  unusedRatio: number;
  /** `overheadSize / reservedSize`, 0 where nothing is reserved. */
  overheadRatio: number;
}

/** Puts the statistics together from what is counted. */
export function makeStatistics(
  blockCount: number,
  allocationCount: number,
  usedSize: number,
  reservedSize: number,
  overheadSize: number,
): Statistics {
  const ratio = (size: number): number => (reservedSize === 0 ? 0 : size / reservedSize);
  const unusedSize = reservedSize - usedSize;
  return {
    blockCount,
    allocationCount,
    usedSize,
    reservedSize,
    unusedSize,
    overheadSize,
    usedRatio: ratio(usedSize),
    unusedRatio: ratio(unusedSize),
    overheadRatio: ratio(overheadSize),
  };
}

/** One mapped block and what is where in it: a copy, for tools and pictures. */
export interface BlockInfo {
  /** The address of the executable view. */
  rx: number;
  /** The address of the writable view; equal to `rx` unless dual-mapped. */
  rw: number;
  /** Bytes. */
  size: number;
  /** Bytes a granule: the granularity of the block's pool. */
  granularity: number;
  /** Live allocations in it. */
  allocationCount: number;
  /** Bytes in use, its padding among them. */
  usedSize: number;
  /** A byte a granule: 0 = free, 1 = used, 2 = used and the last of its allocation (or padding). */
  granules: Uint8Array;
}
