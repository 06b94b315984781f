/** The programs behind the npm scripts say what they are, and refuse what they cannot understand before they begin. */
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { runToEnd } from "../support/ended.ts";

const dist = path.resolve(import.meta.dirname, "../..");

function run(program: string, ...args: readonly string[]): readonly [number | null, string, string] {
  const { status, stdout, stderr } = runToEnd(process.execPath, [path.join(dist, program), ...args], {
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
  return [status, stdout, stderr];
}

const programs = {
  "fuzz/soak.js": ["--minutes=x", "--minutes=0", "--workers=0", "--seed=-1", "--hours=1", "more"],
  "test/sharing/threads/kills.js": ["--kills=x", "--workers=1.5", "--double", "more"],
  "bench/calls.js": ["--quickly", "--check=1"],
} as const;

for (const [program, mistakes] of Object.entries(programs)) {
  test(`${program} prints its help`, () => {
    const [status, stdout, stderr] = run(program, "--help");
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /^Usage: npm run /);
    assert.deepEqual(run(program, "-h"), [0, stdout, ""]);
  });

  for (const mistake of mistakes) {
    test(`${program} ${mistake} is refused`, () => {
      const [status, stdout, stderr] = run(program, mistake);
      assert.equal(status, 2, stderr);
      assert.equal(stdout, "");
      assert.ok(stderr.includes(mistake.split("=")[0] ?? mistake), stderr);
      assert.match(stderr, /^[^\n]+\n\nUsage: /, "a line, and the help");
    });
  }
}
