/** Constants and data in a range on Linux: which calls make them usable, and what is left where one of them fails. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LinuxMemory } from "../../src/vm/linux.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { Advice, MapFlag, Protection } from "../../src/vm/linux/libc.ts";
import type { AddressRange, RangeRequest } from "../../src/vm/range/contract.ts";
import { throwsJitError } from "../support/expectations.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";

const MiB = 2 ** 20;
const BLOCK = 16 * PAGE;
const OFFSET = 3 * MiB;
const REQUEST: RangeRequest = {
  sizeBytes: 64 * MiB,
  leastBytes: 64 * MiB,
  isDual: true,
  reachBytes: 2 ** 31,
};
const { NONE, READ, WRITE } = Protection;

interface Stage {
  readonly libc: FakeLibc;
  readonly memory: LinuxMemory;
  readonly range: AddressRange;
  /** The access of both views at the place. */
  readonly access: () => readonly (number | undefined)[];
}

function begin(isDual = true): Stage {
  const libc = new FakeLibc();
  const memory = linuxOn(libc);
  const range = memory.ranges.reserve({ ...REQUEST, isDual });
  assert.ok("rx" in range);
  libc.calls.length = 0;
  libc.writableCode.length = 0;
  const access = (): readonly (number | undefined)[] =>
    [range.rx, range.rw].map((view) => libc.mappingAt(view + OFFSET)?.protection);
  return { libc, memory, range, access };
}

describe("constants in a range", () => {
  it("are readable through rx and writable through rw, and never executable", () => {
    const { libc, memory, range, access } = begin();
    memory.ranges.commit(range, OFFSET, BLOCK, false, "constants");
    assert.deepEqual(access(), [READ, READ | WRITE]);
    libc.touch(range.rw + OFFSET);
    assert.equal(memory.ranges.residentPages(range, OFFSET, BLOCK, "constants")?.[0], 1);
    memory.ranges.discard(range, OFFSET, BLOCK, "constants");
    assert.equal(memory.ranges.residentPages(range, OFFSET, BLOCK, "constants")?.[0], 0);
    assert.equal(memory.ranges.decommit(range, OFFSET, BLOCK, "constants"), true);
    assert.deepEqual(access(), [NONE, NONE]);
    assert.equal(libc.mappings.length, 2, "both views are one mapping again");
    memory.ranges.commit(range, OFFSET, BLOCK, false);
    assert.deepEqual(access(), [READ | Protection.EXEC, READ | WRITE], "it may be code's now");
  });

  it("with one view are writable, and not executable", () => {
    const { memory, range, access } = begin(false);
    memory.ranges.commit(range, OFFSET, BLOCK, false, "constants");
    assert.deepEqual(access(), [READ | WRITE, READ | WRITE]);
  });
});

