/** `jit-allocator view`: what it makes of snapshots and traces, and what it says where it cannot. */
import assert from "node:assert/strict";
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { view } from "../../src/cli/view.ts";
import { JitAllocator, type HeapSnapshot } from "../../src/index.ts";
import { NEVER, type PageData } from "../../src/view/contract.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { runCli } from "../support/cli.ts";
import { dataOfPage } from "../support/heap-page.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jit-allocator-view-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const whole = path.join(folder, name);
  writeFileSync(whole, name.endsWith(".gz") ? gzipSync(content) : content);
  return whole;
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], input = ""): Promise<Outcome> {
  let [stdout, stderr] = ["", ""];
  const code = await view.run(args, {
    stdout: (text) => (stdout += String(text)),
    stderr: (text) => (stderr += text),
    readStdin: () => new TextEncoder().encode(input),
    color: false,
  });
  return { code, stdout, stderr };
}

async function pageOf(...args: string[]): Promise<PageData> {
  const { code, stdout, stderr } = await run(args);
  assert.deepEqual([code, stderr], [0, ""]);
  return dataOfPage(readFileSync(stdout.trimEnd(), "utf8"));
}

function snapshot(code = false): HeapSnapshot {
  const allocator = new JitAllocator({}, new SimulatedMemory());
  const span = allocator.alloc(100, { name: "tier:add" });
  allocator.write(span, 0, Uint8Array.of(0x8d, 0x04, 0x37, 0xc3));
  allocator.alloc(64, { kind: "data", name: "table" });
  return { ...allocator.snapshot({ code }), process: { pid: 7, runtime: "node 20", system: "linux x64" } };
}

describe("of a snapshot", () => {
  test("it makes a page with all allocations and blocks, beside the file", async () => {
    const given = snapshot();
    const source = file("heap.json", JSON.stringify(given));
    const { header, columns } = await pageOf(source);
    assert.ok(existsSync(path.join(folder, "heap.html")));
    assert.equal(header.source, "snapshot");
    assert.equal(header.title, "heap.json");
    assert.deepEqual(header.names, ["tier:add", "table"]);
    assert.deepEqual(
      header.blocks.map(({ rx, size, kind }) => [rx, size, kind]),
      given.blocks.map(({ rx, size, kind }) => [rx, size, kind]),
    );
    assert.deepEqual([...columns.length], [2, 1]);
    assert.deepEqual(
      [...columns.kind].map((kind) => header.kinds[kind]),
      ["code", "data"],
    );
    assert.deepEqual([...columns.death], [NEVER, NEVER]);
  });

  test("it lists the code where a decoder is installed", async () => {
    const { header, columns } = await pageOf(file("code.json.gz", JSON.stringify(snapshot(true))));
    assert.match(header.listings[0] ?? "", /8d 04 37 +lea eax, \[rdi\+rsi\]\n.*c3 +ret/);
    assert.deepEqual([...columns.code.subarray(0, 4)], [0x8d, 0x04, 0x37, 0xc3]);
    assert.equal(columns.codeLength[0], 128);
  });

  test("it says what is wrong with one", async () => {
    const good = snapshot();
    const [block, span] = [good.blocks[0], good.spans[0]];
    assert.ok(block && span);
    for (const [text, reason] of [
      ["{", /it is no JSON/],
      ["{}", /its "schema" is missing/],
      ['{"schema":"other"}', /its "schema" is "other"/],
      [JSON.stringify({ ...good, spans: undefined }), /no blocks, or no spans/],
      [JSON.stringify({ ...good, blocks: [{ ...block, granularity: 0 }] }), /block 0/],
      [JSON.stringify({ ...good, spans: [{ ...span, rx: 64 }] }), /span 0/],
      [JSON.stringify({ ...good, spans: [{ ...span, block: 9 }] }), /span 0/],
      [JSON.stringify({ ...good, process: undefined }), /of which process/],
    ] as const) {
      const { code, stdout, stderr } = await run([file("bad.json", text)]);
      assert.deepEqual([code, stdout], [1, ""], text);
      assert.match(stderr, /^jit-allocator view: .*bad\.json: /);
      assert.match(stderr, reason);
    }
  });
});

