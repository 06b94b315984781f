/** An allocator on simulated memory and its model, which are given the same operations and must say the same. */
import assert from "node:assert/strict";
import {
  JitAllocator,
  JitError,
  type JitErrorCode,
  type JitModule,
  type Span,
  type SpanKind,
  type Veneer,
} from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { AllocatorModel, type BlockView, type ModelAllocation } from "./model.ts";
import { RANGE_OPERATIONS, type Operation, type PlannedFault, type RunPlan } from "./operations.ts";
import { someBytes } from "./rows.ts";

/** Large pages of the simulated machine: small, so that blocks aligned to them stay small too. */
const LARGE_PAGE_BYTES = 128 * 1024;
/** Operations that may map and unmap more than one block. */
const SEVERAL_STEPS: readonly string[] = ["veneer", "module", "unload"];
/** What is looked at after an operation, beside the statistics. */
export interface Watch {
  /** verify(), and how full each block is. */
  readonly verifies: boolean;
  /** Every granule, every byte and every mapping. */
  readonly inspects: boolean;
}

/** Both sides of a comparison. */
export class Subject {
  readonly memory: SimulatedMemory;
  readonly allocator: JitAllocator;
  readonly model: AllocatorModel;
  /** Spans of another allocator in the same machine, and what is written in them. */
  readonly foreignSpans: readonly Span[];
  /** The veneers and the modules of this run, live or not. */
  readonly veneers: Veneer[] = [];
  readonly modules: JitModule[] = [];
  readonly refusals: Partial<Record<JitErrorCode, number>> = {};
  readonly #foreign: JitAllocator;
  readonly #foreignContents: readonly Uint8Array[];
  #blocks: readonly BlockView[] = [];
  #fault: PlannedFault | undefined;
  #faults = 0;

