/** The fuzzer itself: that it runs, says what it did, keeps what fails, and makes it short. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { shrink } from "../../fuzz/shrink.ts";
import { OperationSource, planRun, type Step } from "../support/operations.ts";
import { Random } from "../support/random.ts";
import { runProgram, type Program } from "../support/simulation.ts";

function fuzz(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [path.join(import.meta.dirname, "../../fuzz/main.js"), ...args], {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
}

/** A run of `length` steps, as the simulation would make it with five allocations live. */
function programOf(seed: number, length: number): Program {
  const random = new Random(seed);
  const plan = planRun(random);
  const source = new OperationSource(random, plan.profile, 0.3);
  return { plan, steps: Array.from({ length }, () => source.next(5)) };
}

describe("npm run fuzz", () => {
  test("runs every kind of run and says what it did", () => {
    // Sixteen runs are one mix: a large one comes last.
    const { status, stdout, stderr } = fuzz("--seed", "7", "--ops", "16000");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^clean: 16,000 operations in 16 runs from seed 7/);
    assert.match(stdout, /misuseForeign [1-9]/);
  });

  test("a wrong command line is 2, and is told", () => {
    for (const args of [
      ["--seed", "x"],
      ["--ops", "0"],
      ["--kind", "huge"],
      ["--sed", "1"],
    ]) {
      const { status, stderr } = fuzz(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, /Usage: npm run fuzz/);
    }
  });

  test("a kept program is run again", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "fuzz-"));
    try {
      const file = path.join(folder, "program.json");
      writeFileSync(file, JSON.stringify(programOf(3, 50)));
      const { status, stdout, stderr } = fuzz("--program", file);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /clean: 50 operations/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("cutting a failing program down", () => {
  /** Fails at the first release behind a large allocation: as if that release were where the bug is. */
  const failsAt = ({ steps }: Program): number | undefined => {
    const first = steps.findIndex(({ operation }) => operation.kind === "alloc" && operation.sizeBytes > 300);
    if (first < 0) return undefined;
    const second = steps.findIndex(({ operation }, index) => index > first && operation.kind === "release");
    return second < 0 ? undefined : second + 1;
  };

  test("leaves the steps that matter, and the plainest of their kind", () => {
    const long = programOf(4, 400);
    assert.notEqual(failsAt(long), undefined);
    const { plan, steps } = shrink(long, failsAt);
    assert.deepEqual(
      steps.map(({ operation }) => operation.kind),
      ["alloc", "release"],
    );
    assert.ok(steps.every(({ fault }: Step) => fault === undefined));
    assert.deepEqual([plan.options, plan.gapBytes, plan.placement], [{}, 0, "ascending"]);
  });

  test("a program that does not fail is clean, step by step", () => {
    assert.equal(runProgram(programOf(5, 300)), undefined);
  });
});