describe("of a trace", () => {
  test("without addresses, it has those of a replay, and the blocks that it mapped", async () => {
    const lines = ["a 1 100", "a 2 64", "p second", "s 1 1", "q 2", "f 2", "a 3 5000000", "f 3"];
    const { header, columns } = await pageOf(
      file("plain.trace", `${lines.join("\n")}\n`),
      "--immediate-release",
    );
    assert.equal(header.operationCount, 7);
    assert.deepEqual(
      header.phases.map(({ name, at }) => [name, at]),
      [
        ["all", 0],
        ["second", 2],
      ],
    );
    assert.deepEqual([...columns.asked], [100, 64, 1, 5_000_000]);
    assert.deepEqual([...columns.length], [2, 1, 1, 78_125]);
    assert.deepEqual([...columns.birth], [1, 2, 3, 6]);
    assert.deepEqual([...columns.death], [3, 5, NEVER, 7]);
    // What a shrink leaves is as old as it was, and where it was.
    assert.deepEqual([...columns.order], [1, 2, 1, 6]);
    assert.equal(columns.start[2], columns.start[0]);
    const large = header.blocks.find(({ size }) => size > 5_000_000);
    assert.deepEqual([large?.from, large?.to], [6, 7]);
  });

  test("that was recorded, it has the addresses, names, threads and times that it tells", async () => {
    const text = `# jit-allocator trace 1
# options {"granularity":64,"blockSize":65536}
# thread 3
a 1 100
# at 1 0x7f0000010040 code tier: two words
# time 1500
# thread 4
a 2 64
# at 2 0x7f0000030000 data
a 9 64
f 1
# reset
`;
    const { header, columns } = await pageOf(file("recorded.trace.gz", text));
    assert.deepEqual(header.names, ["tier: two words"]);
    assert.deepEqual(
      header.regions.map(({ start }) => start),
      [0x7f00_0001_0000, 0x7f00_0003_0000],
    );
    assert.deepEqual([...columns.start], [1, 1024]);
    assert.deepEqual([...columns.name], [1, 0]);
    assert.deepEqual([...columns.thread], [3, 4]);
    assert.deepEqual(
      [...columns.kind].map((kind) => header.kinds[kind]),
      ["code", "data"],
    );
    assert.deepEqual([...columns.death], [4, 5], "the reset has ended what no thread has released");
    assert.deepEqual([[...columns.timeAt], [...columns.timeMs]], [[2], [1]]);
    assert.ok(
      header.notes.some((note) => note.includes("left out")),
      "an allocation has no address",
    );
  });

  test("that was recorded for hours, it has the times of all of it", async () => {
    const times = [0, 4_294_967_296, 86_400_000_000, 10 ** 18];
    const lines = times.flatMap((time, id) => [`# time ${time}`, `a ${id} 64`]);
    const { columns } = await pageOf(file("hours.trace", `${lines.join("\n")}\n`));
    assert.deepEqual([...columns.timeMs], [0, 4_294_967, 86_400_000, 0xffff_ffff]);
  });

  test("that tells of blocks and addresses that cannot be, it passes over those", async () => {
    const strange = ['# options {"blockSize":1,"granularity":1}', "a 1 40000000", "# at 1 0x10000 code"];
    const { header } = await pageOf(file("strange.trace", `${strange.join("\n")}\n`));
    assert.ok(header.blocks.every(({ size }) => size === 65_536));
    assert.equal(header.cellSize, 64);
    const far = await pageOf(file("far.trace", "a 1 64\n# at 1 0x1fffffffffffff code\n"));
    assert.deepEqual(far.header.facts[1], ["Addresses", "of a replay"]);
    // 64 TiB, which would be a billion blocks of 64 KiB.
    const large = Array.from(
      { length: 2 ** 15 },
      (_, id) => `a ${id} 2147483584\n# at ${id} 0x${(2 ** 46 + id * 2 ** 31).toString(16)} code\n`,
    );
    const { blocks } = (await pageOf(file("large.trace", large.join("")))).header;
    assert.equal(
      blocks.reduce((sum, { size }) => sum + size, 0),
      2 ** 46,
    );
    assert.ok(blocks.length <= 2 ** 18);
  });

  test("comments of others are passed over", async () => {
    const { columns } = await pageOf(
      file(
        "odd.trace",
        "# at\n# at 5 0x10 code\n# time x\n# options {\n# options 3\n#\na 1 64\n# at 1 here code\n",
      ),
    );
    assert.equal(columns.start.length, 1);
  });

  test("it says which line is wrong, or refused", async () => {
    const wrong = await run([file("wrong.trace", "a 1 64\nf 2\n")]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /wrong\.trace: line 2: ID 2 was never allocated/);
    const refused = await run([file("refused.trace", "a 1 64\na 2 999999\n"), "--max-reserved-size", "64K"]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /refused\.trace: line 2: /);
    const packed = path.join(folder, "no.gz");
    writeFileSync(packed, "a 1 64\n");
    assert.match((await run([packed])).stderr, /not a gzip file/);
  });
});

