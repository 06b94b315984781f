/** Allocators in worker threads, each with its own foreign function interface. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator, toFunction } from "../../../src/index.ts";
import * as machineCode from "../../support/native-code.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("machineCode");

describe("an allocator in a worker", { skip }, () => {
  test("allocates, writes, calls and releases, in four threads at once and in this one", async () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(machineCode.ADD.length);
    span.write(0, machineCode.ADD);
    const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
    const workers = Array.from(
      { length: 4 },
      () => new Worker(new URL("./allocator-child.js", import.meta.url)),
    );
    const reports = await Promise.all(
      workers.map(async (worker) => {
        const ended = once(worker, "exit");
        const [report] = (await once(worker, "message")) as [unknown];
        await ended;
        return report;
      }),
    );
    for (const report of reports) {
      assert.deepEqual(report, { sum: 499_500, afterRelease: "ERR_RELEASED", allocationCount: 0 });
    }
    assert.equal(add(20, 22), 42);
  });
});
