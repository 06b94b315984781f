/** What an allocator seals of its range, on a fake Linux that refuses to change what is sealed. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitError, type JitAllocatorOptions } from "../../src/index.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";
import { FakeLibc, type FakeMachine, type LibcCall } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";
import { Random } from "../support/random.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const SEED = 20261128;

class Subject {
  readonly libc: FakeLibc;
  readonly #memory;

  constructor(machine: FakeMachine = {}) {
    this.libc = new FakeLibc(machine);
    this.#memory = linuxOn(this.libc);
  }

  make(options: JitAllocatorOptions = {}): JitAllocator {
    return new JitAllocator({ maxReservedSize: 64 * MiB, sealed: true, ...options }, this.#memory);
  }

  /** The bytes that are sealed of both views, and that have access: the same, from the start of the range on. */
  sealedBytes({ range }: JitAllocator): number {
    assert.ok(range);
    const { start, size } = range;
    const bytesOf = (view: number): number => {
      const within = this.libc.mappings.filter(({ start: at }) => at >= view && at < view + size);
      for (const { start: at, isSealed, protection } of within) {
        assert.equal(isSealed, at === view && within.length > 1, "one stretch, at the start");
        assert.equal(protection !== 0, isSealed);
      }
      return within[0]?.isSealed === true ? within[0].sizeBytes : 0;
    };
    assert.equal(bytesOf(start), bytesOf(start - size));
    return bytesOf(start);
  }

  counted(call: LibcCall, act: () => void): number {
    const before = this.libc.calls.length;
    act();
    return this.libc.calls.slice(before).filter((name) => name === call).length;
  }
}

describe("the option sealed", () => {
  test("is off unless it is asked for, and then no call asks about it", () => {
    const subject = new Subject();
    const count = subject.counted("mseal", () => {
      const allocator = subject.make({ sealed: false });
      assert.equal(allocator.hasOption("sealed"), false);
      allocator.alloc(64);
      allocator.dispose();
      assert.equal(new JitAllocator({}, linuxOn(subject.libc)).options.sealed, false);
    });
    assert.equal(count, 0);
    assert.equal(subject.make().options.sealed, true);
  });

  test("needs a range: ERR_INVALID_ARGUMENT", () => {
    const error = throwsJitError("ERR_INVALID_ARGUMENT", () => new Subject().make({ useRange: false }));
    assert.match(error.message, /sealed.*useRange/);
  });

  for (const [what, machine] of [
    ["an older kernel", { knowsMseal: false }],
    ["a filter of its calls", {}],
  ] as const) {
    test(`on a system with ${what}: ERR_FEATURE_NOT_ENABLED, with the way out`, () => {
      const subject = new Subject(machine);
      subject.libc.refuse("mseal", Errno.EPERM, () => what !== "an older kernel");
      const { message } = throwsJitError("ERR_FEATURE_NOT_ENABLED", () => subject.make());
      assert.match(message, /Linux 6\.10.*leave `sealed` out/);
      assert.deepEqual(subject.libc.leftovers(), []);
      subject.make({ sealed: false }).alloc(64);
    });
  }

  test("on a system without ranges: ERR_FEATURE_NOT_ENABLED", () => {
    const error = throwsJitError(
      "ERR_FEATURE_NOT_ENABLED",
      () => new JitAllocator({ sealed: true }, new SimulatedMemory()),
    );
    assert.match(error.message, /no ranges.*leave `sealed` out/);
  });

  test("where a policy forbids the range: the first allocation says so, and no block lies elsewhere, unsealed", () => {
    const subject = new Subject();
    subject.libc.refuse("open", Errno.ENOENT);
    const allocator = subject.make();
    const { message } = throwsJitError("ERR_FEATURE_NOT_ENABLED", () => allocator.alloc(64));
    assert.match(message, /\/proc\/self\/fd.*leave `sealed` out/);
    allocator.verify();
    assert.deepEqual(subject.libc.leftovers(), []);
  });

  test("where a policy comes later: an error, and no block lies elsewhere, unsealed", () => {
    const subject = new Subject();
    subject.make({ sealed: false }).dispose();
    const allocator = subject.make();
    subject.libc.refuse("mseal", Errno.EPERM);
    throwsJitError("ERR_PERMISSION", () => allocator.alloc(64));
    assert.equal(allocator.statistics().blockCount, 0);
    allocator.verify();
  });
});

