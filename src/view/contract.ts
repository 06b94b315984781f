/** What a page of the heap map holds: plain data, that the page's own script reads. */

/** A stretch of addresses that the map shows; what lies between two of them is left out. */
export interface PageRegion {
  /** The address of its first byte. */
  readonly start: number;
  readonly cells: number;
}

/** A mapped block, and when it is there: from `from` operations on, until `to`. */
export interface PageBlock {
  readonly rx: number;
  /** Absent where it is not known, or the same as `rx`. */
  readonly rw?: number;
  readonly size: number;
  readonly kind: string;
  readonly granularity: number;
  /** Bytes at its start that are no allocation's. */
  readonly padding: number;
  readonly from: number;
  /** Absent: to the end. */
  readonly to?: number;
}

/** A named stretch of a trace. */
export interface PagePhase {
  readonly name: string;
  /** How many operations come before it. */
  readonly at: number;
}

/** All of a page but what there is much of. */
export interface PageHeader {
  readonly schema: "jit-allocator/heap-map@1";
  readonly source: "snapshot" | "trace";
  readonly title: string;
  /** Lines about where it comes from: a name and a value each. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Sentences about what the page cannot know. */
  readonly notes: readonly string[];
  /** Bytes that one cell of the map stands for. */
  readonly cellSize: number;
  /** Ascending. */
  readonly regions: readonly PageRegion[];
  readonly blocks: readonly PageBlock[];
  readonly names: readonly string[];
  readonly kinds: readonly string[];
  /** 0 in a snapshot. */
  readonly operationCount: number;
  readonly phases: readonly PagePhase[];
  /** Bytes that were resident when a snapshot was taken. */
  readonly residentSize?: number;
  /** Milliseconds since 1970 at which a snapshot was taken. */
  readonly takenAt?: number;
  /** Listings of code, by the index of the piece. */
  readonly listings: Readonly<Record<number, string>>;
}

/**
 * The pieces: each is an allocation, or what a shrink left of one, for as long as it has that size. A column may be absent:
 * then it is 0 everywhere. They are in the order in which they begin.
 */
export interface PageColumns {
  /** The cell at which it begins, counted through all regions. */
  readonly start: Uint32Array;
  /** Cells that it has a part of. */
  readonly length: Uint32Array;
  /** Bytes between the start of its first cell and its own: where cells are larger than what it is aligned to. */
  readonly within: Uint32Array;
  /** Bytes that it takes, where those are not all of its cells; else 0. */
  readonly bytes: Uint32Array;
  /** After how many operations it is there. Ascending. */
  readonly birth: Uint32Array;
  /** After how many operations it is gone; `NEVER` = it stays. */
  readonly death: Uint32Array;
  /** The bytes that were asked for. */
  readonly asked: Uint32Array;
  /** The index of its name, plus 1; 0 = none. */
  readonly name: Uint32Array;
  /** The index of its kind. */
  readonly kind: Uint8Array;
  /** 0 = not known. */
  readonly thread: Uint32Array;
  /** Older allocations have lower numbers; what a shrink leaves is as old as what it was. */
  readonly order: Uint32Array;
  /** 1 = retired, and not free yet. */
  readonly retired: Uint8Array;
  /** The place of its bytes in `code`, and how many there are. */
  readonly codeStart: Uint32Array;
  readonly codeLength: Uint32Array;
  readonly code: Uint8Array;
  /** Operations, and the milliseconds at which each was made: those whose time is known. They reach for 49 days. */
  readonly timeAt: Uint32Array;
  readonly timeMs: Uint32Array;
}

/** A piece that does not end. */
export const NEVER = 0xffff_ffff;

/** All of a page. */
export interface PageData {
  readonly header: PageHeader;
  readonly columns: PageColumns;
}
