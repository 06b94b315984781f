import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { renderBlockMap } from "../../src/cli/block-map.ts";
import type { CommandIo } from "../../src/cli/command.ts";
import { demo } from "../../src/cli/demo.ts";
import { platform } from "../../src/base/platform.ts";
import { runCli, startCli } from "../support/cli.ts";
import { needs } from "../support/requirements.ts";

const folder = mkdtempSync(join(tmpdir(), "jit-allocator-"));
after(() => rmSync(folder, { recursive: true }));

function programFile(source: string): string {
  const path = join(folder, "program.bf");
  writeFileSync(path, source);
  return path;
}

test("the program's output goes to stdout, the report to stderr", () => {
  const { status, stdout, stderr } = runCli(["demo", "primes"]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^2\n3\n5\n(\d+\n)+251\n$/);
  assert.match(stderr, /^compiled +\d+ functions?, [\d,]+ bytes of \w+ code$/m);
  assert.match(stderr, /^asked +[\d,]+ bytes$/m);
  assert.match(stderr, /^kept +[\d,]+ bytes after the shrink \(\d+%\)$/m);
  assert.match(stderr, /^with compiler +[\d.]+ ms \([\d.]+ times as fast\)$/m);
  assert.match(stderr, /^interpreted +[\d.]+ ms$/m);
  assert.match(stderr, /^block 1: 65,536 bytes in granules of 64, \d+ allocations?, /m);
  assert.match(stderr, /^ {2}[█▌]+·/m);
  assert.ok(!stderr.includes("\u001b"), "no colour where there is no terminal");
});

test("without a program it runs the heavy one", () => {
  const { status, stdout, stderr } = runCli(["demo", "--no-compare"]);
  assert.equal(status, 0, stderr);
  assert.equal(stdout.split("\n").length, 24);
  assert.match(stderr, /^interpreted +not run$/m);
});

test("with a budget of a tenth of its code it prints the same picture", () => {
  const { stdout: picture, stderr: report } = runCli(["demo", "--no-compare"]);
  const codeBytes = Number(/^compiled +.*, ([\d,]+) bytes of/m.exec(report)?.[1]?.replaceAll(",", "") ?? 0);
  if (codeBytes === 0) return; // no back end here: nothing is compiled
  const budget = Math.floor(codeBytes / 10);
  const { status, stdout, stderr } = runCli(["demo", "--no-compare", "--code-budget", `${budget}`]);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, picture);
  const told =
    /^budget +([\d,]+) bytes of code at the most: ([\d,]+) functions compiled, (\d+) evicted/m.exec(stderr);
  const [peak = NaN, compiled = NaN, evicted = NaN] = (told ?? [])
    .slice(1)
    .map((text) => Number(text.replaceAll(",", "")));
  assert.ok(peak > 0 && peak <= budget, stderr);
  assert.ok(compiled > 10 && evicted > 10, stderr);
});

test("bytes pass through unchanged, from standard input or a file", () => {
  const bytes = Buffer.from([0xff, 0xc3, 0x28, 0x80, 0x0a]);
  const echo = programFile(",[.,]");
  const expected = bytes.toString("utf8");
  assert.equal(runCli(["demo", echo], bytes).stdout, expected);
  const input = join(folder, "input");
  writeFileSync(input, bytes);
  assert.equal(runCli(["demo", "--input", input, echo], "not this").stdout, expected);
});

test("- reads the program from standard input", () => {
  const { status, stdout } = runCli(["demo", "-"], "++++++++[>++++++++<-]>+.,.");
  assert.equal(status, 0);
  assert.equal(stdout, "A\0");
});

test("--input - is standard input, which cannot be the program too", () => {
  assert.equal(runCli(["demo", "--input", "-", programFile(",[.,]")], "abc").stdout, "abc");
  const both = runCli(["demo", "--input", "-", "-"], ",.");
  assert.equal(both.status, 2);
  assert.match(both.stderr, /cannot be both/);
});

test("--json prints one document with everything in it", () => {
  const { status, stdout, stderr } = runCli(["demo", "--json", "primes"]);
  assert.equal(status, 0);
  assert.equal(stderr, "");
  const document: unknown = JSON.parse(stdout);
  assert.ok(typeof document === "object" && document !== null);
  const found = Object.fromEntries(Object.entries(document).map(([key, value]) => [key, typeof value]));
  assert.deepEqual(found, {
    program: "string",
    cells: "number",
    output: "string",
    end: "string",
    backend: "string",
    functions: "number",
    askedBytes: "number",
    codeBytes: "number",
    keptBytes: "number",
    compiledMs: "number",
    interpretedMs: "number",
    speedup: "number",
    blocks: "object",
  });
  const blocks = "blocks" in document && Array.isArray(document.blocks) ? (document.blocks as unknown[]) : [];
  assert.equal(blocks.length, 1);
  const [{ granules, allocationCount, usedSize }] = blocks as [Record<string, unknown>];
  assert.match(String(granules), /^[012]+0$/);
  // Each allocation has an end, and so has the padding at the start of the block.
  assert.equal(Number(allocationCount) + 1, String(granules).split("2").length - 1);
  assert.equal(Number(usedSize), 64 * String(granules).replaceAll("0", "").length);
});

