/** The list of planted faults keeps up with the source; that the tests see them all is `npm run test:planted`. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

test("every line that planted faults change is there, once", () => {
  const script = path.join(import.meta.dirname, "../../../scripts/planted-faults.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, "--check"], {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
  assert.equal(status, 0, stderr);
  const [, count] = /^all (\d+) places are there/.exec(stdout) ?? [];
  assert.ok(Number(count) >= 15, stdout);
});
