/** How a snapshot of a heap looks. A JSON schema of it lies in `docs/heap-snapshot.schema.json`. */
import type { SpanKind } from "../engine/kinds.ts";
import type { Statistics } from "../engine/statistics.ts";

/** The format, and its version: what {@link HeapSnapshot.schema} says. */
export const HEAP_SNAPSHOT: HeapSnapshot["schema"] = "jit-allocator/heap-snapshot@1";

/** An allocator's heap at one moment: plain data, for `JSON.stringify`. Sizes are bytes, addresses are numbers. */
export interface HeapSnapshot {
  /** The format, and its version. */
  schema: "jit-allocator/heap-snapshot@1";
  /** When it was taken: ISO 8601. */
  takenAt: string;
  /** The process that it is of. */
  process: {
    /** Its number. */
    pid: number;
    /** The runtime and its version: `node 20.20.2`. */
    runtime: string;
    /** The system and the processor: `linux x64`. */
    system: string;
  };
  /** The range in which all of it lies: of the executable views. Absent where there is none, or none yet. */
  range?: {
    /** The lowest address of the range. */
    start: number;
    /** Bytes. */
    size: number;
  };
  /** What `JitAllocator.statistics` returns. */
  statistics: Statistics;
  /** The mapped blocks, ascending by `rx`. */
  blocks: SnapshotBlock[];
  /** The allocations: those that are live, and those that were retired and are not free yet; ascending by `rx`. */
  spans: SnapshotSpan[];
}

/** A mapped block in a {@link HeapSnapshot}. */
export interface SnapshotBlock {
  /** The address of the executable view. */
  rx: number;
  /** The address of the writable view; equal to `rx` unless the block is dual-mapped. */
  rw: number;
  /** Bytes. */
  size: number;
  /** What its memory is for. */
  kind: SpanKind;
  /** Bytes per granule: the granularity of the block's pool. */
  granularity: number;
  /** Bytes in use, including its padding. */
  usedSize: number;
  /** Allocations in it, including those that were retired. */
  allocationCount: number;
  /** Bytes in use at its start that are no allocation's; absent = none. */
  padding?: number;
}

/** An allocation in a {@link HeapSnapshot}. */
export interface SnapshotSpan {
  /** The address of the executable view. */
  rx: number;
  /** Bytes. */
  size: number;
  /** The index of its block in {@link HeapSnapshot.blocks}. */
  block: number;
  /** The name that the thread which took the snapshot knows it by; absent = none. */
  name?: string;
  /**
   * The `memberId` of the thread that made or adopted it, 0 for the estate. Absent where the allocator is not shared, and
   * for what was retired.
   */
  thread?: number;
  /**
   * Grows with each allocation of a thread (modulo 2**31); of two threads' allocations the older one has mostly the lower
   * number. Absent where `thread` is.
   */
  order?: number;
  /** Present where it was retired, and its memory is not free yet. */
  retired?: true;
  /** The bytes of code, in base64; present only if they were asked for. */
  code?: string;
}
