/** A runtime that refuses views of native memory: the library does there all that it does elsewhere, by copies. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { platform } from "../../src/base/platform.ts";
import { needs } from "../support/requirements.ts";

const skip = needs("koffi");
const preload = new URL("../support/without-views.js", import.meta.url).href;
const semantics = new URL("../api/semantics/", import.meta.url);
const doctor = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

/** Runs this Node without views, and returns what it printed. */
function run(args: readonly string[]): { readonly stdout: string; readonly status: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--import", preload, ...args], {
    encoding: "utf8",
    // Both empty, not absent: what would be inherited. A child of a test runner reports to it, not to people.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_V8_COVERAGE: "" },
    maxBuffer: 2 ** 26,
  });
  return { stdout: stdout + stderr, status };
}

describe("where the runtime refuses views of native memory", { skip }, () => {
  const all = readdirSync(semantics).filter((file) => file.endsWith(".test.js"));
  // What copies differs by the system; what the copies are for does not.
  const files = platform.system === "linux" ? all : ["fill.test.js", "write.test.js"];

  it("there are tests of the semantics", () => assert.ok(all.length > 5, all.join()));

  for (const file of files) {
    it(`semantics/${file} holds`, () => {
      const { stdout, status } = run([fileURLToPath(new URL(file, semantics))]);
      assert.equal(status, 0, stdout);
    });
  }

  it("doctor says so, and that code runs", () => {
    const { stdout, status } = run([doctor, "doctor"]);
    assert.equal(status, 0, stdout);
    assert.match(
      stdout,
      /no {2}view of native memory +Cannot view .*External buffers are not allowed; code is copied in and out/,
    );
    assert.match(stdout, /ok {2}run code: dual mapping/);
  });
});
