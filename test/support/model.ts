/**
 * The naive model: an array of intervals. It knows nothing of where the allocator puts things; it takes the
 * places it is told, refuses those that cannot be, and says what every operation must answer.
 */
import assert from "node:assert/strict";
import type {
  JitAllocator,
  JitErrorCode,
  ResolvedJitAllocatorOptions,
  Span,
  SpanKind,
} from "../../src/index.ts";
import { assertFilled, poolGranularity, roundUp } from "./rows.ts";

/** What `blocks()` says of one block. */
export type BlockView = ReturnType<JitAllocator["blocks"]>[number];

/** A live allocation, as the model sees it. */
export interface ModelAllocation {
  readonly rx: number;
  readonly kind: SpanKind;
  readonly poolGranularity: number;
  size: number;
  /** Every span that names it. The first one is there always. */
  readonly spans: Span[];
  /** What its bytes are. */
  contents: Uint8Array;
}

/** How many released spans and addresses are kept for misuse: enough that their places are in use again. */
const STALE_LIMIT = 64;

/** Live allocations in no order, searched from end to end: too simple to be wrong. */
export class AllocatorModel {
  readonly live: ModelAllocation[] = [];
  readonly staleSpans: Span[] = [];
  readonly staleAddresses: number[] = [];
  readonly options: Readonly<ResolvedJitAllocatorOptions>;
  /** The unit of block sizes, in bytes. */
  readonly blockUnit: number;

  constructor(options: Readonly<ResolvedJitAllocatorOptions>, largePageSize: number) {
    this.options = options;
    this.blockUnit = options.alignBlockSizeToLargePage
      ? Math.max(options.blockSize, largePageSize)
      : options.blockSize;
  }

  /** The allocation that holds the address. */
  find(address: number): ModelAllocation | undefined {
    return this.live.find(({ rx, size }) => address >= rx && address < rx + size);
  }

  /** What release and shrink must answer to this address, undefined = they do their work. */
  refusal(address: unknown, blocks: readonly BlockView[]): JitErrorCode | undefined {
    const code = this.queryRefusal(address, blocks);
    if (code !== undefined) return code;
    return this.find(Number(address))?.rx === address ? undefined : "ERR_INTERIOR_ADDRESS";
  }

  /** What query must answer to this address, undefined = it does its work. */
  queryRefusal(address: unknown, blocks: readonly BlockView[]): JitErrorCode | undefined {
    if (typeof address !== "number" || !Number.isSafeInteger(address) || address < 0)
      return "ERR_INVALID_ARGUMENT";
    if (this.find(address) !== undefined) return undefined;
    const inBlock = blocks.some(({ rx, size }) => address >= rx && address < rx + size);
    return inBlock ? "ERR_NOT_ALLOCATED" : "ERR_UNKNOWN_ADDRESS";
  }

  /** Takes a new allocation in, after all that can be said against it. @param isFresh whether nothing was written to it yet */
  add(span: Span, askedSize: number, kind: SpanKind = "code", isFresh = true): ModelAllocation {
    const { options } = this;
    const size = roundUp(askedSize, options.granularity);
    assert.equal(span.size, size, `${askedSize} bytes asked`);
    const granularity = poolGranularity(options, askedSize);
    assert.equal(span.rx % granularity, 0, "the allocation is aligned to the granularity of its pool");
    for (const other of this.live) {
      assert.ok(
        span.rx + size <= other.rx || other.rx + other.size <= span.rx,
        `new [${span.rx}, +${size}) overlaps live [${other.rx}, +${other.size})`,
      );
    }
    assert.equal(span.kind, kind);
    assert.equal(span.rx === span.rw, kind === "data" || !options.useDualMapping, "two views, or one");
    const contents = span.read();
    if (isFresh && options.fillUnusedMemory)
      assertFilled(contents, options.fillPattern, "a fresh allocation");
    const allocation = { rx: span.rx, kind, poolGranularity: granularity, size, spans: [span], contents };
    this.live.push(allocation);
    return allocation;
  }

