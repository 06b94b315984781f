/** The fuzzer's runs of several threads: that they run, and that they find what is wrong. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import { Claims } from "../../fuzz/claims.ts";
import { Mailbox } from "../../fuzz/mailbox.ts";
import { ThreadRun } from "../../fuzz/thread-run.ts";
import { JitAllocator } from "../../src/index.ts";
import { Random } from "../support/random.ts";

const BASE = 0x7f12_0040_0000;

function fuzz(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [path.join(import.meta.dirname, "../../fuzz/main.js"), ...args], {
    encoding: "utf8",
    env: { ...process.env, NODE_V8_COVERAGE: "" },
  });
}

describe("npm run fuzz -- --threads", () => {
  test("two threads on one allocator after the other", () => {
    const { status, stdout, stderr } = fuzz("--seed", "7", "--ops", "12000", "--threads", "2");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^clean: 12,000 operations by 2 threads in 3 runs from seed 7/);
    assert.match(stdout, /refused [1-9]/);
  });

  test("a wrong command line is 2, and is told", () => {
    for (const args of [
      ["--threads", "0"],
      ["--threads", "65"],
      ["--threads", "2", "--kind", "small"],
    ]) {
      const { status, stderr } = fuzz(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, /Usage: npm run fuzz/);
    }
  });
});

describe("what a thread's run finds", () => {
  const SEED = 20_261_123;

  /** A run of some hundred operations, then something behind its back, then more of them. */
  function runWith(meddle: (allocator: JitAllocator, rx: number, size: number) => void): void {
    const allocator = new JitAllocator();
    const run = new ThreadRun(
      JitAllocator.attach(allocator.share()),
      { profile: "functions", isTight: false },
      SEED,
      new Claims(Claims.create()),
      new Mailbox(Mailbox.create()),
      0,
    );
    try {
      while (run.places.length < 20) run.step();
      for (const { rx, size } of run.places) meddle(allocator, rx, size);
      for (let count = 0; count < 500; count++) run.step();
    } finally {
      assert.ok(run.lastOperations.length > 0);
      run.end();
      allocator.dispose();
    }
  }

  test("nothing, where nothing is wrong", () => {
    runWith(() => undefined);
  });

  test("what is released behind its back", () => {
    assert.throws(() => runWith((allocator, rx) => allocator.release(rx)));
  });

  test("what is shrunk behind its back", () => {
    assert.throws(() => runWith((allocator, rx, size) => allocator.shrink(rx, size > 64 ? 64 : 0)));
  });

  test("what is written over behind its back", () => {
    assert.throws(() =>
      runWith((allocator, rx, size) => allocator.query(rx).write(0, new Uint8Array(size).fill(0x77))),
    );
  });
});

describe("claims", () => {
  test("nobody claims what is claimed, or gives up what is not its own", () => {
    const buffer = Claims.create();
    const [mine, theirs] = [new Claims(buffer), new Claims(buffer)];
    mine.claim(BASE + 65_472, 256, 1); // the last granule of a chunk, and three of the next
    assert.throws(() => theirs.claim(BASE + 65_536, 64, 2), /has claim 1, not 0/);
    assert.throws(() => theirs.claim(BASE + 65_408, 128, 2), /has claim 1, not 0/);
    assert.throws(() => theirs.free(BASE + 65_536, 64, 2), /has claim 1, not 2/);
    theirs.claim(BASE + 65_728, 64, 3);
    mine.free(BASE + 65_536, 192, 1);
    theirs.claim(BASE + 65_536, 64, 4);
    assert.throws(() => mine.claim(BASE + 65_472, 64, 5), /has claim 1, not 0/);
  });
});

describe("the mailbox", () => {
  test("gives out once what was put in, to whoever has the same memory", () => {
    const buffer = Mailbox.create();
    const random = new Random(1);
    const parcel = {
      rx: BASE,
      generation: 7,
      sizeBytes: 64,
      poolGranularity: 128,
      kind: 2,
      mark: 3,
      claim: 9,
    };
    assert.ok(new Mailbox(buffer).put(random, parcel));
    assert.deepEqual(new Mailbox(buffer).contents(), [parcel]);
    assert.deepEqual(new Mailbox(buffer).empty(), [parcel]);
    assert.deepEqual(new Mailbox(buffer).empty(), []);
    let putCount = 0;
    for (let tries = 0; tries < 2000; tries++) if (new Mailbox(buffer).put(random, parcel)) putCount++;
    assert.equal(putCount, 32, "every place is used, and none twice");
    let takenCount = 0;
    for (let tries = 0; tries < 2000; tries++)
      if (new Mailbox(buffer).take(random) !== undefined) takenCount++;
    assert.equal(takenCount, putCount);
  });
});