  constructor(plan: RunPlan) {
    this.memory = new SimulatedMemory({
      // As for views: no random number is taken.
      hasRanges: plan.memorySeed % 2 === 1,
      placement: plan.placement,
      seed: plan.memorySeed,
      gapBytes: plan.gapBytes,
      refusesViews: plan.refusesViews,
      largePageSize: LARGE_PAGE_BYTES,
    });
    // It must have room, whatever the run is about.
    this.#foreign = new JitAllocator({ ...plan.options, maxReservedSize: 2 ** 30 }, this.memory);
    // One of a granule, one of a few, and one of the length of many.
    this.foreignSpans = [1, 200, 1000].map((size) => this.#foreign.alloc(size));
    for (const span of this.foreignSpans) span.write(0, someBytes(span.size));
    this.#foreignContents = this.foreignSpans.map((span) => span.read());
    this.allocator = new JitAllocator(plan.options, this.memory);
    this.model = new AllocatorModel(this.allocator.options, LARGE_PAGE_BYTES);
  }

  /** The blocks, as they were when one came or went, or later; how full they are may have changed since. */
  get blocks(): readonly BlockView[] {
    return this.#blocks;
  }

  /** How many armed faults happened. */
  get faults(): number {
    return this.#faults;
  }

  /** The next attempt meets this fault. */
  arm(fault: PlannedFault | undefined): void {
    this.#fault = fault;
  }

  /** Whether the model sees no room for an allocation of that size: then it must be refused. */
  mustRunOut(sizeBytes: number, kind: SpanKind): boolean {
    const { maxReservedSize } = this.model.options;
    const { reservedSize } = this.allocator.statistics();
    if (reservedSize + sizeBytes + this.model.blockUnit + 4096 <= maxReservedSize) return false;
    this.#blocks = this.allocator.blocks(); // how full they are decides
    return this.model.mayRunOut(sizeBytes, kind, this.#blocks);
  }

  /** Compares what one operation can change. */
  compare(operation: Operation, refused: boolean, { verifies, inspects }: Watch): void {
    const before = this.#blocks;
    const isOne = !SEVERAL_STEPS.includes(operation.kind);
    if (verifies || inspects || operation.kind === "reset" || !isOne || this.#isOutdated()) {
      this.#blocks = this.allocator.blocks();
      if (operation.kind === "reset") this.model.checkReset(operation.policy, before, this.#blocks);
      else this.model.checkBlocks(before, this.#blocks, refused, isOne);
    }
    this.model.checkStatistics(this.allocator, this.#blocks);
    if (verifies || inspects) this.allocator.verify();
    if (inspects) this.inspect();
  }

  /** Looks at every granule, every byte and every mapping. */
  inspect(): void {
    this.model.checkGranules(this.allocator.blocks());
    for (const allocation of this.model.live) this.model.checkContents(allocation);
    this.foreignSpans.forEach((span, index) => {
      const expected = this.#foreignContents[index] ?? new Uint8Array();
      if (Buffer.compare(span.read(), expected) !== 0) assert.fail("another allocator's code has changed");
    });
    assert.deepEqual(
      this.memory.mappings.map(({ rx, rw, sizeBytes }) => [rx, rw, sizeBytes]),
      [...this.allocator.blocks(), ...this.#foreign.blocks()]
        .sort((a, b) => a.rx - b.rx)
        .map(({ rx, rw, size }) => [rx, rw, size]),
      "what is mapped is what the blocks say",
    );
  }

  /** Looks at everything once more, and gives all memory back. */
  finish(): void {
    this.allocator.verify();
    this.inspect();
    this.allocator[Symbol.dispose]();
    for (const { spans } of this.model.live) {
      for (const span of spans) assert.ok(span.isReleased, "every span is released by the disposal");
    }
    this.#foreign[Symbol.dispose]();
    assert.deepEqual(this.memory.mappings, [], "every mapping is gone");
    assert.equal(this.memory.openViewCount, 0, "every view is closed");
  }

  /**
   * Does `act` and asserts that it throws `refusal`, or nothing where that is undefined; then tells the model.
   * With a fault armed it may throw the fault instead. Returns true where it threw.
   *
   * @param writtenTo what may hold other bytes after a fault: those that are written when the flush behind fails
   */
  attempt<T>(
    refusal: JitErrorCode | undefined,
    act: () => T,
    then: (result: T) => unknown,
    writtenTo: readonly ModelAllocation[] = [],
  ): boolean {
    const fault = this.#fault;
    this.#fault = undefined;
    if (fault !== undefined) {
      const call = (this.memory.ranges && RANGE_OPERATIONS[fault.call]) ?? fault.call;
      this.memory.failAfter(call, fault.successes, "ERR_PERMISSION");
    }
    let result: T;
    try {
      result = act();
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      if (fault !== undefined && this.memory.clearFaults() === 0) {
        this.#faults++;
        assert.equal(error.code, "ERR_PERMISSION", `the fault comes through as it is: ${error.message}`);
        for (const allocation of writtenTo) {
          allocation.contents = allocation.spans[0]?.read() ?? allocation.contents;
        }
        return true;
      }
      assert.equal(error.code, refusal, `${error.code} was thrown: ${error.message}`);
      this.refusals[error.code] = (this.refusals[error.code] ?? 0) + 1;
      return true;
    }
    if (fault !== undefined) this.memory.clearFaults();
    assert.equal(refusal, undefined, `expected ${String(refusal)}, but nothing was thrown`);
    then(result);
    return false;
  }

  /** Whether blocks came or went since they were last looked at. */
  #isOutdated(): boolean {
    const { blockCount, reservedSize } = this.allocator.statistics();
    if (blockCount !== this.#blocks.length || reservedSize !== this.#reservedSize()) return true;
    // A block may have taken the place of an empty one.
    const newest = this.model.live.at(-1);
    return (
      newest !== undefined && !this.#blocks.some(({ rx, size }) => newest.rx >= rx && newest.rx < rx + size)
    );
  }

  #reservedSize(): number {
    return this.#blocks.reduce((sum, block) => sum + block.size, 0);
  }
}

/** One of `items`, by any number; undefined where there is none. */
export function pick<T>(items: readonly T[], which: number): T | undefined {
  return items.length === 0 ? undefined : items[which % items.length];
}
