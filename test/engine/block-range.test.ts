/** What an allocator makes usable of its range, on a fake Linux: its blocks, and one stretch that is ready for the next. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions } from "../../src/index.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { Protection } from "../../src/vm/linux/libc.ts";
import { throwsJitError } from "../support/expectations.ts";
import { FakeLibc } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";
import { Random } from "../support/random.ts";

const KiB = 1024;
const STEP = 2048 * KiB;
const SEED = 20261127;

class Subject {
  readonly libc = new FakeLibc();
  readonly allocator: JitAllocator;

  constructor(options: JitAllocatorOptions = {}) {
    this.allocator = new JitAllocator({ maxReservedSize: 64 * STEP, ...options }, linuxOn(this.libc));
  }

  get start(): number {
    return this.allocator.range?.start ?? assert.fail("there is no range");
  }

  /** The stretches of both views that can be accessed, by their offsets in the range. */
  usable(): { readonly rx: [number, number][]; readonly rw: [number, number][] } {
    const { start } = this;
    const size = this.allocator.range?.size ?? 0;
    const of = (view: number): [number, number][] =>
      this.libc.mappings
        .filter(
          ({ start: at, protection }) => at >= view && at < view + size && protection !== Protection.NONE,
        )
        .map(({ start: at, sizeBytes }) => [at - view, at - view + sizeBytes]);
    return { rx: of(start), rw: of(start - size) };
  }

  /** How many calls change the access of memory. */
  protections(act: () => void): number {
    const before = this.libc.calls.length;
    act();
    return this.libc.calls.slice(before).filter((call) => call === "mprotect").length;
  }

  /** The bytes that can be accessed and are no block's. */
  ready(): number {
    const { rx, rw } = this.usable();
    assert.deepEqual(rx, rw);
    return rx.reduce((sum, [from, to]) => sum + to - from, 0) - this.allocator.statistics().reservedSize;
  }
}

describe("where the system's policy forbids a range", () => {
  const addsExecution = ([, , protection]: readonly unknown[]): boolean =>
    (Number(protection) & Protection.EXEC) !== 0;
  const isRange = ([, sizeBytes]: readonly unknown[]): boolean => Number(sizeBytes) >= 64 * STEP;
  const rows: readonly (readonly [string, (libc: FakeLibc) => void])[] = [
    ["no /proc", (libc) => libc.refuse("open", Errno.ENOENT)],
    ["reopening refused by a policy", (libc) => libc.refuse("open", Errno.EACCES)],
    ["no memfd (seccomp)", (libc) => libc.refuse("memfd_create", Errno.ENOSYS)],
    ["mprotect may not add execution (MDWE)", (libc) => libc.refuse("mprotect", Errno.EACCES, addsExecution)],
    [
      "mprotect may not add execution (seccomp)",
      (libc) => libc.refuse("mprotect", Errno.EPERM, addsExecution),
    ],
    ["pages cannot be given back (seccomp)", (libc) => libc.refuse("madvise", Errno.ENOSYS)],
    ["no mapping without access (a policy)", (libc) => libc.refuse("mmap", Errno.EACCES, isRange)],
  ];
  for (const [name, refuse] of rows) {
    for (const isLater of [false, true]) {
      test(`${name}${isLater ? ", since a range was had" : ""}: blocks are mapped one by one, and all works`, () => {
        const subject = new Subject();
        const { allocator } = subject;
        if (isLater) {
          allocator.alloc(40_000);
          allocator.reset("hard");
          assert.ok(allocator.range);
        }
        refuse(subject.libc);
        const spans = [40_000, 100_000, 64].map((size) => allocator.alloc(size));
        // Files are opened and made when a range is reserved alone: what is there goes on.
        const isNoticed = !isLater || name.startsWith("mprotect");
        assert.equal(allocator.range === undefined, isNoticed);
        allocator.verify();
        for (const span of spans) span.release();
        allocator.verify();
        allocator.dispose();
        assert.deepEqual(
          subject.libc.mappings.filter(({ protection }) => protection !== Protection.NONE),
          [],
        );
        assert.equal(subject.libc.descriptors.size, 0);
        assert.deepEqual(subject.libc.writableCode, []);
      });
    }
  }

  test("a lack of addresses (RLIMIT_AS) is no policy: the range is smaller, or an error says so", () => {
    const subject = new Subject();
    subject.libc.refuse("mmap", Errno.ENOMEM, ([, sizeBytes]) => Number(sizeBytes) > 150 * 1024 * KiB);
    subject.allocator.alloc(64);
    assert.equal(subject.allocator.range?.size, 64 * 1024 * KiB);
    assert.equal(subject.allocator.options.maxReservedSize, 64 * 1024 * KiB);
    const { message } = throwsJitError("ERR_OUT_OF_MEMORY", () => subject.allocator.alloc(100 * 1024 * KiB));
    assert.match(message, /maxReservedSize \(67108864\)/, "the limit in force");
    const none = new Subject();
    none.libc.refuse("mmap", Errno.ENOMEM);
    throwsJitError("ERR_OUT_OF_MEMORY", () => none.allocator.alloc(64));
    none.allocator.verify();
    assert.deepEqual(none.libc.leftovers(), []);
  });
});

