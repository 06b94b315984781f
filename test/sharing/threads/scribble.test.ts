/** What anybody with a handle can write over: its buffers. Whatever stands there, every operation comes to an end. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { needs } from "../../support/requirements.ts";
import type { ScribbleReport } from "./scribble-child.ts";

const SEED = Number(process.env["SCRIBBLE_SEED"] ?? 20_261_127);
const RUNS = Number(process.env["SCRIBBLE_RUNS"] ?? 120);
/** A run takes some hundredths of a second. What hangs hangs for good, and must not take the time-out of all tests. */
const TIMEOUT_MS = 60_000 + RUNS * 1_000;

test(
  `${RUNS} allocators whose buffers are written over, before they are attached to and while they are (seed ${SEED})`,
  {
    skip: needs("linux"),
  },
  () => {
    const child = path.join(import.meta.dirname, "scribble-child.js");
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [child, `${SEED}`, `${RUNS}`], {
      encoding: "utf8",
      timeout: TIMEOUT_MS,
      maxBuffer: 2 ** 26, // it says each operation
      env: { ...process.env, NODE_V8_COVERAGE: "" },
    });
    const last = stderr.trimEnd().split("\n").slice(-20).join("\n");
    assert.equal(
      signal,
      null,
      `${signal} ended the process in the last of these (seed, operation):\n${last}`,
    );
    assert.equal(status, 0, last);
    const { runs, outcomes, strange } = JSON.parse(stdout) as ScribbleReport;
    assert.deepEqual(strange, [], "what the runtime throws reaches nobody");
    assert.equal(runs, RUNS);
    assert.ok(
      outcomes.invariant > RUNS && outcomes.JitError > 0 && outcomes.done > RUNS,
      JSON.stringify(outcomes),
    );
  },
);
