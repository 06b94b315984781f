/** `jit-allocator top`: what it prints, and what it does to a terminal. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { UsageError } from "../../src/cli/args.ts";
import { top } from "../../src/cli/top.ts";
import { JitAllocator, type HeapSnapshot } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { mainPath, runCli } from "../support/cli.ts";
import { onTerminal, type OnTerminal } from "../support/pseudo-terminal.ts";
import { needs } from "../support/requirements.ts";
import { startViewed, type ViewedProgram } from "../support/viewed-program.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-top-"));
after(() => rmSync(folder, { recursive: true }));

/** Runs the command in this process. */
async function run(...args: readonly string[]): Promise<{ stdout: string; stderr: string; status: number }> {
  const said = { stdout: "", stderr: "", status: 0 };
  try {
    said.status = await top.run(args, {
      stdout: (text) => void (said.stdout += String(text)),
      stderr: (text) => void (said.stderr += text),
      readStdin: () => new Uint8Array(0),
      color: false,
    });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { ...said, stderr: error.message, status: 2 };
  }
  return said;
}

describe("top without a terminal", () => {
  const file = path.join(folder, "snapshot.json");
  before(() => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    for (const [index, size] of [64, 4096, 256].entries()) allocator.alloc(size, { name: `fn_${index}` });
    writeFileSync(file, JSON.stringify(allocator.snapshot()));
  });

  test("prints a snapshot that is in a file", async () => {
    const { stdout, status } = await run(file);
    assert.equal(status, 0);
    assert.match(stdout, /^jit-allocator, process \d+/);
    assert.match(stdout, /3 allocations, 4,480 bytes of 65,536 bytes used/);
    assert.match(stdout, /^0x2000_0000_0000 .*[█▒▌].*·/m);
    assert.deepEqual([...stdout.matchAll(/fn_\d/g)].flat(), ["fn_1", "fn_2", "fn_0"], "by size");
    const byName = await run(file, "--sort", "name");
    assert.deepEqual([...byName.stdout.matchAll(/fn_\d/g)].flat(), ["fn_0", "fn_1", "fn_2"]);
    // eslint-disable-next-line no-control-regex -- there is to be none
    assert.doesNotMatch(stdout, /\x1b/);
  });

  test("prints it as JSON", async () => {
    const { stdout } = await run(file, "--json");
    assert.equal((JSON.parse(stdout) as HeapSnapshot).spans.length, 3);
  });

  test("says what is wrong", async () => {
    writeFileSync(path.join(folder, "other.json"), '{"schema":"another"}');
    writeFileSync(path.join(folder, "none.json"), "{");
    const wrong: readonly (readonly [readonly string[], number, RegExp])[] = [
      [[path.join(folder, "missing")], 1, /cannot read .*missing: ENOENT/],
      [
        [path.join(folder, "other.json")],
        1,
        /cannot read .*other\.json: it is no snapshot: its "schema" is "another"/,
      ],
      [[path.join(folder, "none.json")], 1, /cannot read .*none\.json: it is no JSON/],
      [[], 2, /either a PATH or --pid/],
      [[file, "--pid", "1"], 2, /either a PATH or --pid/],
      [["--pid", "x"], 2, /--pid takes a whole number/],
      [[file, "--sort", "color"], 2, /--sort takes size, name, address, age/],
      [[file, "--interval", "1"], 2, /--interval takes/],
      [["--pid", "2147483646"], 1, /the environment of process 2147483646/],
    ];
    for (const [args, code, message] of wrong) {
      const { stderr, status } = await run(...args);
      assert.equal(status, code, stderr);
      assert.match(stderr, message);
    }
    const snapshot = JSON.parse(readFileSync(file, "utf8")) as HeapSnapshot;
    const { statistics, spans } = snapshot;
    const faulty: readonly (readonly [object, RegExp])[] = [
      [{ takenAt: undefined }, /does not say when/],
      [{ process: {} }, /does not say when/],
      [{ statistics: { ...statistics, usedSize: "1" } }, /does not say when/],
      [{ blocks: [null] }, /block 0 is not/],
      [{ spans: [...spans, null] }, /span 3 is not/],
      [{ spans: [{ ...spans[0], block: 1 }] }, /span 0 is not/],
      [{ schema: "\u009b31m\u202e" }, /"schema" is "\?31m\?"/],
      [{ error: { message: "\x1b[31m" } }, /has no snapshot: \?\[31m/],
    ];
    for (const [part, message] of faulty) {
      writeFileSync(path.join(folder, "faulty.json"), JSON.stringify({ ...snapshot, ...part }));
      const { stderr, status } = await run(path.join(folder, "faulty.json"));
      assert.equal(status, 1);
      assert.match(stderr, message);
    }
    const { stdout, status } = await run(path.join(folder, "missing"), "--json");
    assert.equal(status, 1);
    assert.match((JSON.parse(stdout) as { error: { message: string } }).error.message, /ENOENT/);
  });
});

