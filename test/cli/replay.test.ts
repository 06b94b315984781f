import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { demo } from "../../src/cli/demo.ts";
import { replay } from "../../src/cli/replay.ts";
import { runCli } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "jit-allocator-replay-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function traceFile(text: string, name = "test.trace"): string {
  const path = join(folder, name);
  writeFileSync(path, name.endsWith(".gz") ? gzipSync(text) : text);
  return path;
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...args: string[]): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  const code = await replay.run(args, {
    stdout: (text) => (stdout += String(text)),
    stderr: (text) => (stderr += text),
    readStdin: () => new Uint8Array(0),
    color: false,
  });
  return { code, stdout, stderr };
}

interface Report {
  total_ms: number;
  peak_reserved: number;
  peak_used: number;
  overhead: number;
  phases: { name: string; n: number; ns: number }[];
}

async function report(...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await run(...args, "--json");
  assert.equal(stderr, "");
  assert.equal(code, 0);
  return JSON.parse(stdout) as Report;
}

/** Every kind of operation, before a phase and in two; at most 128 + 64 + 320 bytes live at once. */
const everyKind = "a 1 100\na 2 64\np second\nq 1\na 3 320\ns 3 1\nf 2\np third\nf 1\nf 3\n";

for (const api of ["address", "span"]) {
  test(`--json prints the phases of the best round and the peaks, on the ${api} API`, async () => {
    const result = await report(traceFile(everyKind), "--rounds", "3", "--api", api);
    assert.deepEqual(Object.keys(result), ["total_ms", "peak_reserved", "peak_used", "overhead", "phases"]);
    assert.deepEqual(
      result.phases.map(({ name, n }) => [name, n]),
      [
        ["all", 2],
        ["second", 4],
        ["third", 2],
      ],
    );
    // One granule of padding, and what is live when the third allocation has been made.
    assert.equal(result.peak_used, 64 + 128 + 64 + 320);
    assert.equal(result.peak_reserved, 64 * 1024);
    assert.ok(result.overhead > 0);
    const sum = result.phases.reduce((total, { n, ns }) => total + n * ns, 0);
    assert.ok(Math.abs(sum / 1e6 - result.total_ms) < 1e-4, "the total is the sum of the phases");
  });
}

test("the allocator's options are flags", async () => {
  const path = traceFile(everyKind);
  const coarse = await report(path, "--granularity", "256", "--block-size", "128K", "--no-use-dual-mapping");
  assert.equal(coarse.peak_used, 256 + 256 + 256 + 512);
  assert.equal(coarse.peak_reserved, 128 * 1024);
  const bare = await report(
    path,
    "--disable-initial-padding",
    "--fill-unused-memory",
    "--fill-pattern",
    "0xF4F4F4F4",
  );
  assert.equal(bare.peak_used, 128 + 64 + 320);
  const pools = await report(path, "--use-multiple-pools", "--immediate-release");
  // 128 B belongs to the second pool, so that two blocks are needed.
  assert.equal(pools.peak_reserved, 2 * 64 * 1024);
});

test("a peak in the middle of a trace is found", async () => {
  let text = "";
  for (let id = 0; id < 3000; id++) text += `a ${id} 64\n`;
  for (let id = 0; id < 3000; id++) text += `f ${id}\n`;
  text += "a 1 64\n";
  const result = await report(traceFile(text), "--rounds", "1");
  assert.ok(result.peak_used >= 3000 * 64);
  assert.ok(result.peak_reserved >= result.peak_used);
});

test("a gzipped trace, and the table for people", async () => {
  const { code, stdout } = await run(traceFile(everyKind, "test.trace.gz"), "--rounds", "1");
  assert.equal(code, 0);
  assert.match(stdout, /^8 operations on the address API, best of 1 round: /);
  assert.match(stdout, /\nsecond +4 /);
  assert.match(stdout, /\npeak reserved +65,536 bytes\n/);
});

test("an empty trace has nothing to show, and is no error", async () => {
  const result = await report(traceFile("# nothing\n"));
  assert.deepEqual(result, { total_ms: 0, peak_reserved: 0, peak_used: 0, overhead: 0, phases: [] });
});

