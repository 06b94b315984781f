/** Random operations on simulated memory against a naive model, verified after each. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RUN_KINDS, simulate, type SimulationReport } from "../support/simulation.ts";

/** 200 runs, because options are chosen once a run and 2^7 combinations of booleans want to be met. */
const RUN_COUNT = 200;
/** Few, because structures of many blocks take long to look at. */
const LARGE_RUN_COUNT = 4;
/** A fifth of the runs once more, with faults: the operations are the same, what they meet is not. */
const FAULTY_RUN_COUNT = 40;
/** Any number would do. Runs use this and those that follow. */
const FIRST_SEED = 20_260_101;

const { small, large, faulty } = RUN_KINDS;

describe("random operations against the model", () => {
  test(`${RUN_COUNT * small.operationCount} operations, from seed ${FIRST_SEED}`, () => {
    const reports: SimulationReport[] = [];
    for (let run = 0; run < RUN_COUNT; run++) {
      reports.push(simulate({ seed: FIRST_SEED + run, operationCount: small.operationCount }));
    }
    // A generator that no longer reaches a case would make this test pass for nothing.
    const reached = (kind: keyof SimulationReport["operations"]): number =>
      reports.reduce((sum, { operations }) => sum + operations[kind], 0);
    for (const kind of [
      "alloc",
      "release",
      "shrink",
      "query",
      "write",
      "patch",
      "veneer",
      "module",
      "unload",
      "emit",
      "scope",
      "reenter",
      "reset",
    ] as const) {
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

  test(`${LARGE_RUN_COUNT * large.operationCount} operations on large structures`, () => {
    for (let run = 0; run < LARGE_RUN_COUNT; run++) {
      const seed = FIRST_SEED + RUN_COUNT + run;
      simulate({
        seed,
        operationCount: large.operationCount,
        inspectEvery: 512,
        verifyEvery: 512,
        kind: "large",
      });
    }
  });

  test(`${FAULTY_RUN_COUNT * faulty.operationCount} operations on a machine that fails now and then`, () => {
    let faults = 0;
    for (let run = 0; run < FAULTY_RUN_COUNT; run++) {
      const seed = FIRST_SEED + RUN_COUNT + run;
      faults += simulate({
        seed,
        operationCount: faulty.operationCount,
        kind: "faulty",
      }).faults;
    }
    assert.ok(faults > 100, `${faults} faults happened`);
  });
});
