/** Random operations on simulated memory against a naive model, verified after each. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { simulate, type SimulationReport } from "../support/simulation.ts";

/** 200 runs, because options are chosen once a run and 2^7 combinations of booleans want to be met. */
const RUN_COUNT = 200;
/** Long enough that blocks fill, empty and fill again; RUN_COUNT times this makes 200,000. */
const OPERATIONS_PER_RUN = 1000;
/** A fifth of the runs once more, with faults: the operations are the same, what they meet is not. */
const FAULTY_RUN_COUNT = 40;
/** Often enough that every kind of operation meets a fault, seldom enough that structures still grow. */
const FAULT_PROBABILITY = 0.3;
/** Any number would do. Runs use this and those that follow. */
const FIRST_SEED = 20_260_101;

/** The seed to replay, and with how many faults, from a failure's report. */
const givenSeed = process.env["MODEL_SEED"];
const givenFaults = Number(process.env["MODEL_FAULTS"] ?? 0);

describe("random operations against the model", () => {
  if (givenSeed !== undefined) {
    test(`seed ${givenSeed}`, () => {
      simulate({
        seed: Number(givenSeed),
        operationCount: OPERATIONS_PER_RUN,
        faultProbability: givenFaults,
      });
    });
    return;
  }

  test(`${RUN_COUNT * OPERATIONS_PER_RUN} operations, from seed ${FIRST_SEED}`, () => {
    const reports: SimulationReport[] = [];
    for (let run = 0; run < RUN_COUNT; run++) {
      reports.push(simulate({ seed: FIRST_SEED + run, operationCount: OPERATIONS_PER_RUN }));
    }
    // A generator that no longer reaches a case would make this test pass for nothing.
    const reached = (kind: keyof SimulationReport["operations"]): number =>
      reports.reduce((sum, { operations }) => sum + operations[kind], 0);
    for (const kind of ["alloc", "release", "shrink", "query", "write", "emit", "reset"] as const) {
      assert.ok(reached(kind) > 100, `${kind} came up`);
    }
    for (const code of [
      "ERR_INVALID_ARGUMENT",
      "ERR_TOO_LARGE",
      "ERR_OUT_OF_MEMORY",
      "ERR_UNKNOWN_ADDRESS",
      "ERR_NOT_ALLOCATED",
      "ERR_INTERIOR_ADDRESS",
      "ERR_RELEASED",
    ] as const) {
      const count = reports.reduce((sum, { refusals }) => sum + (refusals[code] ?? 0), 0);
      assert.ok(count > 100, `${code} came up`);
    }
  });

  test(`${FAULTY_RUN_COUNT * OPERATIONS_PER_RUN} operations on a machine that fails now and then`, () => {
    let faults = 0;
    for (let run = 0; run < FAULTY_RUN_COUNT; run++) {
      const seed = FIRST_SEED + RUN_COUNT + run;
      faults += simulate({
        seed,
        operationCount: OPERATIONS_PER_RUN,
        faultProbability: FAULT_PROBABILITY,
      }).faults;
    }
    assert.ok(faults > 100, `${faults} faults happened`);
  });
});
