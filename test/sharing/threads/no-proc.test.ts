/** Nothing is left of what terminated threads were mapping where there is no /proc: looked at from outside, as root. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { platform } from "../../../src/base/platform.ts";
import type { JitAllocatorOptions } from "../../../src/index.ts";
import { needs } from "../../support/requirements.ts";

const SEED = Number(process.env["THREAD_SEED"] ?? 20_261_127);
const KILLS = 30;
const child = path.join(import.meta.dirname, "no-proc-child.js");
const launch =
  platform.runtime === "deno"
    ? [process.execPath, "run", "-A", "--no-check", child]
    : [process.execPath, child];

/** Another mount namespace, in which /proc is taken away; outside it stays, and shows the process under the same number. */
const HIDING = ["--mount", "sh", "-c", 'mount --make-rprivate / && umount -l /proc && exec "$0" "$@"'];

function needsMounts(): string | false {
  const probe = spawnSync("unshare", [...HIDING, "true"], { encoding: "utf8" });
  if (probe.error !== undefined) return `there is no unshare: ${probe.error.message}`;
  return probe.status === 0 ? false : `to hide /proc needs the rights of root: ${probe.stderr.trim()}`;
}

/** What a process has mapped and open of this library, by its names. */
function heldBy(pid: number): { mappings: string[]; descriptors: string[] } {
  const isOurs = (text: string): boolean => text.includes("jit-allocator");
  const descriptors = readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`));
  return {
    mappings: readFileSync(`/proc/${pid}/maps`, "utf8")
      .split("\n")
      .filter((line) => isOurs(line) && !/\.(?:node|js)$/.test(line)),
    descriptors: descriptors.filter((target) => target.startsWith("/memfd:jit-allocator")),
  };
}

const skip = needs("linux", "termination", "withoutProc") || needsMounts();

describe("without /proc", { skip }, () => {
  for (const options of [
    { immediateRelease: true },
    { immediateRelease: true, useDualMapping: false },
  ] satisfies JitAllocatorOptions[]) {
    test(`${KILLS} workers terminated while they map leave nothing, ${JSON.stringify(options)} (seed ${SEED})`, async () => {
      const command = [...HIDING, ...launch, String(KILLS), String(SEED), JSON.stringify(options)];
      const hidden = spawn("unshare", command, {
        stdio: ["pipe", "pipe", "inherit"],
        env: { ...process.env, NODE_V8_COVERAGE: "" },
      });
      const ended = once(hidden, "exit");
      try {
        const [text] = (await Promise.race([once(hidden.stdout, "data"), ended])) as [unknown];
        const report = JSON.parse(String(text)) as { hasProc: boolean; repairs: number };
        assert.equal(report.hasProc, false);
        assert.ok(report.repairs > KILLS / 3, `${report.repairs} of them died inside an operation`);
        assert.deepEqual(heldBy(hidden.pid ?? 0), { mappings: [], descriptors: [] });
      } finally {
        hidden.stdin.end();
        await ended;
      }
    });
  }
});
