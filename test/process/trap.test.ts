/** The default fill pattern is an instruction that traps: what runs where no code is ends at once. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { RUNS_HERE } from "../support/native-code.ts";

const skip = platform.system === "linux" && RUNS_HERE ? false : "needs Linux, and code for this processor";

describe("released memory that is filled", { skip }, () => {
  for (const useDualMapping of [true, false]) {
    test(`traps when it runs, ${useDualMapping ? "dual-mapped" : "with one view"}`, () => {
      for (const word of [0, 1, 15]) {
        const { signal, stderr } = spawnSync(
          process.execPath,
          [
            path.join(import.meta.dirname, "trap-child.js"),
            JSON.stringify({ useDualMapping }),
            word.toString(),
          ],
          // A process that a signal ends writes no coverage.
          { encoding: "utf8", env: { ...process.env, NODE_V8_COVERAGE: "" } },
        );
        assert.equal(signal, "SIGTRAP", `word ${word}: ${stderr}`);
      }
    });
  }
});