test("a program at fault is named with line and column, and the exit code is 1", () => {
  const unbalanced = programFile("++\n [>\n");
  const { status, stdout, stderr } = runCli(["demo", unbalanced]);
  assert.deepEqual({ status, stdout }, { status: 1, stdout: "" });
  assert.equal(stderr, `jit-allocator demo: ${unbalanced}:2:2: this "[" is never closed\n`);

  // Hot long before it fails: the compiled code notices.
  const offTape = programFile("+[>+\n]");
  const failed = runCli(["demo", "--cells", "5000", offTape]);
  assert.equal(failed.status, 1);
  assert.match(
    failed.stderr,
    /program\.bf:1:3: the pointer leaves the tape to the right \(the tape has 5000 cells/,
  );

  const document: unknown = JSON.parse(runCli(["demo", "--json", offTape]).stdout);
  assert.ok(typeof document === "object" && document !== null && "error" in document && "end" in document);
  assert.equal(document.end, "error");
  assert.ok(typeof document.error === "object" && document.error !== null);
  assert.deepEqual({ ...document.error, message: "" }, { message: "", line: 1, column: 3 });
});

test("a file that cannot be read is exit code 1, a wrong number 2", () => {
  const missing = runCli(["demo", join(folder, "missing.bf")]);
  assert.equal(missing.status, 1);
  assert.match(
    missing.stderr,
    /^jit-allocator demo: cannot read .*missing\.bf: ENOENT: no such file or directory\n$/,
  );
  assert.equal(runCli(["demo", folder]).status, 1);
  for (const cells of ["0", "1048577", "ten", "1e3", "-5"]) {
    const { status, stderr } = runCli(["demo", `--cells=${cells}`]);
    assert.equal(status, 2, cells);
    assert.match(stderr, /--cells takes a whole number from 1 to 1048576, not "/);
  }
});

test("Ctrl-C ends a program that would never end, with a report", { skip: needs("signals") }, async () => {
  const child = startCli(["demo", programFile("+[.]")]);
  const errors: string[] = [];
  child.stderr?.on("data", (text: Buffer) => errors.push(text.toString()));
  child.stdout?.once("data", () => child.kill("SIGINT"));
  child.stdout?.resume();
  const [status, signal] = (await once(child, "close")) as [number | null, string | null];
  // Deno tells of a child that ended with 130 what a shell would conclude.
  assert.ok(status === 130 || (platform.runtime === "deno" && signal === "SIGINT"), `${status} ${signal}`);
  assert.match(errors.join(""), /^with compiler +[\d.]+ ms, then interrupted$/m);
});

test("--help says what every option does, and needs nothing else", () => {
  const { status, stdout } = runCli(["demo", "--help", "no-such-program"]);
  assert.equal(status, 0);
  for (const option of ["--input", "--cells", "--no-compare", "--json"]) assert.ok(stdout.includes(option));
});

test("the report is coloured where stderr is a terminal that shows it", async () => {
  const errors: string[] = [];
  const io: CommandIo = {
    stdout: () => undefined,
    stderr: (text) => void errors.push(text),
    readStdin: () => new Uint8Array(0),
    color: false,
    stderrColor: true,
  };
  assert.equal(await demo.run(["hello"], io), 0);
  assert.ok(errors.join("").includes("\u001b[1mcompiled"));
});

test("a block map shows each granule, and where allocations end", () => {
  const granules = new Uint8Array(130).fill(0);
  granules.set([2, 1, 1, 2, 2], 0);
  granules.set([1, 2], 63);
  granules[129] = 2;
  const block = { size: 130 * 64, granularity: 64, allocationCount: 4, usedSize: 8 * 64, granules };
  assert.equal(
    renderBlockMap(block, "block 7"),
    "block 7: 8,320 bytes in granules of 64, 4 allocations, 512 bytes used; 1 granule per character\n" +
      `  ▌██▌▌${"·".repeat(58)}█\n` +
      `  ▌${"·".repeat(63)}\n` +
      "  ·▌\n",
  );
});

test("in the map of a large block a character stands for several granules", () => {
  const granules = new Uint8Array(4096).fill(0);
  granules.fill(1, 0, 6);
  const block = { size: 4096 * 64, granularity: 64, allocationCount: 1, usedSize: 6 * 64, granules };
  const lines = renderBlockMap(block, "block 1").trimEnd().split("\n");
  assert.match(lines[0] ?? "", /1 allocation, 384 bytes used; 4 granules per character$/);
  assert.equal(lines.length, 17);
  assert.equal(lines[1], `  █▒${"·".repeat(62)}`);
});