describe("data in a range", () => {
  for (const isDual of [true, false]) {
    it(`is anonymous memory in the executable view${isDual ? "" : ", which is the only one"}`, () => {
      const { libc, memory, range } = begin(isDual);
      memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
      const mapping = libc.mappingAt(range.rx + OFFSET);
      assert.deepEqual([mapping?.start, mapping?.sizeBytes], [range.rx + OFFSET, BLOCK]);
      assert.equal(mapping?.protection, READ | WRITE);
      assert.equal(mapping.file, undefined);
      assert.equal(mapping.flags & (MapFlag.PRIVATE | MapFlag.SHARED), MapFlag.PRIVATE);
      if (isDual)
        assert.equal(libc.mappingAt(range.rw + OFFSET)?.protection, NONE, "the other view has nothing");
      assert.equal(libc.mappingAt(range.rx + OFFSET - 1)?.protection, NONE);
      assert.equal(libc.mappingAt(range.rx + OFFSET + BLOCK)?.protection, NONE);
      memory.ranges.discard(range, OFFSET + PAGE, PAGE, "data");
      const expected = { address: range.rx + OFFSET + PAGE, sizeBytes: PAGE, advice: Advice.DONTNEED };
      assert.deepEqual(libc.advised.at(-1), expected);
      assert.equal(memory.ranges.decommit(range, OFFSET, BLOCK, "data"), true);
      assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, NONE);
      assert.equal(libc.advised.at(-1)?.advice, Advice.DONTNEED);
      memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
      assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, READ | WRITE);
      assert.deepEqual(libc.writableCode, []);
      memory.ranges.release(range);
      assert.deepEqual(libc.leftovers(), []);
    });
  }

  it("asks for large pages of its own memory", () => {
    const { libc, memory, range } = begin();
    memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
    memory.ranges.adviseLargePages(range, OFFSET, BLOCK, "data");
    assert.deepEqual(libc.advised.at(-1), {
      ...{ address: range.rx + OFFSET, sizeBytes: BLOCK, advice: Advice.HUGEPAGE },
    });
  });

  it("is wiped whatever it was: data, constants, or half of one of them", () => {
    for (const isDual of [true, false]) {
      for (const kind of ["data", "constants", "code", undefined] as const) {
        const { libc, memory, range } = begin(isDual);
        if (kind !== undefined) memory.ranges.commit(range, OFFSET, BLOCK, false, kind);
        if (kind === "constants" || kind === "code") libc.touch(range.rw + OFFSET);
        assert.equal(memory.ranges.wipe(range, OFFSET, BLOCK, true), true);
        const place = libc.mappingAt(range.rx + OFFSET);
        assert.deepEqual([place?.protection, place?.file], [NONE, undefined]);
        if (isDual) assert.equal(libc.mappingAt(range.rw + OFFSET)?.protection, NONE);
        for (const { file } of libc.mappings) assert.equal(file?.pages.size ?? 0, 0, kind);
        memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
        assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, READ | WRITE);
      }
    }
  });

  it("a commit that fails at any call leaves no access, and can be made again", () => {
    for (let position = 0; position < 2; position++) {
      const { libc, memory, range } = begin();
      libc.failAt(position, Errno.ENOMEM);
      throwsJitError("ERR_OUT_OF_MEMORY", () => memory.ranges.commit(range, OFFSET, BLOCK, true, "data"));
      assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, NONE);
      memory.ranges.commit(range, OFFSET, BLOCK, true, "data");
      assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, READ | WRITE);
    }
  });

  it("a decommit that fails changes nothing, or leaves the stretch unclean", () => {
    const { libc, memory, range } = begin();
    memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
    libc.calls.length = 0;
    libc.failAt(0, Errno.ENOMEM);
    throwsJitError("ERR_OUT_OF_MEMORY", () => memory.ranges.decommit(range, OFFSET, BLOCK, "data"));
    assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, READ | WRITE);
    libc.failAt(1, Errno.EPERM);
    assert.equal(memory.ranges.decommit(range, OFFSET, BLOCK, "data"), false);
    assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, NONE);
    assert.equal(memory.ranges.wipe(range, OFFSET, BLOCK, true), true);
  });

  it("a discard that the system refuses is an error", () => {
    const { libc, memory, range } = begin();
    memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
    libc.refuse("madvise", Errno.EINVAL);
    assert.throws(() => memory.ranges.discard(range, OFFSET, BLOCK, "data"), /EINVAL/);
  });

  it("wipe never throws, and says whether the stretch is untouched", () => {
    for (let position = 0; position < 4; position++) {
      const { libc, memory, range } = begin();
      memory.ranges.commit(range, OFFSET, BLOCK, false, "data");
      libc.failAt(position, Errno.EPERM);
      const isSaid = memory.ranges.wipe(range, OFFSET, BLOCK, true);
      if (isSaid) assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, NONE);
      assert.equal(memory.ranges.wipe(range, OFFSET, BLOCK, true), true);
    }
  });
});
