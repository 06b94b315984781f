/** Where mappings lie, on a fake machine and on this one: side by side, whatever the system would have done. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemMemory } from "../../src/vm/select.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { MapFlag } from "../../src/vm/linux/libc.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";
import { needs } from "../support/requirements.ts";

const SIZE = 16 * PAGE;
const GIB = 2 ** 30;

describe("the places of mappings", () => {
  it("each lies right below the one before", () => {
    const memory = linuxOn(new FakeLibc());
    let above = memory.allocDualMapping(SIZE, {}).rx;
    for (const size of [SIZE, 4 * SIZE, PAGE]) {
      const { rx } = memory.allocDualMapping(size, {});
      assert.equal(rx, above - 2 * size);
      above = rx;
    }
    assert.equal(memory.alloc(SIZE, { read: true }), above - SIZE, "in one view as well");
  });

  it("the place of the lowest is used again when it was given back, and the ones above it then", () => {
    const memory = linuxOn(new FakeLibc());
    const first = memory.allocDualMapping(SIZE, {});
    const second = memory.allocDualMapping(SIZE, {});
    memory.releaseDualMapping(second, SIZE);
    memory.releaseDualMapping(first, SIZE);
    assert.deepEqual(memory.allocDualMapping(SIZE, {}), first);
    assert.deepEqual(memory.allocDualMapping(SIZE, {}), second);
  });

  it("what somebody else has mapped stays, and the next ones lie side by side elsewhere", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const { rx } = memory.allocDualMapping(SIZE, {});
    const strange = libc.mmap(rx - PAGE, PAGE, 0, 0x22, -1, 0);
    assert.equal(strange, rx - PAGE);
    const second = memory.allocDualMapping(SIZE, {});
    const third = memory.allocDualMapping(SIZE, {});
    const fourth = memory.allocDualMapping(SIZE, {});
    assert.ok(Math.abs(second.rx - rx) > SIZE);
    assert.equal(fourth.rx, third.rx - 2 * SIZE);
    assert.equal(libc.mappingAt(strange)?.sizeBytes, PAGE);
  });

  it("so it does where only one of two views finds its place taken", () => {
    for (const view of ["rx", "rw"] as const) {
      const libc = new FakeLibc();
      const memory = linuxOn(libc);
      const { rx } = memory.allocDualMapping(SIZE, {});
      const taken = view === "rx" ? rx - 2 * SIZE : rx - SIZE;
      assert.equal(libc.mmap(taken, PAGE, 0, 0x22, -1, 0), taken);
      const second = memory.allocDualMapping(SIZE, {});
      assert.equal(second.rw, second.rx + SIZE);
      assert.equal(libc.mappingAt(taken)?.file, undefined, "what was there still is");
      memory.releaseDualMapping(second, SIZE);
      memory.releaseDualMapping({ rx, rw: rx + SIZE }, SIZE);
      assert.equal(libc.munmap(taken, PAGE), 0);
      assert.deepEqual(libc.leftovers(), []);
    }
  });

  it("from the second on no mapping takes a range first, to map over it", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    memory.allocDualMapping(SIZE, {});
    const before = libc.calls.length;
    memory.allocDualMapping(SIZE, {});
    const mapped = libc.calls.slice(before).filter((call) => call === "mmap");
    assert.equal(mapped.length, 2, "one for each view");
  });

  it("a range that is used up is followed by another", () => {
    const memory = linuxOn(new FakeLibc());
    const first = memory.allocDualMapping(GIB / 4, {});
    const second = memory.allocDualMapping(GIB / 4, {});
    assert.equal(second.rx, first.rx - GIB / 2, "the range is full");
    const third = memory.allocDualMapping(GIB / 4, {});
    assert.equal(memory.allocDualMapping(GIB / 4, {}).rx, third.rx - GIB / 2);
  });

  it("what is larger than a range is placed by the system, and the range stays", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const first = memory.allocDualMapping(SIZE, {});
    const large = memory.allocDualMapping(GIB, {});
    const second = memory.allocDualMapping(SIZE, {});
    assert.equal(second.rx, first.rx - 2 * SIZE);
    memory.releaseDualMapping(large, GIB);
    for (const mapping of [first, second]) memory.releaseDualMapping(mapping, SIZE);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("what whoever dies may leave behind bears the tag: the range as well, while it is looked for", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const mapped: string[] = [];
    libc.refuse("mmap", Errno.ENOMEM, ([, sizeBytes, , flags]) => {
      mapped.push(`${(Number(flags) & MapFlag.ANONYMOUS) === 0 ? "named" : "nameless"} ${Number(sizeBytes)}`);
      return false;
    });
    const tag = { name: "tag", isGuarded: true };
    // The second goes where the first went before; the third finds the range too short, and looks for another.
    const sizes = [SIZE, SIZE, GIB / 2];
    const mappings = sizes.map((size) => memory.allocDualMapping(size, {}, tag));
    assert.deepEqual(
      mapped.filter((text) => text.startsWith("nameless")),
      [],
    );
    assert.equal(mapped.filter((text) => text === `named ${GIB}`).length, 3, "two ranges, and one reserved");
    mappings.forEach((mapping, index) => memory.releaseDualMapping(mapping, sizes[index] ?? 0));
    assert.deepEqual(libc.leftovers(), []);
  });

  it("where there is no such range, the system places as it likes", () => {
    const libc = new FakeLibc();
    libc.refuse("mmap", Errno.ENOMEM, ([, sizeBytes]) => sizeBytes === GIB);
    const memory = linuxOn(libc);
    const mapping = memory.allocDualMapping(SIZE, {});
    memory.release(memory.alloc(SIZE, {}), SIZE);
    memory.releaseDualMapping(mapping, SIZE);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("so it is on this machine", { skip: needs("linux") }, () => {
    const memory = systemMemory();
    const { pageSize } = memory.info();
    const size = 16 * pageSize;
    // The first may be where something was given back in between others of this process.
    const mappings = Array.from({ length: 4 }, () => memory.allocDualMapping(size, {}));
    const neighbours = mappings.filter(({ rx }, index) => rx + 2 * size === mappings[index - 1]?.rx);
    for (const mapping of mappings) memory.releaseDualMapping(mapping, size);
    assert.ok(neighbours.length >= 2, mappings.map(({ rx }) => rx.toString(16)).join(" "));
  });
});
