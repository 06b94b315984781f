/** What a process is told that may not call native code, or not make functions from text. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { platform, type RuntimeName } from "../../src/base/platform.ts";
import { NODE_PERMISSION_FLAG, runWithFlags } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

const skip = needs("machineCode");
const child = fileURLToPath(new URL("./permission-child.js", import.meta.url));

/** Flags, and what the child then prints. */
type Case = readonly [flags: readonly string[], prints: RegExp];

const cases: Readonly<Record<RuntimeName, readonly Case[]>> = {
  node: [
    [[NODE_PERMISSION_FLAG, "--allow-fs-read=*"], /^JitError ERR_FEATURE_NOT_ENABLED .*--allow-addons/],
    [[NODE_PERMISSION_FLAG, "--allow-fs-read=*", "--allow-addons"], /^1000$/m],
    [["--no-addons"], /^JitError ERR_FEATURE_NOT_ENABLED .*--no-addons/],
    [["--disallow-code-generation-from-strings"], /^1000$/m],
  ],
  bun: [],
  deno: [
    [["run", "--no-prompt"], /^JitError ERR_FEATURE_NOT_ENABLED .*--allow-ffi/],
    [
      ["run", "--no-prompt", "--allow-ffi=/lib/libc.so.6"],
      /^JitError ERR_FEATURE_NOT_ENABLED .*without a path/,
    ],
    [["run", "--no-prompt", "--allow-ffi"], /^1000$/m],
    [["run", "--allow-all", "--v8-flags=--disallow-code-generation-from-strings"], /^1000$/m],
  ],
};

describe("a process started with", { skip }, () => {
  for (const [flags, prints] of cases[platform.runtime]) {
    it(flags.join(" "), () => {
      const { stdout, stderr } = runWithFlags([...flags, child]);
      assert.match(stdout, prints, stderr);
    });
  }
  it("nothing: it works", () => {
    const { stdout, stderr } = spawnSync(process.execPath, [child], { encoding: "utf8" });
    assert.match(stdout, /^1000$/m, stderr);
  });
});