describe("the command", () => {
  test("writes where it is told, and says what it wrote", async () => {
    const source = file("some.trace", "a 1 64\n");
    const out = path.join(folder, "elsewhere.html");
    const { stdout } = await run([source, "-o", out, "--json"]);
    const bytes = readFileSync(out).length;
    assert.deepEqual(JSON.parse(stdout), { page: out, bytes, source: "trace", operations: 1 });
    const read = await run(["-", "--output", out, "--json"], JSON.stringify(snapshot()));
    assert.match(read.stdout, /"source":"snapshot","spans":2/);
  });

  test("refuses command lines that make no sense", async () => {
    const source = file("same.html", "a 1 64\n");
    for (const [args, reason] of [
      [[], /a FILE is missing/],
      [[source, "-o", source], /would replace/],
      [[source, "-o", ""], /the name of a file/],
      [[source, "more"], /unexpected argument/],
      [[source, "--port"], /unknown option/i],
    ] as const) {
      await assert.rejects(run(args), reason);
    }
    assert.equal(readFileSync(source, "utf8"), "a 1 64\n");
    const linked = path.join(folder, "linked.html");
    linkSync(source, linked);
    await assert.rejects(run([source, "-o", linked]), /would replace/);
    if (process.platform !== "win32") {
      symlinkSync(source, path.join(folder, "symbolic.html"));
      await assert.rejects(run([source, "-o", path.join(folder, "symbolic.html")]), /would replace/);
    }
    assert.equal(readFileSync(source, "utf8"), "a 1 64\n");
  });

  test("writes a page that nobody else reads", { skip: process.platform === "win32" }, async () => {
    const out = path.join(folder, "own.html");
    await run([file("own.trace", "a 1 64\n"), "-o", out]);
    assert.equal(statSync(out).mode & 0o777, 0o600);
  });

  test("says what cannot be read or written", async () => {
    const missing = await run([path.join(folder, "missing.json")]);
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match(missing.stderr, /cannot read .*missing\.json: ENOENT/);
    const source = file("fine.trace", "a 1 64\n");
    const unwritable = await run([source, "-o", path.join(folder, "no", "x.html"), "--json"]);
    assert.equal(unwritable.code, 1);
    assert.match(unwritable.stdout, /^\{"error":\{"message":"cannot write .*ENOENT/);
  });

  test("is one of the program's, with help of its own", () => {
    const { status, stdout } = runCli(["view", "--help"]);
    assert.equal(status, 0);
    assert.match(stdout, /^Usage: jit-allocator view FILE/);
  });
});
