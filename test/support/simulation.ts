/** Runs random operations on an allocator on simulated memory, and compares each answer with the model's. */
import assert from "node:assert/strict";
import { JitAllocator, JitError, type JitErrorCode, type Span } from "../../src/index.ts";
import { SimulatedMemory, type SimulatedOperation } from "../../src/vm/simulated.ts";
import { describeOptions } from "./config.ts";
import { wrong } from "./expectations.ts";
import { AllocatorModel, type BlockView, type ModelAllocation } from "./model.ts";
import {
  describeOperation,
  NO_ADDRESSES,
  OperationSource,
  planRun,
  type Operation,
  type RunPlan,
} from "./operations.ts";
import { Random } from "./random.ts";
import { someBytes } from "./rows.ts";

/** A run, and how closely it is watched. */
export interface SimulationOptions {
  readonly seed: number;
  readonly operationCount: number;
  /** How many operations pass between two looks at every granule and every byte. Default 64. */
  readonly inspectEvery?: number;
  /** How often, in calls of an operation, the machine is told to fail; 0 (the default) = never. */
  readonly faultProbability?: number;
}

/** What a run did, so that a test can tell that it did something. */
export interface SimulationReport {
  readonly operations: Readonly<Record<Operation["kind"], number>>;
  readonly refusals: Readonly<Partial<Record<JitErrorCode, number>>>;
  readonly faults: number;
}

/** Calls of the machine that a system may refuse. Closing a view asks no system. */
export const FALLIBLE_OPERATIONS: readonly SimulatedOperation[] = [
  "alloc",
  "release",
  "allocDualMapping",
  "releaseDualMapping",
  "flushInstructionCache",
  "openView",
];

/** What an error of the model itself is thrown as from a write callback. */
const CALLBACK_ERROR = new Error("the callback of this run fails on purpose");

/** verify() walks everything: after each operation up to so many bytes, and at each inspection beyond. */
const SMALL_STRUCTURE_BYTES = 256 * 1024;
/** How many operations before the failing one a report shows. */
const REPORTED_OPERATIONS = 12;
/** Large pages of the simulated machine: small, so that blocks aligned to them stay small too. */
const LARGE_PAGE_BYTES = 128 * 1024;

/**
 * Runs `operationCount` operations made from the seed.
 * @throws Error with the seed, the operation and the last ones before it, where allocator and model disagree.
 */
export function simulate(settings: SimulationOptions): SimulationReport {
  const random = new Random(settings.seed);
  const plan = planRun(random);
  const simulation = new Simulation(plan, random, settings);
  const history: Operation[] = [];
  let step = 0;
  try {
    for (; step < settings.operationCount; step++) {
      const operation = simulation.nextOperation();
      history.push(operation);
      if (history.length > REPORTED_OPERATIONS) history.shift();
      simulation.run(operation, step);
    }
    simulation.finish();
  } catch (error) {
    throw failureReport(settings, plan, history, step, error);
  }
  return simulation.report();
}

