/** The promise: code is never freed, moved or overwritten while it runs, whoever releases it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator } from "../../../src/index.ts";
import { Board } from "../../support/board.ts";
import { needs } from "../../support/requirements.ts";

/** Milliseconds: ten minutes in the long form, `PROMISE_MS=600000 node dist/test/sharing/threads/promise.test.js`. */
const DURATION_MS = Number(process.env["PROMISE_MS"] ?? 5000);
const RUNNERS = 4;
const REFILLERS = 2;

function start(file: string, workerData: object): Worker {
  const env = { ...process.env, NODE_V8_COVERAGE: "" };
  return new Worker(new URL(file, import.meta.url), { workerData, env });
}

describe("code that is released while others run it", { skip: needs("systemV") }, () => {
  for (const options of [{}, { immediateRelease: true, fillUnusedMemory: true }]) {
    test(`four threads run it, two release it and fill its place with traps, ${JSON.stringify(options)}`, async () => {
      const allocator = new JitAllocator(options);
      const handle = allocator.share();
      const buffer = Board.make(64);
      const board = new Board(buffer);
      const refillers = Array.from({ length: REFILLERS }, (_, seed) =>
        start("refill-child.js", { handle, buffer, seed }),
      );
      const runners = Array.from({ length: RUNNERS }, (_, seed) =>
        start("runner-child.js", { handle, buffer, seed: seed * 16 }),
      );
      const reports = Promise.all([...runners, ...refillers].map((worker) => once(worker, "message")));
      const timer = setTimeout(() => board.end(), DURATION_MS / 2);
      try {
        const told = (await reports) as [{ calls?: number; ended?: number; count?: number }][];
        const sum = (key: "calls" | "ended" | "count"): number =>
          told.reduce((total, [report]) => total + (report[key] ?? 0), 0);
        console.log(
          `${sum("calls")} calls, ${sum("count")} pieces of code, ended under a runner ${sum("ended")} times`,
        );
        assert.ok(sum("calls") > 0 && sum("ended") > 0, "code was run, and released by others");
        allocator.verify();
        assert.equal(allocator.statistics().retiredSize, 0, "everybody has left");
      } finally {
        clearTimeout(timer);
        board.end();
        await Promise.all([...runners, ...refillers].map((worker) => worker.terminate()));
        allocator.dispose();
      }
    });
  }
});