describe("top of a running program", { skip: needs("linux", "machineCode") }, () => {
  const file = path.join(folder, "a.sock");
  let program: ViewedProgram;
  before(async () => {
    program = await startViewed("wait", file, [file, path.join(folder, "a-2.sock")]);
  });
  after(() => program.end());

  test("prints what is there, by path and by process", async () => {
    for (const args of [[file], ["--pid", String(program.pid)]]) {
      const { stdout, stderr, status } = await run(...args);
      assert.equal(status, 0, stderr);
      assert.match(stdout, new RegExp(`process ${program.pid} .*\n2 allocations`));
      assert.match(stdout, /1,024 {2}code {7}first\?\[31m\n.* 512 {2}constants {2}table$/m);
    }
    assert.match(runCli(["top", path.join(folder, "a-2.sock")]).stdout, /other/);
    const { stderr, status } = await run("--pid", String(process.pid));
    assert.equal(status, 1);
    assert.match(stderr, /was started without JIT_ALLOCATOR_VIEW=PATH/);
  });

  test("says that a program does not answer, and does not wait for ever", async () => {
    const stopped = path.join(folder, "stopped.sock");
    const other = await startViewed("wait", stopped, [stopped]);
    other.process.kill("SIGSTOP");
    try {
      for (const args of [[stopped], ["--pid", String(other.pid)], [stopped, "--json"]]) {
        const { stdout, stderr, status } = await run(...args, "--interval", "50");
        assert.equal(status, 1);
        assert.match(stderr, /^jit-allocator top: no answer yet: the program is busy\n/);
        assert.match(args.includes("--json") ? stdout : stderr, /no answer in 0\.5 s/);
      }
    } finally {
      other.process.kill("SIGCONT");
      await other.end();
    }
  });

  describe("on a terminal", { skip: needs("pseudoTerminal") }, () => {
    const TAKEN = "\x1b[?1049h";
    const GIVEN_BACK = "\x1b[?1049l";

    function start(name = file): OnTerminal {
      return onTerminal(process.execPath, [mainPath, "top", name, "--interval", "50"]);
    }

    async function endOf(screen: OnTerminal, status: number): Promise<void> {
      const all = await screen.ended;
      assert.ok(all.includes(TAKEN));
      assert.ok(all.lastIndexOf(GIVEN_BACK) > all.lastIndexOf("\x1b[H"), "the terminal is as it was");
      assert.match(all, new RegExp(`\nstatus ${status}$`));
    }

    test("draws again and again, takes keys and another size, and quits", async () => {
      const screen = start();
      await screen.until("2 allocations, by size");
      await screen.until("2 allocations, by size");
      screen.press("n");
      await screen.until("by name");
      screen.press("r");
      await screen.until("by name, reversed");
      screen.press("++++++++");
      await screen.until(/1 of 2 allocations|0 of 2 allocations/);
      screen.press("0h");
      await screen.until("Ctrl-C");
      screen.press("h");
      await screen.until("by name");
      screen.resize(12, 40);
      const small = await screen.until("…");
      const frame = small.slice(small.lastIndexOf("\x1b[H"));
      // eslint-disable-next-line no-control-regex -- what commands a terminal is left out
      const lines = frame.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, "").split(/\r*\n/);
      assert.ok(lines.length <= 12 && lines.every((line) => line.length <= 40), lines.join("\n"));
      screen.press("q");
      await endOf(screen, 0);
    });

    test("gives the terminal back at Ctrl-C", async () => {
      const screen = start();
      await screen.until("by size");
      screen.press("\x03");
      await endOf(screen, 0);
    });

    test("says that there is no answer before the first one too, and takes keys", async () => {
      const stopped = path.join(folder, "stopped-too.sock");
      const other = await startViewed("wait", stopped, [stopped]);
      other.process.kill("SIGSTOP");
      try {
        const screen = start(stopped);
        await screen.until("no answer yet");
        screen.press("h");
        await screen.until("Ctrl-C");
        other.process.kill("SIGCONT");
        await screen.until(`process ${other.pid}`);
        screen.press("h");
        await screen.until("by size");
        screen.press("q");
        await endOf(screen, 0);
        other.process.kill("SIGSTOP");
        const impatient = start(stopped);
        await impatient.until("no answer yet");
        impatient.press("q");
        await endOf(impatient, 0);
      } finally {
        other.process.kill("SIGCONT");
        await other.end();
      }
    });

    test("ends with the program, and says so", async () => {
      const other = path.join(folder, "ending.sock");
      const ending = await startViewed("wait", other, [other]);
      const screen = start(other);
      await screen.until("by size");
      await ending.kill();
      await screen.until("has ended");
      await endOf(screen, 0);
      const { stderr, status } = await run(other);
      assert.equal(status, 1);
      assert.match(stderr, /the program behind .*ending\.sock has ended/);
    });
  });
});
