/** One allocator in several threads: what crosses, what the others notice, and what happens when one of them dies. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator, toFunction, type Span } from "../../../src/index.ts";
import { Field } from "../../../src/sharing/layout.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { killThreads } from "../../support/kill-threads.ts";
import { ADD, RUNS_HERE } from "../../support/machine-code.ts";
import { needs } from "../../support/requirements.ts";
import { ownMapLines, ownUsedLines } from "../../support/process-state.ts";
import { Random } from "../../support/random.ts";
import { ThreadLoad } from "../../support/thread-load.ts";
import type { Command, Reply } from "./command-child.ts";

const SEED = Number(process.env["THREAD_SEED"] ?? 20_261_123);
const KILLS = Number(process.env["THREAD_KILLS"] ?? 60);

/** A worker that does what it is told, one thing at a time. */
class CommandWorker {
  readonly #worker: Worker;

  constructor(allocator: JitAllocator) {
    this.#worker = new Worker(new URL("command-child.js", import.meta.url), {
      workerData: allocator.share(),
      env: { ...process.env, NODE_V8_COVERAGE: "" },
    });
  }

  async do(command: Command): Promise<Reply> {
    this.#worker.postMessage(command);
    const [reply] = (await once(this.#worker, "message")) as [Reply];
    return reply;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

async function withWorker(
  allocator: JitAllocator,
  act: (worker: CommandWorker) => Promise<void>,
): Promise<void> {
  const worker = new CommandWorker(allocator);
  try {
    await act(worker);
  } finally {
    await worker.end();
    allocator.dispose();
  }
}

describe("an allocator in two threads", () => {
  test("what one allocates and writes, the other reads, shrinks and releases, by address and by token", async () => {
    const allocator = new JitAllocator();
    const before = allocator.alloc(64); // from before anybody else had it
    await withWorker(allocator, async (worker) => {
      before.write(0, Uint8Array.of(1, 2, 3));
      assert.deepEqual(await worker.do({ what: "read", rx: before.rx }), { bytes: [1, 2, 3], size: 64 });
      const theirs = await worker.do({ what: "alloc", size: 200, byte: 9 });
      assert.ok(theirs.token);
      const span = allocator.spanOf(theirs.token);
      assert.deepEqual([span.rx, span.size], [theirs.token.rx, 256]);
      assert.equal(allocator.query(span.rx + 100).rx, span.rx);
      assert.ok(span.read(0, 200).every((byte) => byte === 9));
      span.shrink(64);
      assert.equal((await worker.do({ what: "size" })).size, 64);
      span.release();
      assert.equal((await worker.do({ what: "size" })).size, 0);
      assert.equal((await worker.do({ what: "readOwn" })).error, "ERR_RELEASED");
      // The same place again: the token is of what was there before.
      assert.equal(allocator.alloc(256).rx, theirs.token.rx);
      throwsJitError("ERR_RELEASED", () => allocator.spanOf(wrong(theirs.token)));
      assert.equal((await worker.do({ what: "release", rx: before.rx })).error, undefined);
      assert.ok(before.isReleased);
      throwsJitError("ERR_RELEASED", () => before.release());
      allocator.verify();
    });
  });

  test("a block that one unmaps is gone for the views of the other", async () => {
    const allocator = new JitAllocator({ immediateRelease: true });
    await withWorker(allocator, async (worker) => {
      for (let round = 0; round < 5; round++) {
        const span = allocator.alloc(100_000);
        span.write(0, new Uint8Array(100_000).fill(round));
        assert.equal((await worker.do({ what: "keep", rx: span.rx })).size, 100_032);
        assert.deepEqual((await worker.do({ what: "readOwn" })).bytes?.slice(0, 2), [round, round]);
        span.release();
        assert.equal((await worker.do({ what: "readOwn" })).error, "ERR_RELEASED");
        assert.equal((await worker.do({ what: "writeOwn" })).error, "ERR_RELEASED");
      }
      assert.deepEqual(ownUsedLines(), []);
    });
  });

  test("the buffer grows in one thread, and the other sees all of it", async () => {
    const allocator = new JitAllocator();
    await withWorker(allocator, async (worker) => {
      assert.ok((await worker.do({ what: "alloc", size: 64, byte: 1 })).token);
      const overhead = allocator.statistics().overheadSize;
      const spans = Array.from({ length: 3000 }, () => allocator.alloc(3000));
      assert.ok(allocator.statistics().overheadSize > overhead);
      const last = spans.at(-1);
      assert.ok(last);
      assert.equal((await worker.do({ what: "keep", rx: last.rx + 5 })).size, 3008);
      assert.equal((await worker.do({ what: "verify" })).error, undefined);
    });
  });

  for (const policy of ["soft", "hard"] as const) {
    test(`a ${policy} reset in one thread releases the spans of the other`, async () => {
      const allocator = new JitAllocator();
      await withWorker(allocator, async (worker) => {
        await worker.do({ what: "alloc", size: 64, byte: 1 });
        allocator.reset(policy);
        assert.equal((await worker.do({ what: "writeOwn" })).error, "ERR_RELEASED");
        assert.equal((await worker.do({ what: "alloc", size: 64, byte: 1 })).error, undefined);
        allocator.verify();
      });
    });
  }

  test("a disposal in one thread is one for the other; a detachment is not", async () => {
    const allocator = new JitAllocator();
    const span = allocator.alloc(64);
    await withWorker(allocator, async (worker) => {
      await worker.do({ what: "alloc", size: 64, byte: 1 });
      await worker.do({ what: "detach" });
      assert.equal((await worker.do({ what: "alloc", size: 64, byte: 1 })).error, "ERR_DISPOSED");
      assert.equal((await worker.do({ what: "writeOwn" })).error, "ERR_DISPOSED");
      assert.equal((await worker.do({ what: "size" })).size, 0);
      span.write(0, ADD);
      const [main, other] = allocator.members();
      assert.deepEqual(
        [main?.hasLeft, main?.allocationCount, other?.hasLeft, other?.allocationCount],
        [false, 1, true, 1],
      );
      await withWorker(allocator, async (second) => {
        await second.do({ what: "alloc", size: 64, byte: 1 });
        await second.do({ what: "dispose" });
        assert.ok(span.isReleased);
        throwsJitError("ERR_DISPOSED", () => allocator.alloc(64));
        throwsJitError("ERR_RELEASED", () => span.release());
        throwsJitError("ERR_DISPOSED", () => allocator.share());
        assert.deepEqual(ownMapLines(), []);
      });
    });
  });

  test("a function made in one thread of code that another one wrote", { skip: !RUNS_HERE }, async () => {
    const allocator = new JitAllocator();
    const mine = allocator.alloc(ADD.length);
    mine.write(0, ADD);
    // Made and called before the allocator is shared.
    const early = toFunction(mine, { parameters: ["i32", "i32"], result: "i32" });
    assert.equal(early(1, 2), 3);
    const uncalled = toFunction(mine, { parameters: ["i32", "i32"], result: "i32" });
    await withWorker(allocator, async (worker) => {
      const { token } = await worker.do({ what: "code", bytes: [...ADD] });
      assert.ok(token);
      const add = toFunction(allocator.spanOf(token), { parameters: ["i32", "i32"], result: "i32" });
      assert.equal(add(2, 3), 5);
      assert.equal(early(4, 5), 9);
      await worker.do({ what: "release", rx: mine.rx });
      throwsJitError("ERR_RELEASED", () => early(4, 5));
      throwsJitError("ERR_RELEASED", () => uncalled(4, 5));
      await worker.do({ what: "release", rx: token.rx });
      throwsJitError("ERR_RELEASED", () => add(2, 3));
    });
  });

  test("a write callback may use the allocator; the lock is not held meanwhile", async () => {
    const allocator = new JitAllocator();
    await withWorker(allocator, async (worker) => {
      await worker.do({ what: "size" });
      const span = allocator.alloc(256);
      let inside: Span | undefined;
      allocator.write(span, (code) => {
        inside = allocator.alloc(64);
        code.fill(3);
        return 100;
      });
      assert.equal(span.size, 128);
      assert.equal(inside?.size, 64);
      throwsJitError("ERR_RELEASED", () => allocator.write(span, () => span.release()));
      allocator.verify();
    });
  });
});

describe("many threads at once", () => {
  test(`four workers and this thread, 2,000 operations each and more (seed ${SEED})`, async () => {
    const allocator = new JitAllocator();
    allocator.share();
    const load = new ThreadLoad(allocator, new Random(SEED), 4);
    for (let round = 0; round < 4; round++) {
      await load.progress(500);
      allocator.verify();
      const spans = Array.from({ length: 100 }, (_, index) => allocator.alloc(1 + index * 40));
      for (const span of spans) span.release();
    }
    const reports = await load.stop();
    allocator.verify();
    const held = reports.flatMap((report) => report.held);
    assert.equal(allocator.statistics().allocationCount, held.length);
    for (const { rx, size, mark } of held) {
      const span = allocator.query(rx);
      assert.equal(span.size, size);
      assert.ok(span.read().every((byte) => byte === mark));
      span.release();
    }
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.dispose();
    assert.deepEqual(ownMapLines(), []);
  });

  for (const options of [{}, { immediateRelease: true, fillUnusedMemory: true }]) {
    const name = `${KILLS} workers terminated anywhere, ${JSON.stringify(options)} (seed ${SEED})`;
    test(name, { skip: needs("termination") }, async () => {
      const report = await killThreads({ kills: KILLS, seed: SEED, workerCount: 4, options });
      assert.ok(report.released > 0, "the dead held something");
      assert.ok(report.repairs > 0, "some of them died inside an operation");
    });
  }

  test(`20 workers ended between operations (seed ${SEED})`, async () => {
    const report = await killThreads({ kills: 20, seed: SEED, workerCount: 2, pauses: true });
    assert.ok(report.released > 0, "the dead held something");
  });

  const skip = needs("termination");
  test("a thread that is terminated while it waits for the lock is no harm", { skip }, async () => {
    const allocator = new JitAllocator();
    const { state } = allocator.share();
    const words = new Int32Array(state);
    const worker = new CommandWorker(allocator);
    await worker.do({ what: "size" });
    // This thread holds the lock: its own next operation finds that, and repairs.
    Atomics.store(words, Field.lock, allocator.memberId);
    const waiting = worker.do({ what: "alloc", size: 64, byte: 1 }).catch(() => undefined);
    while (Atomics.load(words, Field.lock) === allocator.memberId) await new Promise((r) => setImmediate(r));
    await worker.end();
    void waiting;
    allocator.alloc(64);
    // The dead one may have been the heir, and the holder now: whoever is next finds that it has gone.
    allocator.alloc(64);
    const repairs = words[Field.repairs] ?? 0;
    assert.ok(repairs === 1 || repairs === 2, `${repairs} repairs`);
    assert.equal(Atomics.load(words, Field.lock), 0);
    assert.equal(allocator.statistics().allocationCount, 2);
    allocator.verify();
    allocator.dispose();
  });
});
