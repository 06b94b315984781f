/** What stands in the way of a range, met for real, each in a process of its own: the rung that is taken then. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { needs } from "../support/requirements.ts";

const skip = needs("linux", "signals");
const child = path.join(import.meta.dirname, "range-child.js");
const MiB = 2 ** 20;

function run(scenario: string, before: readonly string[] = []): unknown {
  const [command, ...args] = [...before, process.execPath, ...process.execArgv, "--jitless", child, scenario];
  const result = spawnSync(command, args, {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout);
}

const NO_RANGE = { rangeSize: 0, maxReservedSize: 2048 * MiB };

describe("the rungs of one range", { skip }, () => {
  test("nothing in the way: 2 GiB", () => {
    assert.deepEqual(run("nothing"), { rangeSize: 2048 * MiB, maxReservedSize: 2048 * MiB });
  });

  test("few addresses (RLIMIT_AS): less, which the options say", () => {
    const { rangeSize, maxReservedSize } = run("addresses") as typeof NO_RANGE;
    assert.ok(rangeSize >= 64 * MiB && rangeSize <= 256 * MiB, String(rangeSize));
    assert.equal(maxReservedSize, rangeSize);
  });

  test("few addresses, of which a range was kept: the next allocator has that one", () => {
    const { rangeSize } = run("addresses-again") as typeof NO_RANGE;
    assert.ok(rangeSize >= 64 * MiB && rangeSize <= 256 * MiB, String(rangeSize));
  });

  test("too few: ERR_OUT_OF_MEMORY, which names the limit and the way out", () => {
    const { code, message } = run("no-addresses") as { code: string; message: string };
    assert.equal(code, "ERR_OUT_OF_MEMORY");
    assert.match(message, /RLIMIT_AS.*useRange: false/);
  });

  for (const [scenario, what] of [
    ["file-size", "files may not grow to 64 MiB (RLIMIT_FSIZE)"],
    ["memfd", "a filter refuses memfd_create (seccomp)"],
    ["remove", "a filter refuses MADV_REMOVE (seccomp)"],
    [
      "execute",
      "a filter refuses mprotect that adds execution (seccomp, as MemoryDenyWriteExecute of systemd)",
    ],
  ] as const) {
    test(`${what}: blocks are mapped one by one`, () => assert.deepEqual(run(scenario), NO_RANGE));
  }

  for (const scenario of ["mdwe", "mdwe-later"]) {
    test(`mprotect may not add execution (PR_SET_MDWE, ${scenario}): blocks are mapped one by one`, (context) => {
      const seen = run(scenario);
      if (typeof seen === "object" && seen !== null && "refused" in seen) {
        context.skip("this kernel does not have it (Linux 6.3)");
        return;
      }
      assert.deepEqual(seen, NO_RANGE);
    });
  }

  const hide = ["--mount", "sh", "-c", 'mount --make-rprivate / && umount -l /proc && exec "$0" "$@"'];
  const isRoot = skip === false && spawnSync("unshare", [...hide, "true"]).status === 0;
  test(
    "no /proc: blocks are mapped one by one",
    { skip: isRoot ? needs("withoutProc") : "to hide /proc needs the rights of root" },
    () => assert.deepEqual(run("nothing", ["unshare", ...hide]), NO_RANGE),
  );

  test("near free addresses, with one view", () => {
    assert.deepEqual(run("near"), { rangeSize: 2048 * MiB, maxReservedSize: 2048 * MiB });
  });

  for (const scenario of ["sealed-without-mseal", "sealed-without-range"] as const) {
    test(`${scenario}: ERR_FEATURE_NOT_ENABLED with the reason and the way out, never unsealed`, () => {
      const { code, message } = run(scenario) as { code: string; message: string };
      assert.equal(code, "ERR_FEATURE_NOT_ENABLED");
      assert.match(
        message,
        scenario === "sealed-without-mseal" ? /mseal: ENOSYS/ : /memfd_create: ENOSYS|mseal/,
      );
      assert.match(message, /leave `sealed` out/);
    });
  }

  test("near an address, and no range: ERR_FEATURE_NOT_ENABLED with the reason, never silently elsewhere", () => {
    const { code, message } = run("near-without") as { code: string; message: string };
    assert.equal(code, "ERR_FEATURE_NOT_ENABLED");
    assert.match(message, /memfd_create: ENOSYS/);
  });
});
