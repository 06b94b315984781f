/** Which files a trace is written to, what becomes of what is there already, and what is in them when something fails. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, beforeEach, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { readTrace } from "../../src/cli/trace.ts";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { runCliInEnvironment } from "../support/cli.ts";
import { runToEnd, type Ended } from "../support/ended.ts";
import { throwsJitError } from "../support/expectations.ts";
import { needs } from "../support/requirements.ts";

const top = mkdtempSync(path.join(tmpdir(), "jit-allocator-trace-files-"));
after(() => rmSync(top, { recursive: true }));

const child = path.join(import.meta.dirname, "trace-files-child.js");
const skip = needs("machineCode");

let folder = top;
let count = 0;
beforeEach(() => mkdirSync((folder = path.join(top, String(++count)))));

/** Runs a program that the environment tells where to record. */
function runTraced(file: string, how = "one"): Ended {
  return runToEnd(process.execPath, [child, how], { env: { ...process.env, JIT_ALLOCATOR_TRACE: file } });
}

/** Runs a program that the shell has something to say about before; `$CHILD` is the program. */
function runInShell(script: string, variables: Readonly<Record<string, string>> = {}): Ended {
  const environment = { ...process.env, CHILD: `"${process.execPath}" "${child}"`, NODE_V8_COVERAGE: "" };
  return runToEnd("bash", ["-c", script], { env: { ...environment, ...variables } });
}

function header(pid: number | string, start: string): string {
  return `# jit-allocator trace 1\n# options {}\n# process ${pid} 1x1x1 5${start}\n`;
}

describe("a file that something is at already", () => {
  test("is refused where it is no file, and a link is", { skip: needs("linux") }, () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const fifo = path.join(folder, "fifo");
    spawnSync("mkfifo", [fifo]);
    const link = path.join(folder, "link");
    symlinkSync("target", link);
    for (const place of [fifo, link, folder]) {
      const before = lstatSync(place);
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.record(place));
      assert.equal(lstatSync(place).ino, before.ino);
    }
    assert.deepEqual(readdirSync(folder).sort(), ["fifo", "link"]);
  });

  test("is refused where it is recorded into, in any spelling", () => {
    const file = path.join(folder, "x.trace");
    const [one, other] = [0, 1].map(() => new JitAllocator({}, new SimulatedMemory()));
    assert.ok(one !== undefined && other !== undefined);
    using recording = one.record(file);
    for (const spelling of [file, `${folder}/./x.trace`, path.relative(process.cwd(), file)])
      for (const allocator of [one, other])
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.record(spelling));
    one.alloc(64);
    assert.match(readFileSync(file, "utf8"), /\na \d+ 64\n/);
    assert.ok(Symbol.dispose in recording);
  });

  test("by the environment is left alone where it is no trace", { skip }, () => {
    const notes = path.join(folder, "notes.txt");
    const packed = path.join(folder, "x.gz");
    for (const [file, text] of [
      [notes, "kept"],
      [packed, "kept, and no gzip"],
      [path.join(folder, "by-hand.trace"), "a 1 64\n"],
    ] as const) {
      writeFileSync(file, text);
      const { status, stderr } = runTraced(file);
      assert.equal(status, 0);
      assert.match(stderr, /\[JIT_ALLOCATOR_TRACE\].*Nothing is recorded: .* what is there is no trace/);
      assert.equal(readFileSync(file, "utf8"), text);
    }
    assert.equal(readdirSync(folder).length, 3);
  });

  test(
    "by the environment is left alone where it is no file",
    { skip: needs("linux", "machineCode") },
    () => {
      const fifo = path.join(folder, "fifo");
      spawnSync("mkfifo", [fifo]);
      const link = path.join(folder, "link");
      symlinkSync("/dev/null", link);
      for (const file of [fifo, link]) {
        const before = lstatSync(file);
        const { status, stderr } = runTraced(file);
        assert.equal(status, 0);
        assert.match(stderr, /Nothing is recorded: .*it is no file/);
        assert.equal(lstatSync(file).ino, before.ino);
      }
    },
  );

  test(
    "by the environment is replaced where it is empty, or a trace that nobody records into",
    { skip },
    () => {
      for (const text of ["", "# jit-allocator trace 7\nof another version", header(0x7fff_fff0, "")]) {
        const file = path.join(folder, "x.trace");
        writeFileSync(file, text);
        assert.equal(runTraced(file).stderr, "");
        assert.match(readFileSync(file, "utf8"), /^# jit-allocator trace 1\n[^]*\na \d+ 64\n/);
      }
      assert.equal(readdirSync(folder).length, 1);
    },
  );

  test(
    "is kept where its program runs, and not where only its number does",
    { skip: needs("linux", "machineCode") },
    () => {
      const stat = readFileSync(`/proc/${process.pid}/stat`, "utf8");
      const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
      const file = path.join(folder, "x.trace");
      for (const [number, own] of [
        [2, ` ${start}`],
        [2, ""],
        [1, " 1"],
      ] as const) {
        writeFileSync(file, header(process.pid, own));
        assert.equal(runTraced(file).stderr, "");
        assert.equal(existsSync(path.join(folder, "x-2.trace")), number === 2, own);
        rmSync(path.join(folder, "x-2.trace"), { force: true });
      }
      // The program itself has the number: a shell becomes it.
      const { status, stderr } = runInShell(
        `printf '${header("%d", " 1").replaceAll("\n", String.raw`\n`)}' $$ > "$JIT_ALLOCATOR_TRACE"; eval exec $CHILD one`,
        { JIT_ALLOCATOR_TRACE: file },
      );
      assert.deepEqual([status, stderr], [0, ""]);
      assert.match(readFileSync(file, "utf8"), /\na \d+ 64\n/);
      assert.deepEqual(readdirSync(folder), ["x.trace"]);
    },
  );
});

