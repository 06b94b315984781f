/** What Linux tells of threads and mappings, on fake machines and on the real one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { LinuxMemory } from "../../src/vm/linux.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { Protection } from "../../src/vm/linux/libc.ts";
import { LinuxSharing } from "../../src/vm/linux/sharing.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";
import { openDescriptors, mapLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";

const SIZE = 16 * PAGE;
const stat = (id: number, startTime: number, state = "S"): string =>
  `${id} (a (strange) name) ${state} ${"1 ".repeat(18)}${startTime} 0 0`;

describe("threads on a fake Linux", () => {
  test("a thread is known by its id and its start", () => {
    const { sharing } = linuxOn(
      new FakeLibc({
        files: {
          "/proc/thread-self/stat": stat(100, 77),
          "/proc/self/task/100/stat": stat(100, 77),
          "/proc/self/task/101/stat": stat(101, 80),
          "/proc/self/task/102/stat": stat(102, 81, "Z"),
        },
      }),
    );
    assert.deepEqual(sharing.currentThread(), { id: 100, startTime: 77 });
    assert.equal(sharing.isAlive({ id: 100, startTime: 77 }), true);
    assert.equal(sharing.isAlive({ id: 101, startTime: 77 }), false, "the id was given again");
    assert.equal(sharing.isAlive({ id: 101, startTime: 0 }), true);
    assert.equal(sharing.isAlive({ id: 102, startTime: 81 }), false, "a zombie");
    assert.equal(sharing.isAlive({ id: 103, startTime: 1 }), false);
  });

  test("without /proc the signal 0 tells", () => {
    const libc = new FakeLibc({ threads: [100, 101] });
    const { sharing } = linuxOn(libc);
    assert.deepEqual(sharing.currentThread(), { id: 100, startTime: 0 });
    assert.equal(sharing.isAlive({ id: 101, startTime: 0 }), true);
    assert.equal(sharing.isAlive({ id: 102, startTime: 0 }), false);
    libc.refuse("tgkill", 38);
    assert.equal(sharing.isAlive({ id: 101, startTime: 0 }), undefined);
  });

  test("where a thread does not know itself it has an id that no other has, and nobody says it is gone", () => {
    const unknown = (files: Readonly<Record<string, string>> = {}): LinuxMemory => {
      const libc = new FakeLibc({ threads: [100], files });
      libc.refuse("gettid", Errno.ENOSYS);
      return linuxOn(libc);
    };
    const { sharing } = unknown();
    const self = sharing.currentThread();
    assert.deepEqual(sharing.currentThread(), self);
    assert.notEqual(unknown().sharing.currentThread().id, self.id);
    assert.ok(self.id >= 2 ** 22 && self.id < 2 ** 31);
    assert.equal(sharing.isAlive(self), undefined);
    // One thread may see /proc where another does not (workers of Deno have permissions of their own).
    const seeing = unknown({ "/proc/thread-self/stat": stat(100, 77) }).sharing;
    assert.equal(seeing.isAlive(self), undefined);
  });

  test("a thread whose file cannot be opened now is not gone", () => {
    const files: Record<string, string> = {
      "/proc/thread-self/stat": stat(100, 77),
      "/proc/self/task/101/stat": stat(101, 80),
    };
    const libc = new FakeLibc({ threads: [100, 101], files });
    let failures = 0;
    const sharing = new LinuxSharing(libc, {
      ...libc.files(),
      read: (path) => {
        if (path !== "/proc/self/task/101/stat" || failures === 0) return files[path];
        failures -= 1;
        return undefined; // no descriptor is left
      },
    });
    const other = { id: 101, startTime: 80 };
    failures = 1;
    assert.equal(sharing.isAlive(other), true);
    libc.refuse("tgkill", Errno.EPERM, ([, thread]) => thread === 103);
    assert.equal(sharing.isAlive({ id: 103, startTime: 80 }), undefined, "a filter of system calls");
    // Without tgkill (glibc before 2.30) the files alone can tell.
    libc.refuse("tgkill", Errno.ENOSYS);
    failures = 1;
    assert.equal(sharing.isAlive(other), undefined);
    assert.equal(sharing.isAlive(other), true);
    assert.equal(sharing.isAlive({ id: 102, startTime: 80 }), false);
  });

  test("reclaim gives back what bears the tag and is not kept, descriptors and names too", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const tag = { name: "abc", isGuarded: true };
    const kept = memory.allocDualMapping(SIZE, {}, tag);
    const lost = memory.allocDualMapping(SIZE, {}, tag);
    const strangers = memory.allocDualMapping(SIZE, {}, { name: "abcd", isGuarded: true });
    const descriptor = libc.shm_open("/jit-allocator-abc-1-x", 0, 0);
    const lines = [
      [kept.rx, "abc"],
      [kept.rw, "abc"],
      [lost.rx, "abc"],
      [lost.rw, "abc"],
      [strangers.rx, "abcd"],
      [strangers.rw, "abcd"],
    ].map(([address, name]) => {
      const range = [Number(address), Number(address) + SIZE].map((end) => end.toString(16)).join("-");
      return `${range} r-xs 00000000 00:01 1234   /memfd:jit-allocator-${name} (deleted)`;
    });
    libc.machine.files = { "/proc/self/maps": `${lines.join("\n")}\n7f00-7f01 r-xp 00000000 00:00 0\n` };
    libc.machine.openFiles = () => [
      { descriptor, path: "/dev/shm/jit-allocator-abc-1-x" },
      { descriptor: 1, path: "/dev/null" },
    ];
    libc.unlink = (path) => (libc.paths.delete(path) ? 0 : -1);
    memory.sharing.reclaim("abc", [{ address: kept.rx, sizeBytes: 2 * SIZE }]);
    assert.equal(libc.mappingAt(lost.rx), undefined);
    assert.equal(libc.mappingAt(lost.rw), undefined);
    assert.ok(libc.mappingAt(kept.rx) && libc.mappingAt(kept.rw) && libc.mappingAt(strangers.rx));
    assert.deepEqual([libc.descriptors.size, libc.paths.size], [0, 0]);
  });

  test("guarded memory is a named file's from the start, also where it is mapped once", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const tag = { name: "abc", isGuarded: true };
    const address = memory.alloc(SIZE, { read: true, write: true, execute: true }, tag);
    assert.equal(libc.mappingAt(address)?.file?.kind, "memfd");
    assert.equal(libc.mappingAt(address)?.protection, Protection.READ | Protection.WRITE | Protection.EXEC);
    assert.equal(libc.descriptors.size, 0);
    const without = linuxOn(new FakeLibc({ hasMemfd: false }));
    assert.ok(without.alloc(SIZE, { read: true }, tag) > 0, "a hint: there are machines without memfds");
    const limited = linuxOn(new FakeLibc({ fileSizeLimit: SIZE - 1 }));
    assert.ok(limited.alloc(SIZE, { read: true }, tag) > 0, "no file that must not be as long");
  });
});

describe("threads and mappings on this machine", { skip: needs("linux") }, () => {
  test("this thread lives, and a worker that has ended does not", async () => {
    const { sharing } = systemMemory();
    assert.ok(sharing);
    const self = sharing.currentThread();
    assert.equal(sharing.isAlive(self), true);
    assert.equal(sharing.isAlive({ ...self, startTime: self.startTime - 1 }), false);
    const worker = new Worker(
      `const { readFileSync } = require("node:fs");
       const { parentPort } = require("node:worker_threads");
       parentPort.on("message", () => process.exit());
       parentPort.postMessage(parseInt(readFileSync("/proc/thread-self/stat", "utf8")));`,
      { eval: true },
    );
    const [id] = (await once(worker, "message")) as [number];
    assert.equal(sharing.isAlive({ id, startTime: 0 }), true);
    worker.postMessage("end");
    await once(worker, "exit");
    assert.equal(sharing.isAlive({ id, startTime: 0 }), false);
  });

  test("reclaim finds what nobody kept, and nothing else", () => {
    const memory = systemMemory();
    const size = 65536;
    const tag = { name: "test0reclaim", isGuarded: true };
    const kept = memory.allocDualMapping(size, {}, tag);
    memory.allocDualMapping(size, {}, tag);
    memory.alloc(size, { read: true }, tag);
    const named = (): number =>
      mapLines().filter((line) => line.includes("jit-allocator-test0reclaim")).length;
    assert.equal(named(), 5);
    memory.sharing?.reclaim(tag.name, [{ address: kept.rx, sizeBytes: 2 * size }]);
    assert.equal(named(), 2);
    memory.releaseDualMapping(kept, size);
    assert.equal(named(), 0);
    assert.ok(openDescriptors().every((line) => !line.includes("test0reclaim")));
  });
});
