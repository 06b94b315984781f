/** Who lives and who does not, where the system tells little of threads: as root, in PID namespaces of the test's own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { platform } from "../../../src/base/platform.ts";
import { needs } from "../../support/requirements.ts";

const child = path.join(import.meta.dirname, "identity-child.js");
const launch =
  platform.runtime === "deno"
    ? [process.execPath, "run", "-A", "--no-check", child]
    : [process.execPath, child];

/** A PID namespace in which /proc is that of the namespace outside. */
const OUTER_PROC = ["unshare", "--pid", "--fork"];
/** One with a /proc of its own: only there can the next thread's number be set. */
const OWN_PROC = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"];

function needsNamespaces(): string | false {
  const probe = spawnSync("unshare", [...OWN_PROC.slice(1), "true"], { encoding: "utf8" });
  if (probe.error !== undefined) return `there is no unshare: ${probe.error.message}`;
  return probe.status === 0 ? false : `namespaces need the rights of root: ${probe.stderr.trim()}`;
}

function run(command: readonly string[]): unknown {
  const [program = "", ...args] = command;
  const result = spawnSync(program, args, { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout);
}

describe("threads in namespaces", { skip: needs("linux", "termination") || needsNamespaces() }, () => {
  test("nobody who lives is taken for dead where /proc is another namespace's and no descriptor is left", () => {
    const limited = [...OUTER_PROC, "sh", "-c", 'ulimit -n 250 && exec "$0" "$@"', ...launch, "living"];
    assert.deepEqual(run(limited), { opened: true, isAlive: ["true"], repairs: 0, isWorking: true });
  });

  test("one who is dead is not taken for the thread that has its number now", () => {
    const found = run([...OWN_PROC, ...launch, "number"]) as Record<string, unknown>;
    assert.deepEqual(found, { isNumberGivenAgain: true, repairs: 1, isQuick: true });
  });
});