describe("files of allocators that are made at the same time", { skip }, () => {
  for (const left of ["nothing", "a trace", "an empty file"]) {
    test(`are one for each, where there was ${left}`, () => {
      const file = path.join(folder, "x.trace");
      if (left !== "nothing") writeFileSync(file, left === "a trace" ? header(0x7fff_fff0, "") : "");
      assert.equal(runTraced(file, "together").stderr, "");
      const traces = readdirSync(folder).map((name) => readFileSync(path.join(folder, name), "utf8"));
      // Where two take the same place at once, the later one takes the next number.
      const recorded = traces.filter((text) => /\na \d+ 64\n/.test(text));
      assert.equal(recorded.length, 6);
      assert.equal(new Set(recorded).size, 6);
      assert.ok(readdirSync(folder).every((name) => name.endsWith(".trace")));
    });
  }

  test("pass over what is being taken, and what is left of that goes", () => {
    const file = path.join(folder, "x.trace");
    writeFileSync(`${file}.lock`, `${process.pid} \n`);
    assert.equal(runTraced(file).stderr, "");
    assert.deepEqual(readdirSync(folder).sort(), ["x-2.trace", "x.trace.lock"]);
    writeFileSync(`${file}.lock`, "2147483632 \n");
    runTraced(file);
    assert.deepEqual(readdirSync(folder).sort(), ["x-2.trace"]);
    runTraced(file);
    assert.deepEqual(readdirSync(folder).sort(), ["x-2.trace", "x.trace"]);
  });
});

test("many files take no more reads than there are files", { skip }, () => {
  const { stdout, stderr } = runTraced(path.join(folder, "x.trace"), "many");
  assert.equal(stderr, "");
  assert.equal(readdirSync(folder).length, 40);
  assert.ok(Number(stdout) <= 80, stdout);
});

test("what is done when the program ends is in the file", { skip }, () => {
  for (const ending of ["trace", "trace.gz"]) {
    const file = path.join(folder, `x.${ending}`);
    const { status } = runToEnd(process.execPath, [child, "exit", file]);
    assert.equal(status, 0);
    const bytes = readFileSync(file);
    assert.match((ending === "trace" ? bytes : gunzipSync(bytes)).toString(), / at exit\n$/);
  }
});

describe("a file that there is no room for", { skip: needs("linux", "machineCode") }, () => {
  for (const how of ["full", "full later", "full at exit"]) {
    for (const ending of ["trace", "trace.gz"]) {
      if (ending === "trace" && how === "full at exit") continue;
      test(`ends with a whole piece, and a warning (${how}, ${ending})`, () => {
        const file = path.join(folder, `x.${ending}`);
        const { status, stdout, stderr } = runInShell(`ulimit -f 1; eval $CHILD '"${how}"' '"${file}"'`);
        assert.equal(status, 0, stderr);
        assert.equal(Number(stdout), how === "full" ? 1000 : 5, "the program has gone on");
        assert.match(stderr, /^\S+ \[JIT_ALLOCATOR_TRACE\] Warning: The trace ends here: EFBIG/);
        assert.equal(stderr.match(/Warning:/g)?.length, 1);
        const { isCut } = readTrace(file, readFileSync(file));
        assert.equal(isCut, false);
      });
    }
  }
});

test("no command but demo records or replaces what it reads", { skip }, () => {
  const file = path.join(folder, "x.trace");
  const variables = { JIT_ALLOCATOR_TRACE: file };
  runTraced(file);
  const text = readFileSync(file, "utf8");
  for (const args of [
    ["replay", file, "--rounds", "1"],
    ["view", file, "-o", path.join(top, "x.html")],
    ["doctor"],
  ]) {
    const { status, stderr } = runCliInEnvironment(args, variables);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.equal(readFileSync(file, "utf8"), text, args[0]);
  }
  assert.deepEqual(readdirSync(folder), ["x.trace"]);
  assert.equal(runCliInEnvironment(["demo", "hello"], variables).status, 0);
  assert.notEqual(readFileSync(file, "utf8"), text, "the demo is recorded");
});
