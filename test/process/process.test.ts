/** What the allocator leaves in the process, read from /proc/self in processes of their own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { needs } from "../support/requirements.ts";

const skip = needs("linux");

/** Runs a compiled child with --jitless: V8's own code, made at run time, would be mixed with ours. */
function runChild(name: string): unknown {
  const child = spawnSync(process.execPath, ["--jitless", path.join(import.meta.dirname, name)], {
    encoding: "utf8",
  });
  assert.equal(child.signal, null, `${name} was killed by ${String(child.signal)}: ${child.stderr}`);
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

describe("the state of the process", { skip }, () => {
  const mixed = platform.runtime === "bun" && "Bun has no --jitless: its own code is writable and executable";
  test("no mapping is writable and executable in the default mode, at any time", { skip: mixed }, () => {
    const { looks } = runChild("no-writable-code-child.js") as { looks: number };
    assert.ok(looks > 1000, `it looked ${looks} times`);
  });

  test("after dispose no mapping and no descriptor is there more than before", () => {
    const { before, during, after } = runChild("leak-child.js") as Record<
      string,
      Record<string, string[]>
    > & {
      during: { executable: string[] }[];
    };
    for (const { executable } of during) {
      assert.ok(
        executable.length > (before?.["executable"]?.length ?? 0),
        "the mappings were there to be seen",
      );
    }
    assert.deepEqual(after, before);
  });
});