function failureReport(
  { seed, faultProbability = 0 }: SimulationOptions,
  plan: RunPlan,
  history: readonly Operation[],
  step: number,
  error: unknown,
): Error {
  const lines = [
    `Seed ${seed} fails at operation ${step}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    `options: ${describeOptions(plan.options)}; ${plan.placement}, gaps of ${plan.gapBytes} bytes`,
    "the last operations:",
    ...history.map((operation) => `  ${describeOperation(operation)}`),
    `replay: npm run build && MODEL_SEED=${seed} MODEL_FAULTS=${faultProbability} node --test dist/test/model/model.test.js`,
  ];
  const failure = new Error(lines.join("\n"), { cause: error });
  failure.stack = failure.message;
  return failure;
}

class Simulation {
  readonly #memory: SimulatedMemory;
  readonly #allocator: JitAllocator;
  readonly #model: AllocatorModel;
  readonly #source: OperationSource;
  readonly #random: Random;
  readonly #inspectEvery: number;
  readonly #faultProbability: number;
  readonly #operations: Partial<Record<Operation["kind"], number>> = {};
  readonly #refusals: Partial<Record<JitErrorCode, number>> = {};
  #blocks: readonly BlockView[] = [];
  #faults = 0;

  constructor(plan: RunPlan, random: Random, settings: SimulationOptions) {
    this.#memory = new SimulatedMemory({
      placement: plan.placement,
      seed: random.next(),
      gapBytes: plan.gapBytes,
      largePageSize: LARGE_PAGE_BYTES,
    });
    this.#allocator = new JitAllocator(plan.options, this.#memory);
    this.#model = new AllocatorModel(this.#allocator.options, LARGE_PAGE_BYTES);
    this.#source = new OperationSource(random, plan.profile);
    this.#random = random;
    this.#inspectEvery = settings.inspectEvery ?? 64;
    this.#faultProbability = settings.faultProbability ?? 0;
  }

  nextOperation(): Operation {
    return this.#source.next(this.#model.live.length);
  }

  report(): SimulationReport {
    const none = {
      alloc: 0,
      release: 0,
      shrink: 0,
      query: 0,
      write: 0,
      emit: 0,
      reset: 0,
      misuseAddress: 0,
      misuseSpan: 0,
      misuseSize: 0,
    };
    return { operations: { ...none, ...this.#operations }, refusals: this.#refusals, faults: this.#faults };
  }

  /** Does one operation and compares everything there is to see. */
  run(operation: Operation, step: number): void {
    this.#operations[operation.kind] = (this.#operations[operation.kind] ?? 0) + 1;
    const before = this.#blocks;
    const refused = this.#perform(operation);
    this.#blocks = this.#allocator.blocks();
    if (operation.kind === "reset") this.#model.checkReset(operation.policy, before, this.#blocks);
    else this.#model.checkBlocks(before, this.#blocks, refused);
    this.#model.checkStatistics(this.#allocator, this.#blocks);
    const inspects = step % this.#inspectEvery === 0;
    if (inspects || this.#reservedSize() <= SMALL_STRUCTURE_BYTES) this.#allocator.verify();
    if (inspects) this.#inspect();
  }

  /** Looks at everything once more, and gives all memory back. */
  finish(): void {
    this.#inspect();
    this.#allocator[Symbol.dispose]();
    for (const { spans } of this.#model.live) {
      for (const span of spans) assert.ok(span.isReleased, "every span is released by the disposal");
    }
    assert.deepEqual(this.#memory.mappings, [], "every mapping is gone");
    assert.equal(this.#memory.openViewCount, 0, "every view is closed");
  }

  #reservedSize(): number {
    return this.#blocks.reduce((sum, block) => sum + block.size, 0);
  }

  #inspect(): void {
    this.#model.checkGranules(this.#blocks);
    for (const allocation of this.#model.live) this.#model.checkContents(allocation);
    assert.deepEqual(
      this.#memory.mappings.map(({ rx, rw, sizeBytes }) => [rx, rw, sizeBytes]),
      [...this.#blocks].sort((a, b) => a.rx - b.rx).map(({ rx, rw, size }) => [rx, rw, size]),
      "what is mapped is what the blocks say",
    );
  }

  /** Returns true where the allocator refused, as the model said it would. */
  #perform(operation: Operation): boolean {
    switch (operation.kind) {
      case "alloc":
        return this.#alloc(operation.sizeBytes, operation.by);
      case "reset":
        this.#allocator.reset(operation.policy);
        this.#model.clear();
        return false;
      case "misuseAddress":
        return this.#misuseAddress(this.#misusedAddress(operation.target, operation.which), operation.action);
      case "misuseSpan":
        return this.#misuseSpan(operation.which, operation.action);
      case "misuseSize":
        return this.#misuseSize(operation.value, operation.action, operation.which);
      default: {
        const allocation = pick(this.#model.live, operation.which);
        return allocation === undefined ? true : this.#use(operation, allocation);
      }
    }
  }

  /** The operations on something live. */
  #use(
    operation: Extract<Operation, { kind: "release" | "shrink" | "query" | "write" | "emit" }>,
    allocation: ModelAllocation,
  ): boolean {
    const span = pick(allocation.spans, operation.which >>> 8);
    assert.ok(span);
    switch (operation.kind) {
      case "release": {
        this.#model.checkContents(allocation);
        const { by } = operation;
        const release = {
          span: () => span.release(),
          address: () => this.#allocator.release(allocation.rx),
          dispose: () => span[Symbol.dispose](),
        }[by];
        return this.#attempt(undefined, release, () => this.#model.remove(allocation));
      }
      case "shrink": {
        const newSize = Math.floor(operation.part * allocation.size);
        const target = operation.by === "span" ? span : allocation.rx;
        return this.#attempt(
          newSize > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
          () => this.#allocator.shrink(target, newSize),
          () => this.#shrunk(allocation, newSize),
        );
      }
      case "query": {
        const address =
          allocation.rx + Math.min(Math.floor(operation.part * allocation.size), allocation.size - 1);
        return this.#attempt(
          undefined,
          () => this.#allocator.query(address),
          (found) => {
            allocation.spans.push(found);
            if (allocation.spans.length > 4) allocation.spans.splice(1, 1);
            this.#model.checkContents(allocation);
          },
        );
      }
      case "write": {
        const offset = Math.floor(operation.part * allocation.size);
        const bytes = someBytes(
          Math.floor(operation.lengthPart * Math.min(allocation.size, 256)),
          operation.which % 97,
        );
        return this.#attempt(
          offset + bytes.length > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
          () => this.#allocator.write(span, offset, bytes, operation.policy),
          () => allocation.contents.set(bytes, offset),
          allocation,
        );
      }
      case "emit":
        return this.#emit(operation, allocation, span);
    }
  }

  #emit(operation: Extract<Operation, { kind: "emit" }>, allocation: ModelAllocation, span: Span): boolean {
    const kept = Math.floor(operation.keptPart * allocation.size);
    const bytes = someBytes(allocation.size, operation.which % 89);
    if (operation.fails) {
      assert.throws(
        () =>
          this.#allocator.write(span, (code) => {
            code.set(bytes);
            throw CALLBACK_ERROR;
          }),
        (error) => error === CALLBACK_ERROR,
      );
      this.#model.checkContents(allocation);
      return true;
    }
    return this.#attempt(
      kept === 0 || kept > allocation.size ? "ERR_INVALID_ARGUMENT" : undefined,
      () =>
        this.#allocator.write(
          span,
          (code) => {
            assert.equal(code.length, bytes.length);
            code.set(bytes);
            return kept;
          },
          operation.policy,
        ),
      () => {
        this.#shrunk(allocation, kept);
        // What lies between the bytes kept and the end of their granule is nobody's promise.
        allocation.contents.set(span.read(kept), kept);
        allocation.contents.set(bytes.subarray(0, kept));
        this.#model.checkContents(allocation);
      },
      allocation,
    );
  }

  #shrunk(allocation: ModelAllocation, newSize: number): void {
    if (newSize === 0) {
      this.#model.remove(allocation);
      return;
    }
    const size = this.#model.sizeAfterShrink(allocation, newSize);
    if (size >= allocation.size) return;
    allocation.size = size;
    allocation.contents = allocation.contents.slice(0, size);
  }

  #alloc(sizeBytes: number, by: "span" | "address"): boolean {
    let span: Span | undefined;
    const allocate = (): Span =>
      by === "span"
        ? this.#allocator.alloc(sizeBytes)
        : this.#allocator.query(this.#allocator.allocAddress(sizeBytes));
    if (this.#model.mayRunOut(sizeBytes, this.#blocks)) {
      return this.#attempt("ERR_OUT_OF_MEMORY", allocate, () => assert.fail("there was no room for this"));
    }
    const refused = this.#attempt(undefined, allocate, (made) => (span = made));
    if (span !== undefined) this.#model.add(span, sizeBytes);
    return refused;
  }

  #misusedAddress(target: Extract<Operation, { kind: "misuseAddress" }>["target"], which: number): unknown {
    const block = pick(this.#blocks, which >>> 4);
    const allocation = pick(this.#model.live, which);
    switch (target) {
      case "stale":
        return pick(this.#model.staleAddresses, which);
      case "interior":
        return allocation === undefined ? undefined : allocation.rx + 1 + (which % (allocation.size - 1));
      case "blockStart":
        return block?.rx;
      case "blockEnd":
        return block === undefined ? undefined : block.rx + block.size;
      case "belowBlock":
        return block === undefined ? undefined : block.rx - 1;
      case "rw":
        return allocation?.spans[0]?.rw;
      case "anywhereInBlock":
        return block === undefined ? undefined : block.rx + (which % block.size);
      case "nowhere":
        return which;
      case "noAddress":
        return NO_ADDRESSES[which % NO_ADDRESSES.length];
    }
  }

  /** The address may be one that is right by chance; the model says which. */
  #misuseAddress(address: unknown, action: Extract<Operation, { kind: "misuseAddress" }>["action"]): boolean {
    const allocator = this.#allocator;
    const target = wrong<number>(address);
    const found = typeof address === "number" ? this.#model.find(address) : undefined;
    if (action === "query") {
      return this.#attempt(
        this.#model.queryRefusal(address, this.#blocks),
        () => allocator.query(target),
        (span) => {
          assert.deepEqual([span.rx, span.size], [found?.rx, found?.size]);
        },
      );
    }
    const refusal = this.#model.refusal(address, this.#blocks);
    if (action === "shrink") {
      return this.#attempt(
        refusal,
        () => allocator.shrink(target, 1),
        () => found && this.#shrunk(found, 1),
      );
    }
    return this.#attempt(
      refusal,
      () => (action === "release" ? allocator.release(target) : allocator.shrink(target, 0)),
      () => found && this.#model.remove(found),
    );
  }

  #misuseSpan(which: number, action: Extract<Operation, { kind: "misuseSpan" }>["action"]): boolean {
    const span = pick(this.#model.staleSpans, which);
    if (span === undefined) return true;
    assert.ok(span.isReleased, "what was released once stays released");
    if (action === "dispose") {
      span[Symbol.dispose]();
      return true;
    }
    const bytes = someBytes(8);
    const act = {
      release: () => span.release(),
      shrink: () => span.shrink(which % 3),
      write: () => span.write(0, bytes),
      emit: () => this.#allocator.write(span, () => assert.fail("the callback of a released span ran")),
      read: () => span.read(),
      "allocator.release": () => this.#allocator.release(span),
      "allocator.shrink": () => this.#allocator.shrink(span, which % 3),
    }[action];
    return this.#attempt("ERR_RELEASED", act, () => undefined);
  }

  #misuseSize(value: unknown, action: "alloc" | "allocAddress" | "shrink", which: number): boolean {
    const size = wrong<number>(value);
    const isSize = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
    if (action === "shrink") {
      const allocation = pick(this.#model.live, which);
      if (allocation === undefined || value === 0) return true;
      // Every size in question is no size, or more than any allocation has.
      return this.#attempt(
        "ERR_INVALID_ARGUMENT",
        () => this.#allocator.shrink(allocation.rx, size),
        () => undefined,
      );
    }
    const act: () => unknown =
      action === "alloc" ? () => this.#allocator.alloc(size) : () => this.#allocator.allocAddress(size);
    return this.#attempt(isSize && size > 0 ? "ERR_TOO_LARGE" : "ERR_INVALID_ARGUMENT", act, () => undefined);
  }

  /**
   * Does `act` and asserts that it throws `refusal`, or nothing where that is undefined; then tells the model.
   * With a fault armed it may throw the fault instead. Returns true where it threw.
   */
  #attempt<T>(
    refusal: JitErrorCode | undefined,
    act: () => T,
    then: (result: T) => unknown,
    writtenTo?: ModelAllocation,
  ): boolean {
    const armed = this.#faultProbability > 0 && this.#random.chance(this.#faultProbability);
    if (armed) {
      this.#memory.failAfter(this.#random.pick(FALLIBLE_OPERATIONS), this.#random.below(2), "ERR_PERMISSION");
    }
    let result: T;
    try {
      result = act();
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      if (armed && this.#memory.clearFaults() === 0) {
        this.#faults++;
        assert.equal(error.code, "ERR_PERMISSION", `the fault comes through as it is: ${error.message}`);
        // Bytes that are written when the flush behind them fails are written; all else is as before.
        if (writtenTo !== undefined) writtenTo.contents = writtenTo.spans[0]?.read() ?? writtenTo.contents;
        return true;
      }
      assert.equal(error.code, refusal, `${error.code} was thrown: ${error.message}`);
      this.#refusals[error.code] = (this.#refusals[error.code] ?? 0) + 1;
      return true;
    }
    if (armed) this.#memory.clearFaults();
    assert.equal(refusal, undefined, `expected ${String(refusal)}, but nothing was thrown`);
    then(result);
    return false;
  }
}

function pick<T>(items: readonly T[], which: number): T | undefined {
  return items.length === 0 ? undefined : items[which % items.length];
}
