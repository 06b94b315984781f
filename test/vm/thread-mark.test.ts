/** How a thread is known, and seen to have ended: on fake C libraries, and on this machine. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import type { ThreadIdentity } from "../../src/vm/contract.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { FakeLibc } from "../support/fake-libc.ts";
import { FakeMarks } from "../support/fake-marks.ts";
import { linuxOn } from "../support/linux-on.ts";
import { needs } from "../support/requirements.ts";

describe("the marks of threads", () => {
  for (const word of [0, 1] as const) {
    test(`a thread lives until the kernel marks its mutex, whose word is number ${word}`, () => {
      const process = new FakeMarks({ word });
      const [first, second] = [process.threadWith(100), process.threadWith(101)];
      const identity = first.current();
      assert.ok(identity);
      assert.equal(identity.id, 100);
      assert.deepEqual(first.current(), identity, "made once");
      assert.equal(second.isAlive(identity), true);
      process.end(100);
      assert.equal(second.isAlive(identity), false);
      // The system gives its number to another one.
      const later = process.threadWith(100).current();
      assert.ok(later);
      assert.notDeepEqual(later, identity);
      assert.equal(second.isAlive(identity), false);
      assert.equal(second.isAlive(later), true);
    });
  }

  test("a C library that does not tell numbers has them in the mutex", () => {
    for (const word of [0, 1] as const) {
      const marks = new FakeMarks({ word, hasGettid: false }).threadWith(100);
      const identity = marks.current();
      assert.ok(identity);
      assert.equal(identity.id, 100);
      assert.equal(marks.isAlive(identity), true);
    }
  });

  test("an address that is none is no thread, and no crash", () => {
    const marks = new FakeMarks().threadWith(100);
    assert.equal(marks.isAlive({ id: 100, mark: 8 }), undefined);
    const blind = new FakeMarks({ hasFutex: false }).threadWith(100);
    const identity = blind.current();
    assert.ok(identity);
    assert.equal(blind.isAlive(identity), undefined);
  });

  test("what calls of the runtime's own leave as the error number is no answer", () => {
    const left: readonly number[][] = [
      [Errno.EMFILE],
      [Errno.EAGAIN],
      [Errno.EAGAIN, Errno.EMFILE, Errno.EAGAIN],
    ];
    for (const others of left) {
      const process = new FakeMarks({ others });
      const [first, second] = [process.threadWith(100), process.threadWith(101)];
      const identity = first.current();
      assert.ok(identity);
      assert.equal(second.isAlive(identity), true);
      process.end(100);
      others.push(Errno.EMFILE, Errno.ETIMEDOUT);
      assert.equal(second.isAlive(identity), false);
    }
  });

  test("without robust mutexes there is a number and no mark; without numbers, nothing", () => {
    const refused = { lockStatus: Errno.EOPNOTSUPP };
    assert.deepEqual(new FakeMarks(refused).threadWith(100).current(), { id: 100, mark: 0 });
    assert.deepEqual(new FakeMarks({ hasMalloc: false }).threadWith(100).current(), { id: 100, mark: 0 });
    assert.equal(new FakeMarks({ ...refused, hasGettid: false }).threadWith(100).current(), undefined);
  });

  test("of a thread without a mark it is said that it is gone, or nothing: another may have its number", () => {
    const libc = new FakeLibc({ threads: [100, 101] });
    const { sharing } = linuxOn(libc, new FakeMarks({ lockStatus: Errno.EOPNOTSUPP }));
    assert.deepEqual(sharing.currentThread(), { id: 100, mark: 0 });
    assert.equal(sharing.isAlive({ id: 101, mark: 0 }), undefined);
    assert.equal(sharing.isAlive({ id: 102, mark: 0 }), false);
    libc.refuse("tgkill", Errno.ENOSYS);
    assert.equal(sharing.isAlive({ id: 102, mark: 0 }), undefined);
  });
});

describe("the marks of threads on this machine", { skip: needs("linux") }, () => {
  const identify = `
    const { parentPort, workerData } = require("node:worker_threads");
    parentPort.on("message", () => process.exit());
    import(workerData).then(({ systemMemory }) => {
      parentPort.postMessage(systemMemory().sharing.currentThread());
    });`;
  const select = new URL("../../src/vm/select.js", import.meta.url).href;

  test("this thread lives, and a worker that has ended does not, by itself or by others", async () => {
    const { sharing } = systemMemory();
    assert.ok(sharing);
    const self = sharing.currentThread();
    assert.ok(self !== undefined && self.id > 0);
    assert.deepEqual(sharing.currentThread(), self);
    if (self.mark === 0) return; // under qemu there are no robust mutexes
    assert.equal(sharing.isAlive(self), true);
    assert.equal(sharing.isAlive({ ...self, id: self.id + 1 }), false);
    assert.equal(sharing.isAlive({ ...self, mark: 16 }), undefined, "no memory is there");
    for (const isTerminated of [false, true]) {
      const worker = new Worker(identify, { eval: true, workerData: select });
      const [other] = (await once(worker, "message")) as [ThreadIdentity];
      assert.notEqual(other.mark, self.mark);
      assert.equal(sharing.isAlive(other), true);
      const end = once(worker, "exit");
      if (isTerminated) void worker.terminate();
      else worker.postMessage("end");
      await end;
      // Deno says so a moment before the thread has gone.
      while (sharing.isAlive(other) === true) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(sharing.isAlive(other), false);
    }
  });
});
