/** What tells the living threads from the dead on Windows: on a fake machine, and really. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { systemMemory } from "../../src/vm/select.ts";
import { LastError } from "../../src/vm/windows/last-error.ts";
import { FakeKernel32 } from "../support/fake-kernel32.ts";
import { needs } from "../support/requirements.ts";

/** 2026, in units of 100 ns since 1601: more than a double holds to the last digit. */
const BEGAN = 134_000_000_000_000_001n;

describe("threads on a fake Windows", () => {
  const threads = new Map([
    [10, { began: BEGAN }],
    [11, { began: BEGAN + 1_000_000n }],
    [12, { began: BEGAN, hasEnded: true }],
  ]);

  it("a thread is known by its number and its start", () => {
    const kernel32 = new FakeKernel32({ threads });
    const { sharing } = kernel32.memory;
    const self = sharing.currentThread();
    assert.ok(self);
    assert.deepEqual(self, { id: 10, mark: Number(BEGAN) });
    assert.equal(sharing.isAlive(self), true);
    assert.equal(sharing.isAlive({ id: 11, mark: self.mark }), false, "the number was given again");
    assert.equal(sharing.isAlive({ id: 11, mark: 0 }), undefined, "it may be a later one");
    assert.equal(sharing.isAlive({ id: 12, mark: self.mark }), false, "somebody holds a handle");
    assert.equal(sharing.isAlive({ id: 13, mark: self.mark }), false);
    assert.deepEqual(kernel32.leftovers(), []);
  });

  it("what the system does not tell is not known, and nobody is taken for dead", () => {
    const kernel32 = new FakeKernel32({ threads });
    const { sharing } = kernel32.memory;
    const self = sharing.currentThread();
    assert.ok(self);
    kernel32.calls.failAt(0, LastError.ERROR_ACCESS_DENIED);
    assert.equal(sharing.isAlive(self), undefined);
    // OpenThread, WaitForSingleObject, GetThreadTimes
    for (const position of [1, 2]) {
      kernel32.calls.failAt(position, LastError.ERROR_ACCESS_DENIED);
      assert.equal(sharing.isAlive(self), true);
    }
    kernel32.calls.failAt(0, LastError.ERROR_ACCESS_DENIED);
    assert.deepEqual(sharing.currentThread(), { id: 10, mark: 0 });
    assert.deepEqual(kernel32.leftovers(), []);
  });
});

describe("threads on this Windows", { skip: needs("windows") }, () => {
  it("this thread lives, and a worker that has ended does not", async () => {
    const { sharing } = systemMemory();
    assert.ok(sharing);
    const self = sharing.currentThread();
    assert.ok(self !== undefined && self.id > 0 && self.mark > 0);
    assert.equal(sharing.isAlive(self), true);
    assert.equal(sharing.isAlive({ ...self, mark: self.mark - 1_000_000 }), false);
    const worker = new Worker(
      `const { parentPort, workerData } = require("node:worker_threads");
       import(workerData).then(({ systemMemory }) => {
         parentPort.on("message", () => process.exit());
         parentPort.postMessage(systemMemory().sharing.currentThread());
       });`,
      { eval: true, workerData: new URL("../../src/vm/select.js", import.meta.url).href },
    );
    const [other] = (await once(worker, "message")) as [typeof self];
    assert.notEqual(other.id, self.id);
    assert.equal(sharing.isAlive(other), true);
    worker.postMessage("end");
    await once(worker, "exit");
    assert.equal(sharing.isAlive(other), false);
  });

  it("copies in and out", () => {
    const memory = systemMemory();
    const { sharing } = memory;
    assert.ok(sharing);
    const mapping = memory.allocDualMapping(65536, {});
    sharing.prepare();
    memory.copyIn(mapping.rw + 5, Uint8Array.of(1, 2, 3, 4), 3);
    const copy = new Uint8Array(5);
    memory.copyOut(mapping.rx + 4, copy);
    assert.deepEqual([...copy], [0, 1, 2, 3, 0]);
    sharing.reclaim("nobody", []);
    memory.copyOut(mapping.rw + 6, copy.subarray(0, 1));
    assert.equal(copy[0], 2, "what is in use stays mapped");
    memory.releaseDualMapping(mapping, 65536);
  });
});
