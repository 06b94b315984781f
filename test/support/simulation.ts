/** Runs random operations on an allocator on simulated memory, and compares each answer with the model's. */
import type { JitErrorCode } from "../../src/index.ts";
import { describeOptions } from "./config.ts";
import {
  describeStep,
  OperationSource,
  planRun,
  type Operation,
  type RunPlan,
  type Scale,
  type Step,
} from "./operations.ts";
import { perform } from "./perform.ts";
import { Random } from "./random.ts";
import { Subject, type Watch } from "./subject.ts";

/** A run, and how closely it is watched. */
export interface SimulationOptions {
  readonly seed: number;
  readonly operationCount: number;
  /** How many operations pass between two looks at every granule and every byte. Default 64. */
  readonly inspectEvery?: number;
  /** How many pass between two of verify() and of all blocks; the statistics are compared after each. Default 1. */
  readonly verifyEvery?: number;
  /** Default `small`. */
  readonly kind?: RunKind;
}

/** How many operations a run has by default, how large its structures become, and how often its machine fails. */
export interface RunShape {
  readonly operationCount: number;
  readonly scale: Scale;
  /** Of all operations. */
  readonly faultProbability: number;
}

/** The kinds of runs there are. */
export type RunKind = "small" | "large" | "faulty";

export const RUN_KINDS: Readonly<Record<RunKind, RunShape>> = {
  // Long enough that blocks fill, empty and fill again; short, because options are chosen once a run.
  small: { operationCount: 1000, scale: "small", faultProbability: 0 },
  // Long enough for thousands of allocations in dozens of blocks.
  large: { operationCount: 5000, scale: "large", faultProbability: 0 },
  // Often enough that every kind of operation meets a fault, seldom enough that structures still grow.
  faulty: { operationCount: 1000, scale: "small", faultProbability: 0.3 },
};

/** What a run did, so that a test can tell that it did something. */
export interface SimulationReport {
  readonly operations: Readonly<Record<Operation["kind"], number>>;
  readonly refusals: Readonly<Partial<Record<JitErrorCode, number>>>;
  readonly faults: number;
}

/** Operations written out, to be run without a seed: what a failing run is cut down to. */
export interface Program {
  readonly plan: RunPlan;
  readonly steps: readonly Step[];
}

/** How many operations before the failing one a report shows. */
const REPORTED_STEPS = 12;
const INSPECT_EVERY = 64;

/** Allocator and model disagree, or the allocator failed. The message has all that is needed to see it again. */
export class SimulationFailure extends Error {
  readonly #program: Program;

  constructor(what: string, program: Program, cause: unknown, replay: string) {
    const { plan, steps } = program;
    const lines = [
      `${what} fails at operation ${steps.length - 1}: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`,
      ...describeProgram({ plan, steps: steps.slice(-REPORTED_STEPS) }),
      `replay: ${replay}`,
    ];
    super(lines.join("\n"), { cause });
    this.stack = this.message;
    this.#program = program;
  }

  /** The run up to the step that failed. */
  get program(): Program {
    return this.#program;
  }
}

/**
 * Runs `operationCount` operations made from the seed.
 * @throws SimulationFailure where allocator and model disagree.
 */
export function simulate(settings: SimulationOptions): SimulationReport {
  const { seed, operationCount, kind = "small", inspectEvery = INSPECT_EVERY, verifyEvery = 1 } = settings;
  const { scale, faultProbability } = RUN_KINDS[kind];
  const random = new Random(seed);
  const plan = planRun(random, scale);
  const source = new OperationSource(random, plan.profile, faultProbability);
  const steps: Step[] = [];
  const counts = noOperations();
  const subject = new Subject(plan);
  try {
    while (steps.length < operationCount) {
      const step = source.next(subject.model.live.length);
      const watch = {
        verifies: steps.length % verifyEvery === 0,
        inspects: steps.length % inspectEvery === 0,
      };
      steps.push(step);
      counts[step.operation.kind]++;
      take(subject, step, watch);
    }
    subject.finish();
  } catch (error) {
    const replay = `npm run fuzz -- --seed ${seed} --ops ${operationCount} --kind ${kind}`;
    throw new SimulationFailure(`Seed ${seed}`, { plan, steps }, error, replay);
  }
  return { operations: counts, refusals: subject.refusals, faults: subject.faults };
}

/**
 * Runs a program, looking at everything after each step.
 * @returns the number of steps up to the one that failed, and the failure; undefined where nothing failed.
 */
export function runProgram({ plan, steps }: Program): { stepCount: number; error: unknown } | undefined {
  let stepCount = 0;
  try {
    const subject = new Subject(plan);
    for (const step of steps) {
      stepCount++;
      take(subject, step, { verifies: true, inspects: true });
    }
    subject.finish();
    return undefined;
  } catch (error) {
    return { stepCount, error };
  }
}

function take(subject: Subject, { operation, fault }: Step, watch: Watch): void {
  subject.arm(fault);
  const refused = perform(subject, operation);
  subject.arm(undefined);
  subject.compare(operation, refused, watch);
}

/** The program in lines for people: its options, then each step. */
export function describeProgram({ plan, steps }: Program): string[] {
  return [
    `options: ${describeOptions(plan.options)}; ${plan.placement}, gaps of ${plan.gapBytes} bytes, views ${plan.refusesViews ? "refused" : "given"}`,
    "the last operations:",
    ...steps.map((step) => `  ${describeStep(step)}`),
  ];
}

function noOperations(): Record<Operation["kind"], number> {
  return {
    alloc: 0,
    patch: 0,
    veneer: 0,
    module: 0,
    unload: 0,
    release: 0,
    shrink: 0,
    query: 0,
    write: 0,
    emit: 0,
    scope: 0,
    reenter: 0,
    reset: 0,
    misuseAddress: 0,
    misuseSpan: 0,
    misuseSize: 0,
    misuseForeign: 0,
    misuseWrite: 0,
  };
}
