import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { mainPath, runCli, runCliInShell, startCli } from "../support/cli.ts";
import { runWithFlags, startOf } from "../support/flags.ts";
import { needs } from "../support/requirements.ts";

test("--help lists every command, on stdout", () => {
  for (const flag of ["--help", "-h"]) {
    const { status, stdout, stderr } = runCli([flag]);
    assert.equal(status, 0);
    assert.equal(stderr, "");
    for (const name of ["demo", "doctor", "replay", "view"]) assert.match(stdout, new RegExp(`^  ${name} +\\S`, "m"));
  }
});

test("--help and -h after a command print the command's own, which tells its exit codes", () => {
  for (const name of ["demo", "doctor", "replay", "view"]) {
    const { status, stdout, stderr } = runCli([name, "--help"]);
    assert.equal(status, 0);
    assert.equal(stderr, "");
    assert.match(stdout, new RegExp(`^Usage: jit-allocator ${name} `));
    assert.match(stdout, /^Exit codes: 0 [^]*,\s2 the command line\s+was wrong/m, name);
    assert.deepEqual(runCli([name, "-h"]), { status, stdout, stderr });
  }
});

test("without a command the help goes to stderr, and the exit code is 2", () => {
  const { status, stdout, stderr } = runCli([]);
  assert.equal(status, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Usage: jit-allocator/);
});

test("--version is the package's, with the runtime and how it calls native code", () => {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
  );
  assert.ok(typeof manifest === "object" && manifest !== null && "version" in manifest);
  const { runtime, runtimeVersion, system, processor } = platform;
  const { name, version } = systemFfi();
  for (const flag of ["--version", "-v"]) {
    assert.deepEqual(runCli([flag]), {
      status: 0,
      stdout: `${String(manifest.version)} (${runtime} ${runtimeVersion}, ${name} ${version}, ${system} ${processor})\n`,
      stderr: "",
    });
    const { status, stdout, stderr } = runCli([flag, "--json"]);
    assert.equal(status, 0);
    assert.equal(stderr, "");
    assert.deepEqual(JSON.parse(stdout), {
      version: manifest.version,
      runtime: { name: runtime, version: runtimeVersion },
      ffi: { name, version },
      system,
      processor,
    });
  }
});

test("what is unknown is named in one line, and the exit code is 2", () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [
      ["bake"],
      /^jit-allocator: unknown command "bake"; the commands are demo, doctor, replay, top, view \(see --help\)\n$/,
    ],
    [["--fast"], /^jit-allocator: unknown option "--fast"; /],
    [["--version", "demo"], /^jit-allocator: unexpected argument "demo" after --version\n$/],
    [["demo", "--fast"], /^jit-allocator demo: unknown option '--fast' \(see jit-allocator demo --help\)\n$/],
    [["demo", "a", "b"], /^jit-allocator demo: unexpected argument "b" \(see /],
    [["demo", "--json=yes"], /^jit-allocator demo: option '--json' does not take an argument \(see /],
    [
      ["doctor", "--jsno"],
      /^jit-allocator doctor: unknown option '--jsno' \(see jit-allocator doctor --help\)\n$/,
    ],
    [["doctor", "here"], /^jit-allocator doctor: unexpected argument "here" \(see /],
    [
      ["replay", "--foo"],
      /^jit-allocator replay: unknown option '--foo' \(see jit-allocator replay --help\)\n$/,
    ],
    [["replay"], /^jit-allocator replay: a TRACE is missing \(see /],
    [["demo", "--cells"], /^jit-allocator demo: option '--cells <value>' argument missing \(see /],
  ];
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = runCli(args);
    assert.equal(status, 2, args.join(" "));
    assert.equal(stdout, "", args.join(" "));
    assert.match(stderr, message);
  }
});

const limited =
  needs("linux", "bash") ||
  (platform.runtime === "deno" && "Deno writes files of its own, and dies of the limit before");
test("a refusal of the system is one line with its code, not a stack", { skip: limited }, () => {
  // No file may grow, and the memory that is mapped twice is one.
  const { status, stderr } = runCliInShell("ulimit -f 0; eval $CLI demo primes --no-compare > /dev/null");
  assert.equal(status, 1);
  assert.match(stderr, /^jit-allocator demo: ERR_OUT_OF_MEMORY: .*RLIMIT_FSIZE.*\n$/);
});

const noShell =
  needs("linux", "bash") || (platform.runtime === "deno" && "Deno runs a program by another command line");
test("what cannot be read or written is one line, and the exit code is 1", { skip: noShell }, () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["eval $CLI demo - < /", /^jit-allocator demo: cannot read standard input: [^\n]+\n$/],
    ["eval $CLI doctor > /dev/full", /^jit-allocator: cannot write: [^\n]+\n$/],
    ["eval $CLI --help > /dev/full", /^jit-allocator: cannot write: [^\n]+\n$/],
  ];
  for (const [script, message] of cases) {
    const { status, stderr } = runCliInShell(script);
    assert.equal(status, 1, script);
    assert.match(stderr, message, script);
  }
});

test("a reader that leaves early ends the command without complaint", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jit-allocator-"));
  try {
    const program = join(folder, "endless.bf");
    writeFileSync(program, "+[.]");
    const child = startCli(["demo", program]);
    const errors: string[] = [];
    child.stderr?.on("data", (text: Buffer) => errors.push(text.toString()));
    child.stdout?.once("data", () => child.stdout?.destroy());
    const ending: unknown[] = await once(child, "close");
    assert.deepEqual({ ending, errors: errors.join("") }, { ending: [0, null], errors: "" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("help and version are what --help and --version are", () => {
  assert.deepEqual(runCli(["help"]), runCli(["--help"]));
  assert.deepEqual(runCli(["help", "help"]), runCli(["--help"]));
  assert.deepEqual(runCli(["version"]), runCli(["--version"]));
  for (const name of ["demo", "doctor", "replay", "view"]) {
    assert.deepEqual(runCli(["help", name]), runCli([name, "--help"]));
  }
  const unknown = runCli(["help", "nothing"]);
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /unknown command "nothing"/);
});

test("FORCE_COLOR colours what goes to a file, and NO_COLOR does not hold against it", () => {
  const doctor = (variables: NodeJS.ProcessEnv): string =>
    runWithFlags([...startOf(mainPath), "doctor"], { FORCE_COLOR: "", NO_COLOR: "", ...variables }).stdout;
  assert.ok(doctor({ FORCE_COLOR: "1", NO_COLOR: "1" }).includes("\u001b[1mMachine"));
  assert.ok(!doctor({ FORCE_COLOR: "0" }).includes("\u001b"));
  assert.ok(!doctor({}).includes("\u001b"));
});
