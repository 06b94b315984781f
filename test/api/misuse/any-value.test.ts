/** Any value to any public function: a typed error or what the documents say, never a crash, and nothing changed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { needs } from "../../support/requirements.ts";

const skip = needs("linux", "systemV");

test("any value to any public function: a JitError or a TypeError, and nothing changes", { skip }, () => {
  const child = spawnSync(process.execPath, [path.join(import.meta.dirname, "any-value-child.js")], {
    encoding: "utf8",
    // It says each of some twenty thousand calls.
    maxBuffer: 2 ** 26,
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
  const lines = child.stderr.trimEnd().split("\n");
  assert.equal(child.signal, null, `${child.signal} ended the process in ${lines.at(-1) ?? ""}`);
  assert.equal(child.status, 0, lines.slice(-20).join("\n"));
  const { outcomes, violations, violationCount } = JSON.parse(child.stdout) as {
    outcomes: Record<string, number>;
    violations: string[];
    violationCount: number;
  };
  assert.deepEqual(violations, [], `${violationCount} calls went wrong`);
  assert.ok((outcomes["calls"] ?? 0) > 10_000, JSON.stringify(outcomes));
  assert.ok((outcomes["JitError"] ?? 0) > (outcomes["calls"] ?? 0) / 3, JSON.stringify(outcomes));
});