  /** Takes an allocation out; its spans are stale from now on. */
  remove(allocation: ModelAllocation): void {
    const index = this.live.indexOf(allocation);
    assert.notEqual(index, -1);
    const last = this.live.pop();
    if (last !== undefined && last !== allocation) this.live[index] = last;
    for (const span of allocation.spans) {
      assert.ok(span.isReleased, "a span of a released allocation says so");
      this.staleSpans.push(span);
    }
    this.staleAddresses.push(allocation.rx);
    if (this.staleSpans.length > STALE_LIMIT) this.staleSpans.splice(0, this.staleSpans.length - STALE_LIMIT);
    if (this.staleAddresses.length > STALE_LIMIT) this.staleAddresses.shift();
  }

  /** Every allocation goes at once. */
  clear(): void {
    for (const allocation of [...this.live]) this.remove(allocation);
  }

  /** The allocation keeps its first `newSize` bytes, rounded up; 0 takes it out. */
  shrunk(allocation: ModelAllocation, newSize: number): void {
    if (newSize === 0) {
      this.remove(allocation);
      return;
    }
    const size = roundUp(newSize, allocation.poolGranularity);
    if (size >= allocation.size) return;
    allocation.size = size;
    allocation.contents = allocation.contents.slice(0, size);
  }

  /** Asserts that the bytes of the allocation are what was written, through every span of it. */
  checkContents(allocation: ModelAllocation): void {
    for (const span of allocation.spans) {
      assert.equal(span.isReleased, false, "a span of a live allocation is live");
      assert.deepEqual([span.rx, span.size], [allocation.rx, allocation.size]);
    }
    const bytes = allocation.spans[0]?.read() ?? new Uint8Array(0);
    if (Buffer.compare(bytes, allocation.contents) !== 0) assert.deepEqual(bytes, allocation.contents);
  }

  /** True where a request of that size may be refused: no hole takes it, and no further block fits the limit. */
  mayRunOut(sizeBytes: number, kind: SpanKind, blocks: readonly BlockView[]): boolean {
    const granularity = poolGranularity(this.options, sizeBytes);
    const padding = this.options.disableInitialPadding ? 0 : granularity;
    const granuleCount = roundUp(sizeBytes, this.options.granularity) / granularity;
    // Blocks kept empty are given up where they stand in the way.
    const reserved = blocks.reduce((sum, block) => sum + (block.allocationCount > 0 ? block.size : 0), 0);
    const needed = roundUp(granuleCount * granularity + padding, this.blockUnit);
    if (reserved + needed <= this.options.maxReservedSize) return false;
    return !blocks.some(
      (block) =>
        block.kind === kind &&
        block.granularity === granularity &&
        longestRun(block.granules) >= granuleCount,
    );
  }

  /** Asserts that the figures are those of the live allocations, whatever blocks they are in. */
  checkStatistics(allocator: JitAllocator, blocks: readonly BlockView[]): void {
    const statistics = allocator.statistics();
    const padding = this.options.disableInitialPadding
      ? 0
      : blocks.reduce((sum, block) => sum + block.granularity, 0);
    const reserved = blocks.reduce((sum, block) => sum + block.size, 0);
    assert.equal(statistics.allocationCount, this.live.length, "allocationCount");
    assert.equal(
      statistics.usedSize,
      this.live.reduce((sum, { size }) => sum + size, 0) + padding,
      "usedSize",
    );
    assert.equal(statistics.blockCount, blocks.length, "blockCount");
    assert.equal(statistics.reservedSize, reserved, "reservedSize");
    assert.equal(statistics.unusedSize, reserved - statistics.usedSize, "unusedSize");
    assert.ok(reserved <= this.options.maxReservedSize, "maxReservedSize");
    for (const kind of ["code", "constants", "data"] as const) {
      const { allocationCount, blockCount, reservedSize } = statistics.byKind[kind];
      const ofKind = blocks.filter((block) => block.kind === kind);
      assert.deepEqual(
        [allocationCount, blockCount, reservedSize],
        [
          this.live.filter((allocation) => allocation.kind === kind).length,
          ofKind.length,
          ofKind.reduce((sum, block) => sum + block.size, 0),
        ],
        kind,
      );
    }
  }

