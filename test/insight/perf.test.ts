/** What the real perf says of announced code. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { mainPath } from "../support/cli.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "hot-child.js");

/** Runs perf in a folder; returns what it writes to the standard output. */
function perf(folder: string, announce: string, args: readonly string[]): string {
  const run = spawnSync("perf", args, {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "", JITDUMPDIR: folder, JIT_ALLOCATOR_ANNOUNCE: announce },
  });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout;
}

/** The share of the samples in a function, in percent, by a report that has a line for each. */
function shareOf(report: string, name: string): number {
  const line = report.split("\n").find((one) => one.includes(`] ${name}`));
  return Number.parseFloat(line ?? "0");
}

describe("perf", { skip: needs("perf") }, () => {
  const inFolder = (body: (folder: string) => void) => (): void => {
    const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-perf-"));
    try {
      body(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  test(
    "has most samples in the hot function, by name, and walks on to its caller: jitdump",
    inFolder((folder) => {
      // The clock of the dump; a counter that virtual machines have too; enough of the stack to reach the caller.
      const how = ["-k", "1", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,1024", "-o", "recorded"];
      perf(folder, "jitdump", ["record", ...how, process.execPath, child]);
      perf(folder, "", ["inject", "--jit", "-i", "recorded", "-o", "injected"]);
      const report = ["report", "--stdio", "--no-children", "--no-inline", "-i", "injected"];
      const flat = perf(folder, "", [...report, "-g", "none"]);
      assert.ok(shareOf(flat, "hot_function") > 50, flat);
      const graph = ["-g", "caller,0.5,callee,function", "--symbol-filter=hot_function"];
      assert.match(perf(folder, "", [...report, ...graph]), /hot_function\n(?:.*\n)?.*calling_function/);
    }),
  );

  test(
    "has the loops that the demo has compiled, by name",
    inFolder((folder) => {
      const demo = [process.execPath, mainPath, "demo", "--no-compare"];
      perf(folder, "jitdump", [
        "record",
        "-k",
        "1",
        "-e",
        "cpu-clock",
        "-F",
        "499",
        "-o",
        "recorded",
        ...demo,
      ]);
      perf(folder, "", ["inject", "--jit", "-i", "recorded", "-o", "injected"]);
      const report = perf(folder, "", ["report", "--stdio", "-i", "injected"]);
      assert.ok(shareOf(report, "loop_at_116") > 1, report);
    }),
  );

  test(
    "has most samples in the hot function, by name: a map, where memory is mapped once",
    inFolder((folder) => {
      const how = ["-e", "cpu-clock", "-F", "499", "-o", "recorded"];
      perf(folder, "perfMap", ["record", ...how, process.execPath, child, "single"]);
      const report = perf(folder, "", ["report", "--stdio", "-i", "recorded"]);
      assert.ok(shareOf(report, "hot_function") > 50, report);
    }),
  );
});