describe("what is usable of a range", () => {
  test("is a step, in which further blocks need no call of the system", () => {
    const subject = new Subject();
    const { allocator } = subject;
    allocator.allocAddress(40_000);
    assert.deepEqual(subject.usable().rx, [[0, STEP]]);
    const calls = subject.protections(() => {
      for (let size = 0; size < 1600 * KiB; size += 50 * KiB) allocator.allocAddress(50 * KiB);
    });
    assert.ok(allocator.statistics().blockCount > 4);
    assert.equal(calls, 0);
    allocator.allocAddress(3 * STEP);
    assert.ok(subject.ready() < STEP);
    allocator.verify();
    assert.equal(
      subject.protections(() => allocator.reset("hard")),
      2,
      "all blocks at once",
    );
    assert.deepEqual(subject.usable().rx, []);
    allocator.dispose();
  });

  test("is no block's that was given back", () => {
    const subject = new Subject({ immediateRelease: true });
    const { allocator } = subject;
    const [first] = [60_000, 60_000, 200_000].map((size) => allocator.allocAddress(size));
    assert.ok(first !== undefined);
    allocator.release(first);
    assert.deepEqual(subject.usable().rx, [[64 * KiB, STEP]]);
    allocator.reset("hard");
    allocator.allocAddress(60_000);
    assert.deepEqual(subject.usable().rx, [[0, 64 * KiB]], "what was a block's traps until it is one again");
    allocator.dispose();
    assert.deepEqual(subject.libc.writableCode, []);
  });

  test(`is the blocks and less than a step, whatever comes and goes (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const subject = new Subject({ immediateRelease: true });
    const { allocator } = subject;
    const live: number[] = [];
    let calls = 0;
    for (let round = 0; round < 1500; round++) {
      calls += subject.protections(() => {
        const isGrowing = round % 300 < 150;
        if (random.chance(isGrowing ? 0.7 : 0.3)) {
          const size = random.pick([100, 30_000, 60_000, 200_000, 3_000_000]);
          if (allocator.statistics().reservedSize < 40 * STEP) live.push(allocator.allocAddress(size));
        } else if (live.length > 0) {
          allocator.release(live.splice(random.below(live.length), 1)[0] ?? 0);
        }
        if (random.chance(0.005)) {
          allocator.reset("hard");
          live.length = 0;
        }
      });
      if (allocator.range === undefined) continue;
      const ready = subject.ready();
      assert.ok(ready >= 0 && ready < STEP, String(ready));
      const blocks = allocator
        .blocks()
        .map(({ rx, size }) => [rx - subject.start, rx - subject.start + size]);
      const { rx } = subject.usable();
      for (const [from = 0, to = 0] of blocks)
        assert.ok(rx.some(([start, end]) => from >= start && to <= end));
    }
    assert.ok(calls > 100);
    allocator.dispose();
    assert.equal(
      subject.libc.mappings.every(({ protection }) => protection === Protection.NONE),
      true,
    );
  });

  test("is given up where constants or data come to lie there", () => {
    for (const kind of ["constants", "data"] as const) {
      const subject = new Subject({ maxReservedSize: 512 * KiB });
      const { allocator } = subject;
      allocator.allocAddress(40_000);
      assert.equal(allocator.range?.size, STEP);
      assert.deepEqual(subject.usable().rx, [[0, STEP]]);
      const other = allocator.alloc(30_000, { kind });
      const start = other.rx - subject.start - 64;
      const ours = [
        [0, 64 * KiB],
        [start, start + 64 * KiB],
      ];
      assert.deepEqual(subject.usable().rx, ours);
      assert.deepEqual(subject.usable().rw, kind === "data" ? ours.slice(0, 1) : ours);
      allocator.allocAddress(60_000);
      allocator.verify();
      other.release();
      allocator.reset("hard");
      assert.deepEqual(subject.usable(), { rx: [], rw: [] });
      allocator.dispose();
      // A range is kept for the next allocator, unless it has had data.
      assert.equal(subject.libc.leftovers().length, kind === "data" ? 0 : 2);
    }
  });

  test("is the blocks alone as soon as other threads have the range too", () => {
    const subject = new Subject();
    subject.allocator.allocAddress(40_000);
    subject.allocator.share();
    assert.deepEqual(subject.usable().rx, [[0, 64 * KiB]]);
    subject.allocator.allocAddress(60_000);
    assert.deepEqual(subject.usable().rx, [[0, 128 * KiB]]);
    subject.allocator.dispose();
  });

  test("is the blocks alone where large pages are asked for", () => {
    const subject = new Subject({ useLargePages: true, blockSize: 64 * KiB });
    subject.allocator.allocAddress(40_000);
    assert.deepEqual(subject.usable().rx, [[0, 64 * KiB]]);
    subject.allocator.dispose();
  });

  test("is what it was where the system refuses to take all back at once", () => {
    const subject = new Subject();
    const { allocator } = subject;
    for (let count = 0; count < 4; count++) allocator.allocAddress(60_000);
    const before = allocator.statistics();
    subject.libc.refuse("mprotect", Errno.ENOMEM);
    assert.throws(() => allocator.reset("hard"), /ENOMEM/);
    assert.deepEqual(allocator.statistics(), before);
    allocator.verify();
    assert.deepEqual(subject.usable().rx, [[0, STEP]]);
  });
});