  /** Asserts that every granule of every block is what the live allocations and the padding make it. */
  checkGranules(blocks: readonly BlockView[]): void {
    const expected = new Map(blocks.map((block) => [block, new Uint8Array(block.granules.length)]));
    for (const [block, granules] of expected) {
      if (!this.options.disableInitialPadding) granules[0] = 2;
      assert.equal(block.granules.length * block.granularity, block.size);
      assert.equal(block.size % this.options.blockSize, 0, "a block is a whole number of blockSize");
    }
    for (const allocation of this.live) {
      const block = blocks.find(
        ({ rx, size }) => allocation.rx >= rx && allocation.rx + allocation.size <= rx + size,
      );
      assert.ok(block, "every allocation lies in one block");
      assert.equal(block.granularity, allocation.poolGranularity, "in a block of its pool");
      assert.equal(block.kind, allocation.kind, "in a block of its kind");
      const first = (allocation.rx - block.rx) / block.granularity;
      const last = first + allocation.size / block.granularity - 1;
      expected
        .get(block)
        ?.fill(1, first, last)
        .fill(2, last, last + 1);
    }
    for (const [block, granules] of expected)
      assert.deepEqual(block.granules, granules, `granules at ${block.rx}`);
  }

  /**
   * Asserts what may happen to the set of blocks in one operation, and that no pool keeps too many empty ones.
   * @param isOne whether it was one operation; of several nobody foresees the blocks
   */
  checkBlocks(
    before: readonly BlockView[],
    after: readonly BlockView[],
    refused: boolean,
    isOne = true,
  ): void {
    const added = after.filter((block) => !before.some(({ rx }) => rx === block.rx));
    const gone = before.filter((block) => !after.some(({ rx }) => rx === block.rx));
    if (!isOne) {
      // Only what is kept empty matters.
    } else if (refused) {
      // Where empty blocks were to give way and one of them could not, others stand for those that had.
      assert.deepEqual(emptySizes(added), emptySizes(gone), "a refusal leaves the blocks that there were");
    } else {
      assert.ok(added.length <= 1, "no operation needs two blocks");
      for (const block of added) assert.ok(block.allocationCount > 0, "a new block is used at once");
    }
    const emptyCounts = new Map<string, number>();
    for (const block of after) {
      if (block.allocationCount > 0) continue;
      const count = (emptyCounts.get(poolOf(block)) ?? 0) + 1;
      emptyCounts.set(poolOf(block), count);
      assert.ok(count <= (this.options.immediateRelease ? 0 : 1), `${count} empty blocks in a pool`);
    }
    if (this.options.immediateRelease || !isOne) return;
    // What emptied is kept unless another empty block of its pool is.
    for (const block of gone) {
      // An allocation that would pass maxReservedSize may have the empty blocks of every pool given up for it.
      assert.ok(emptyCounts.has(poolOf(block)) || added.length > 0, "the only empty block of a pool is kept");
    }
  }

  /** Asserts what a reset leaves of the blocks. */
  checkReset(policy: "soft" | "hard", before: readonly BlockView[], after: readonly BlockView[]): void {
    const pools = policy === "hard" || this.options.immediateRelease ? [] : before.map(poolOf);
    assert.deepEqual(
      after.map(poolOf).sort(),
      [...new Set(pools)].sort(),
      "one block of each pool that had any",
    );
    for (const block of after)
      assert.ok(before.some(({ rx, size }) => rx === block.rx && size === block.size));
  }
}

/** The pool of a block. */
function poolOf({ kind, granularity }: BlockView): string {
  return `${kind} ${granularity}`;
}

/** Blocks in which nothing is allocated, told apart by what one empty block differs from another in. */
function emptySizes(blocks: readonly BlockView[]): string[] {
  for (const { rx, allocationCount } of blocks)
    assert.equal(allocationCount, 0, `the block at ${rx} is empty`);
  return blocks.map((block) => `${poolOf(block)} ${block.size}`).sort();
}

/** The longest run of free granules. */
export function longestRun(granules: Uint8Array): number {
  let longest = 0;
  let current = 0;
  for (const granule of granules) {
    current = granule === 0 ? current + 1 : 0;
    if (current > longest) longest = current;
  }
  return longest;
}