describe("what is sealed of a range", () => {
  test("is its blocks, by two calls for each new one, and none for one that lies in what is sealed", () => {
    const subject = new Subject();
    const allocator = subject.make({ immediateRelease: true });
    assert.equal(
      subject.counted("mseal", () => allocator.alloc(60_000)),
      2,
    );
    assert.equal(subject.sealedBytes(allocator), 64 * KiB);
    const span = allocator.alloc(300_000);
    const sealed = subject.sealedBytes(allocator);
    assert.equal(sealed, allocator.statistics().reservedSize);
    span.release();
    assert.ok(allocator.statistics().reservedSize < sealed);
    assert.equal(subject.sealedBytes(allocator), sealed);
    const calls = ["mseal", "mprotect"] as const;
    for (const call of calls)
      assert.equal(
        subject.counted(call, () => allocator.alloc(60_000).release()),
        0,
      );
    allocator.verify();
  });

  test(`is what lies below the highest end of a block, whatever comes and goes (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const subject = new Subject();
    let sealed = 0;
    for (let life = 0; life < 6; life++) {
      const allocator = subject.make({ immediateRelease: true, useDualMapping: true });
      const live: number[] = [];
      for (let round = 0; round < 200; round++) {
        const isGrowing = round % 100 < 50;
        if (random.chance(isGrowing ? 0.7 : 0.3)) {
          const size = random.pick([100, 30_000, 60_000, 200_000, 3_000_000]);
          if (allocator.statistics().reservedSize < 40 * MiB) live.push(allocator.allocAddress(size));
        } else if (live.length > 0) {
          allocator.release(live.splice(random.below(live.length), 1)[0] ?? 0);
        }
        const { range } = allocator;
        if (range === undefined) continue;
        const ends = allocator.blocks().map(({ rx, size }) => rx + size - range.start);
        sealed = Math.max(sealed, ...ends);
        if (random.chance(0.02)) {
          allocator.reset("hard");
          live.length = 0;
        }
        assert.equal(subject.sealedBytes(allocator), sealed);
      }
      allocator.verify();
      allocator.dispose();
    }
    assert.ok(sealed > 4 * MiB);
    assert.deepEqual(subject.libc.writableCode, []);
    assert.equal(subject.libc.calls.filter((call) => call === "memfd_create").length, 1, "one range for all");
  });

  test("may have a block that begins in what is sealed and ends behind it", () => {
    const subject = new Subject();
    const allocator = subject.make({ immediateRelease: true });
    const { rx } = allocator.alloc(60_000);
    allocator.release(rx);
    assert.equal(allocator.alloc(500_000).rx, rx);
    assert.ok(subject.sealedBytes(allocator) >= 500_000);
    allocator.verify();
  });

  test("invariant 20: a block that is not sealed is noticed", () => {
    const subject = new Subject();
    const allocator = subject.make();
    const state = new Float64Array(allocator.share().state);
    allocator.alloc(64);
    allocator.verify();
    const at = state.findIndex((value) => Math.floor(value) === 64 * KiB && value % 1 !== 0);
    assert.notEqual(at, -1);
    state[at] = 0;
    assert.throws(() => allocator.verify(), /invariant 20 is broken: a block is not sealed/);
  });
});

describe("a sealed allocator where a call of the system fails", () => {
  const acts: readonly (readonly [string, (allocator: JitAllocator) => void])[] = [
    ["the first block", (allocator) => void allocator.allocAddress(60_000)],
    ["a further block", (allocator) => void [60_000, 200_000].map((size) => allocator.allocAddress(size))],
    ["a release", (allocator) => allocator.release(allocator.allocAddress(200_000))],
    [
      "a hard reset",
      (allocator) => {
        allocator.allocAddress(60_000);
        allocator.allocAddress(200_000);
        allocator.reset("hard");
      },
    ],
  ];
  for (const [name, act] of acts) {
    test(`${name}: works on when the system does, and everything there is is sealed`, () => {
      let failures = 0;
      for (let position = 0, isWhole = false; !isWhole; position++) {
        for (const errno of [Errno.ENOMEM, Errno.EPERM, Errno.ENOSYS]) {
          const subject = new Subject();
          const allocator = subject.make({ immediateRelease: true });
          subject.libc.failAt(position, errno);
          const calls = subject.libc.calls.length;
          try {
            act(allocator);
            isWhole = subject.libc.calls.length - calls <= position;
          } catch (error) {
            assert.ok(error instanceof JitError, String(error));
            failures++;
          }
          allocator.verify();
          subject.libc.failAt(-1, 0);
          allocator.reset("hard");
          const addresses = [60_000, 300_000, 60_000].map((size) => allocator.allocAddress(size));
          allocator.verify();
          const { range } = allocator;
          const end = Math.max(...allocator.blocks().map(({ rx, size }) => rx + size)) - (range?.start ?? 0);
          assert.ok(subject.sealedBytes(allocator) >= end, `call ${position}, errno ${errno}`);
          for (const address of addresses) allocator.release(address);
          allocator.dispose();
          assert.deepEqual(
            subject.libc.mappings.flatMap(({ file }) => [...(file?.pages ?? [])]),
            [],
          );
          assert.equal(subject.libc.descriptors.size, 0);
        }
      }
      assert.ok(failures > 3, String(failures));
    });
  }

  test("the disposal, where what was begun cannot be sealed: the rest of the range goes", () => {
    const subject = new Subject();
    const allocator = subject.make();
    allocator.alloc(64);
    const { range } = allocator;
    assert.ok(range);
    subject.libc.refuse("mseal", Errno.ENOMEM, ([address]) => Number(address) < range.start);
    throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(500_000));
    allocator.dispose();
    const rest = subject.libc.mappings.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert.ok(rest < 4 * MiB, String(rest));
  });
});