test("a line that cannot be run is named: on stderr, or in the JSON", async () => {
  const path = traceFile("a 1 64\nf 1\nf 1\n");
  const message = `${path}: line 3: ID 1 was released already`;
  const stderr = `jit-allocator replay: ${message}\n`;
  assert.deepEqual(await run(path), { code: 1, stdout: "", stderr });
  const inJson = await run(path, "--json");
  assert.deepEqual(
    { ...inJson, stdout: JSON.parse(inJson.stdout) as unknown },
    {
      code: 1,
      stdout: { error: { message } },
      stderr: "",
    },
  );
});

test("an operation that the allocator refuses is named by its line", async () => {
  const grown = traceFile("# c\na 1 64\np x\ns 1 65\n");
  const shrink = await run(grown);
  assert.equal(shrink.code, 1);
  assert.ok(shrink.stderr.startsWith(`jit-allocator replay: ${grown}: line 4: `), shrink.stderr);

  const large = traceFile("a 1 64\na 2 1000000\n", "large.trace");
  const full = await run(large, "--max-reserved-size", "512K", "--api", "span");
  assert.equal(full.code, 1);
  assert.ok(full.stderr.startsWith(`jit-allocator replay: ${large}: line 2: `), full.stderr);
  assert.equal(full.stdout, "");
});

test("a wrong command line ends with 2 and says what is wrong", () => {
  const path = traceFile(everyKind);
  for (const [args, reason] of [
    [[], /TRACE is missing/],
    [[path, path], /unexpected argument/],
    [[path, "--rounds", "0"], /--rounds/],
    [[path, "--rounds", "many"], /--rounds/],
    [[path, "--api", "both"], /--api/],
    [[path, "--granularity", "few"], /--granularity takes a number/],
    [[path, "--use-dual-mapping", "--no-use-dual-mapping"], /contradict/],
    [[path, "--no-such-flag"], /no-such-flag/],
    [[path, "--block-size", "100"], /./],
  ] as const) {
    const { status, stdout, stderr } = runCli(["replay", ...args]);
    assert.equal(status, 2, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /^jit-allocator replay: .*\n$/, "one line");
    assert.match(stderr, reason);
  }
});

test("a file that is not there, or not what its name says, ends with 1", async () => {
  const missing = join(folder, "missing.trace");
  assert.deepEqual(await run(missing), {
    code: 1,
    stdout: "",
    stderr: `jit-allocator replay: cannot read ${missing}: ENOENT: no such file or directory\n`,
  });
  const path = join(folder, "plain.trace.gz");
  writeFileSync(path, "a 1 64\n");
  const plain = await run(path);
  assert.equal(plain.code, 1);
  assert.ok(plain.stderr.startsWith(`jit-allocator replay: ${path}: not a gzip file`), plain.stderr);
});

test("--help names every flag", async () => {
  const { code, stdout } = await run("--help");
  assert.equal(code, 0);
  for (const flag of ["--rounds", "--api", "--json", "--no-use-dual-mapping", "--max-reserved-size"]) {
    assert.ok(stdout.includes(flag), flag);
  }
});

test("- reads the trace from standard input, as text or gzip", () => {
  const text = runCli(["replay", "-", "--json", "--rounds", "1"], everyKind);
  assert.equal(text.status, 0, text.stderr);
  assert.match(text.stdout, /"name":"third","n":2,/);
  const packed = runCli(["replay", "--json", "--rounds", "1", "-"], gzipSync(everyKind));
  assert.equal(packed.status, 0, packed.stderr);
  assert.match(packed.stdout, /"name":"third","n":2,/);
  const wrong = runCli(["replay", "-"], "a 1 64\nf 2\n");
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /^jit-allocator replay: standard input: line 2: /);
});

test("- where standard input is a terminal says so, instead of waiting or running nothing", async () => {
  let stderr = "";
  const io = {
    stdout: () => undefined,
    stderr: (text: string) => void (stderr += text),
    readStdin: () => assert.fail("it is a terminal"),
    isStdinTerminal: true,
    color: false,
  };
  for (const [command, args] of [
    [replay, ["-"]],
    [demo, ["-"]],
    [demo, ["--input", "-", "hello"]],
  ] as const) {
    stderr = "";
    assert.equal(await command.run(args, io), 1);
    assert.match(stderr, /: standard input is a terminal; pipe something into it, or name a file\n$/);
  }
});
