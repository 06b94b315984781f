/** How mappings are found again that a thread left, on fake machines and on the real one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Protection } from "../../src/vm/linux/libc.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";
import { openDescriptors, mapLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";

const SIZE = 16 * PAGE;

describe("mappings on a fake Linux", () => {
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

describe("mappings on this machine", { skip: needs("linux") }, () => {
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
