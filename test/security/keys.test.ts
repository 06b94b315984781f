/** protectWrites: "keys", on a machine that has them: a stray store into the writable view ends the process. */
import assert from "node:assert/strict";
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { startOf } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

const child = path.join(import.meta.dirname, "keys-child.js");

function run(act: string): SpawnSyncReturns<string> {
  // A process that a signal ends writes no coverage.
  const env = { ...process.env, NODE_V8_COVERAGE: "" };
  return spawnSync(process.execPath, [...startOf(child), ...act.split(" ")], { encoding: "utf8", env });
}

describe("writes protected by keys", { skip: needs("protectionKeys") }, () => {
  test("the library writes, reads, patches and runs as ever, in two threads", () => {
    const { status, stdout, stderr } = run("use");
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), "all is well");
  });

  for (const act of ["store", "store in a worker", "store behind a write"])
    test(`a stray ${act} ends the process`, () => {
      const { signal, stdout } = run(act);
      assert.equal(stdout.trim(), "ready");
      assert.equal(signal, "SIGSEGV");
    });
});
