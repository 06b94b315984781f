/** Makes a failing program short: delta debugging over its steps, then plainer options and numbers. */
import type { JitAllocatorOptions } from "../src/index.ts";
import type { Step } from "../test/support/operations.ts";
import type { Program } from "../test/support/simulation.ts";

/** The most programs that are tried. Each takes some milliseconds, and the last few hundred of a long search gain little. */
const TRIES = 4000;

/**
 * Returns the shortest program found that still fails.
 *
 * @param program a program that fails
 * @param fails returns the number of steps after which a program fails; undefined = it does not fail
 */
export function shrink(program: Program, fails: (program: Program) => number | undefined): Program {
  let best = program;
  let tries = TRIES;
  /** Takes the candidate if it fails, without the steps after the failure. */
  const accept = (candidate: Program): boolean => {
    if (tries <= 0) return false;
    tries--;
    const stepCount = fails(candidate);
    if (stepCount === undefined) return false;
    best = { ...candidate, steps: candidate.steps.slice(0, stepCount) };
    return true;
  };
  accept(best);
  for (let isBetter = true; isBetter && tries > 0;) {
    const before = JSON.stringify(best);
    dropSteps(() => best, accept);
    dropOptions(() => best, accept);
    simplifySteps(() => best, accept);
    isBetter = JSON.stringify(best) !== before;
  }
  return best;
}

/** Leaves out ever smaller parts, from the end: late steps depend on early ones, seldom the other way round. */
function dropSteps(best: () => Program, accept: (candidate: Program) => boolean): void {
  for (
    let size = Math.ceil(best().steps.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let end = best().steps.length; end > 0; end -= size) {
      const { plan, steps } = best();
      accept({ plan, steps: [...steps.slice(0, Math.max(end - size, 0)), ...steps.slice(end)] });
    }
  }
}

function dropOptions(best: () => Program, accept: (candidate: Program) => boolean): void {
  for (const name of Object.keys(best().plan.options)) {
    const { plan, steps } = best();
    const kept = Object.entries(plan.options).filter(([other]) => other !== name);
    const options: JitAllocatorOptions = Object.fromEntries(kept);
    accept({ plan: { ...plan, options }, steps });
  }
  for (const plainer of [{ gapBytes: 0 }, { placement: "ascending" }] as const) {
    const { plan, steps } = best();
    accept({ plan: { ...plan, ...plainer }, steps });
  }
}

/** Tries small numbers in place of large ones, and a machine without faults. */
function simplifySteps(best: () => Program, accept: (candidate: Program) => boolean): void {
  for (let index = 0; index < best().steps.length; index++) {
    for (const plainer of plainerSteps(best().steps[index])) {
      const { plan, steps } = best();
      if (index < steps.length) accept({ plan, steps: steps.with(index, plainer) });
    }
  }
}

function plainerSteps(step: Step | undefined): Step[] {
  if (step === undefined) return [];
  const { operation, fault } = step;
  const plainer: Step[] = fault === undefined ? [] : [{ operation }];
  const withValues = (values: object): void => {
    // Values are only replaced by values of the same kind.
    plainer.push({ ...step, operation: { ...operation, ...values } });
  };
  for (const [name, value] of Object.entries(operation) as [string, unknown][]) {
    if (typeof value !== "number") continue;
    for (const small of name === "sizeBytes" ? [64, 128, 256] : [0, 1, 0.5]) {
      if (value !== small && (Number.isInteger(small) || name.toLowerCase().endsWith("part"))) {
        withValues({ [name]: small });
      }
    }
  }
  return plainer;
}
