/** One range on a fake Linux: what is mapped, what each refusal leads to, and what is left after each failure. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { JitErrorCode } from "../../src/base/errors.ts";
import type { LinuxMemory } from "../../src/vm/linux.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { Advice, Protection } from "../../src/vm/linux/libc.ts";
import type { AddressRange, RangeRequest, ReservedRange } from "../../src/vm/range/contract.ts";
import { FakeLibc, LARGE_PAGE, PAGE } from "../support/fake-libc.ts";
import type { FakeMachine } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";

const MiB = 2 ** 20;
const BLOCK = 16 * PAGE;
const OFFSET = 4 * BLOCK;
const REACH = 2 ** 31;
const ERRNOS = [Errno.ENOMEM, Errno.EACCES, Errno.EPERM, Errno.EINVAL, Errno.EMFILE, Errno.ENOSYS];
const DUAL: RangeRequest = { sizeBytes: 512 * MiB, leastBytes: 64 * MiB, isDual: true, reachBytes: REACH };

interface Machine {
  readonly libc: FakeLibc;
  readonly memory: LinuxMemory;
}

function start(machine: FakeMachine = {}): Machine {
  const libc = new FakeLibc(machine);
  return { libc, memory: linuxOn(libc) };
}

function reserved(memory: LinuxMemory, request = DUAL): ReservedRange {
  const range = memory.ranges.reserve(request);
  assert.ok("rx" in range, JSON.stringify(range));
  return range;
}

function refused(memory: LinuxMemory, request = DUAL): string {
  const refusal = memory.ranges.reserve(request);
  assert.ok("reason" in refusal, "there is a range");
  return refusal.reason;
}

function throwsCode(code: JitErrorCode, act: () => unknown, message?: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof JitError, String(error));
    assert.equal(error.code, code);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  });
}

describe("a range of a fake Linux", () => {
  it("is two mappings without access, aligned for large pages, and no descriptor", () => {
    const { libc, memory } = start();
    const range = reserved(memory);
    assert.equal(range.sizeBytes, DUAL.sizeBytes);
    assert.equal(range.rx % LARGE_PAGE, 0);
    assert.equal(range.rw % LARGE_PAGE, 0);
    assert.deepEqual(
      libc.mappings.map(({ start: at, sizeBytes, protection }) => [at, sizeBytes, protection]),
      [
        [range.rw, range.sizeBytes, Protection.NONE],
        [range.rx, range.sizeBytes, Protection.NONE],
      ],
    );
    assert.equal(libc.descriptors.size, 0);
    memory.ranges.release(range);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("the next one lies right below, by two mmap and no munmap", () => {
    const { libc, memory } = start();
    const first = reserved(memory);
    libc.calls.length = 0;
    const second = reserved(memory);
    assert.equal(second.rx + second.sizeBytes, first.rw);
    assert.deepEqual(
      libc.calls.filter((call) => call.startsWith("m")),
      ["memfd_create", "mmap", "mmap"],
    );
  });

  it("its stretches are usable from commit to decommit, and hold no page afterwards", () => {
    const { libc, memory } = start();
    const range = reserved(memory);
    const access = (address: number): number | undefined => libc.mappingAt(address)?.protection;
    memory.ranges.commit(range, OFFSET, BLOCK, false);
    assert.equal(access(range.rx + OFFSET), Protection.READ | Protection.EXEC);
    assert.equal(access(range.rw + OFFSET), Protection.READ | Protection.WRITE);
    assert.equal(access(range.rx + OFFSET + BLOCK), Protection.NONE);
    assert.equal(access(range.rw + OFFSET - 1), Protection.NONE);
    libc.touch(range.rw + OFFSET + PAGE);
    assert.deepEqual(
      memory.ranges.residentPages(range, OFFSET, BLOCK),
      Uint8Array.from({ length: 16 }, (_, page) => (page === 1 ? 1 : 0)),
    );
    assert.equal(memory.ranges.decommit(range, OFFSET, BLOCK), true);
    assert.equal(libc.mappings.length, 2, "both views are one mapping again");
    assert.deepEqual(libc.mappings[0]?.file?.pages, new Set());
    assert.deepEqual(libc.writableCode, []);
  });

  it("two blocks side by side are one mapping a view", () => {
    const { libc, memory } = start();
    const range = reserved(memory);
    memory.ranges.commit(range, 0, BLOCK, false);
    memory.ranges.commit(range, BLOCK, 3 * BLOCK, false);
    assert.equal(libc.mappings.length, 4);
  });

  it("discard takes the pages of a part, and of no other", () => {
    const { libc, memory } = start();
    const range = reserved(memory);
    memory.ranges.commit(range, 0, BLOCK, false);
    for (const page of [0, 1, 2]) libc.touch(range.rw + page * PAGE);
    memory.ranges.discard(range, PAGE, PAGE);
    assert.deepEqual(libc.mappings[0]?.file?.pages, new Set([0, 2]));
  });

  it("a single view is writable and executable, and goes through neither at once", () => {
    const { libc, memory } = start();
    const range = reserved(memory, { ...DUAL, isDual: false });
    assert.equal(range.rx, range.rw);
    libc.writableCode.length = 0;
    memory.ranges.commit(range, 0, BLOCK, false);
    assert.equal(libc.mappingAt(range.rx)?.protection, 7);
    libc.touch(range.rw);
    assert.equal(memory.ranges.decommit(range, 0, BLOCK), true);
    assert.deepEqual(libc.mappings[0]?.file?.pages, new Set());
    memory.ranges.release(range);
    assert.deepEqual(libc.leftovers(), []);
  });
});

describe("where the system has no room for a range", () => {
  it("it is halved until there is", () => {
    const { libc, memory } = start();
    libc.refuse("mmap", Errno.ENOMEM, ([, sizeBytes]) => Number(sizeBytes) > 300 * MiB);
    assert.equal(reserved(memory).sizeBytes, 128 * MiB);
  });

  it("below the least there is none, and the error names the limit", () => {
    const { libc, memory } = start();
    libc.refuse("mmap", Errno.ENOMEM, ([, sizeBytes]) => Number(sizeBytes) > 100 * MiB);
    throwsCode("ERR_OUT_OF_MEMORY", () => memory.ranges.reserve(DUAL), /RLIMIT_AS.*useRange: false/);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("a limit of files halves it too, and leads to the rung below", () => {
    const small = start({ fileSizeLimit: 100 * MiB });
    assert.equal(reserved(small.memory).sizeBytes, 64 * MiB);
    const smaller = start({ fileSizeLimit: 10 * MiB });
    assert.match(refused(smaller.memory), /RLIMIT_FSIZE/);
    assert.deepEqual(smaller.libc.leftovers(), []);
  });
});

describe("where the system's policy forbids a range, the rung below is taken", () => {
  const execute = ([, , protection]: readonly unknown[]): boolean =>
    (Number(protection) & Protection.EXEC) !== 0;
  const rows: readonly [string, RegExp, (libc: FakeLibc) => void][] = [
    ["no memfd (seccomp)", /memfd_create: ENOSYS/, (libc) => libc.refuse("memfd_create", Errno.ENOSYS)],
    ["no /proc", /open: ENOENT.*\/proc\/self\/fd/, (libc) => libc.refuse("open", Errno.ENOENT)],
    ["reopening refused", /open: EACCES/, (libc) => libc.refuse("open", Errno.EACCES)],
    [
      "mprotect may not add execution (MDWE)",
      /mprotect: EACCES/,
      (libc) => libc.refuse("mprotect", Errno.EACCES, execute),
    ],
    ["pages cannot be given back (seccomp)", /madvise: EPERM/, (libc) => libc.refuse("madvise", Errno.EPERM)],
    ["files of memory cannot be mapped", /mmap: EPERM/, (libc) => libc.refuse("mmap", Errno.EPERM)],
    ["files cannot grow", /ftruncate: EPERM/, (libc) => libc.refuse("ftruncate", Errno.EPERM)],
  ];
  for (const [name, reason, refuse] of rows) {
    it(name, () => {
      const { libc, memory } = start();
      refuse(libc);
      assert.match(refused(memory), reason);
      assert.deepEqual(libc.leftovers(), []);
    });
  }

  it("a kernel without MFD_EXEC, or a system that refuses it, has a range all the same", () => {
    for (const machine of [{ knowsMfdExec: false }, { memfdNoexec: 2 }] as const)
      reserved(start(machine).memory);
  });

  it("a kernel that cannot seal has one too", () => {
    const { libc, memory } = start();
    libc.refuse("fcntl", Errno.EINVAL);
    reserved(memory);
  });
});

describe("each call of a range, failing at each position", () => {
  /** What `run` leaves behind counts from the state that `prepare` made. */
  const operations: readonly {
    readonly name: string;
    readonly request?: RangeRequest;
    readonly isReserved: boolean;
    readonly prepare?: (memory: LinuxMemory, range: AddressRange) => void;
    readonly run: (memory: LinuxMemory, range: AddressRange) => unknown;
  }[] = [
    { name: "reserve", isReserved: false, run: (memory) => reserved(memory) },
    {
      name: "reserve with one view",
      request: { ...DUAL, isDual: false },
      isReserved: false,
      run: (memory) => reserved(memory, { ...DUAL, isDual: false }),
    },
    { name: "release", isReserved: true, run: (memory, range) => memory.ranges.release(range) },
    {
      name: "commit",
      isReserved: true,
      run: (memory, range) => memory.ranges.commit(range, OFFSET, BLOCK, true),
    },
    {
      name: "discard",
      isReserved: true,
      prepare: (memory, range) => memory.ranges.commit(range, OFFSET, BLOCK, false),
      run: (memory, range) => memory.ranges.discard(range, OFFSET, BLOCK),
    },
  ];
  for (const { name, isReserved, prepare, run } of operations) {
    const begin = (): Machine & { readonly range: AddressRange } => {
      const machine = start();
      const range = isReserved ? reserved(machine.memory) : { rx: 0, rw: 0, sizeBytes: 0 };
      prepare?.(machine.memory, range);
      machine.libc.calls.length = 0;
      return { ...machine, range };
    };
    const whole = begin();
    run(whole.memory, whole.range);
    for (const [position, call] of whole.libc.calls.entries()) {
      it(`${name}: ${call} (call ${position + 1} of ${whole.libc.calls.length})`, () => {
        for (const errno of ERRNOS) {
          const { libc, memory, range } = begin();
          const before = libc.leftovers();
          libc.failAt(position, errno);
          try {
            run(memory, range);
          } catch (error) {
            // A refusal is a result of `reserve`, which `reserved` complains about.
            if (!(error instanceof assert.AssertionError)) {
              assert.ok(error instanceof JitError, String(error));
              assert.match(error.message, /^Cannot .*E[A-Z]+ \(\d+\)/);
              assert.equal(error.errno, errno);
            }
            assert.deepEqual(libc.leftovers(), before, `after errno ${errno}`);
            run(memory, range);
          }
          assert.deepEqual(
            libc.writableCode.filter(() => !name.includes("one view")),
            [],
          );
          assert.equal(libc.descriptors.size, 0);
        }
      });
    }
  }
});

describe("a stretch that is taken back", () => {
  const begin = (): Machine & { readonly range: AddressRange } => {
    const machine = start();
    const range = reserved(machine.memory);
    machine.memory.ranges.commit(range, OFFSET, BLOCK, false);
    machine.libc.touch(range.rw + OFFSET);
    machine.libc.calls.length = 0;
    return { ...machine, range };
  };

  it("stays as it is where the first step is refused", () => {
    const { libc, memory, range } = begin();
    libc.failAt(0, Errno.ENOMEM);
    throwsCode("ERR_OUT_OF_MEMORY", () => memory.ranges.decommit(range, OFFSET, BLOCK), /max_map_count/);
    assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, 5);
    assert.equal(libc.mappingAt(range.rw + OFFSET)?.protection, 3);
    assert.deepEqual(libc.mappingAt(range.rw)?.file?.pages, new Set([OFFSET / PAGE]));
  });

  for (const [position, what] of ["its memory", "its writable view"].entries()) {
    it(`can no longer be run where the system keeps ${what}, and is wiped before it is used again`, () => {
      const { libc, memory, range } = begin();
      libc.failAt(position + 1, Errno.EPERM);
      assert.equal(memory.ranges.decommit(range, OFFSET, BLOCK), false);
      assert.equal(libc.mappingAt(range.rx + OFFSET)?.protection, 0);
      memory.ranges.commit(range, OFFSET, BLOCK, true);
      assert.deepEqual(libc.mappingAt(range.rw)?.file?.pages, new Set());
    });

    it(`and wipe makes it as good as new: ${what}`, () => {
      const { libc, memory, range } = begin();
      libc.failAt(position + 1, Errno.EPERM);
      memory.ranges.decommit(range, OFFSET, BLOCK);
      assert.equal(memory.ranges.wipe(range, OFFSET, BLOCK), true);
      assert.equal(libc.mappings.length, 2);
      assert.deepEqual(libc.mappingAt(range.rw)?.file?.pages, new Set());
    });
  }

  it("wipe never throws, and says whether the stretch is untouched", () => {
    for (let position = 0; position < 4; position++) {
      const { libc, memory, range } = begin();
      libc.failAt(position, Errno.EPERM);
      const isUntouched = libc.mappings.length === 2 && libc.mappings[0]?.file?.pages.size === 0;
      const isSaid = memory.ranges.wipe(range, OFFSET, BLOCK);
      const isNow = libc.mappings.length === 2 && libc.mappings[0]?.file?.pages.size === 0;
      assert.equal(isUntouched, false);
      if (isSaid) assert.ok(isNow, `call ${position}`);
      assert.equal(memory.ranges.wipe(range, OFFSET, BLOCK), true);
    }
  });

  it("an unclean one is not handed out where the system still keeps its memory", () => {
    const { libc, memory, range } = begin();
    libc.failAt(1, Errno.EPERM);
    memory.ranges.decommit(range, OFFSET, BLOCK);
    libc.refuse("madvise", Errno.EPERM, ([, , advice]) => advice === Advice.REMOVE);
    throwsCode("ERR_PERMISSION", () => memory.ranges.commit(range, OFFSET, BLOCK, true));
    assert.equal(libc.mappings.length, 2, "it is closed");
  });
});

describe("a range near an address", () => {
  const NEAR = 0x40_0000;
  const maps = (...ranges: readonly (readonly [number, number])[]): Record<string, string> => ({
    "/proc/self/maps": ranges
      .map(([from, to]) => `${from.toString(16)}-${to.toString(16)} r-xp 0 0 0`)
      .join("\n"),
  });
  const near = (address: number): RangeRequest => ({ ...DUAL, near: address });

  it("takes the nearest gap that everything reaches", () => {
    const { memory } = start({ files: maps([NEAR, 0x600_0000], [0x7000_0000_0000, 0x7001_0000_0000]) });
    const range = reserved(memory, near(NEAR));
    assert.ok(range.rx > NEAR && range.rx + range.sizeBytes - NEAR <= REACH, range.rx.toString(16));
    assert.equal(range.rx % LARGE_PAGE, 0);
  });

  it("is smaller where the gap is", () => {
    const files = maps([NEAR, 0x600_0000], [0x3000_0000, 0x7001_0000_0000]);
    assert.equal(reserved(start({ files }).memory, near(NEAR)).sizeBytes, 256 * MiB);
  });

  it("says how far the nearest free addresses are where none is near enough", () => {
    const { libc, memory } = start({ files: maps([0x20_0000, 0x7001_0000_0000]) });
    throwsCode("ERR_OUT_OF_REACH", () => memory.ranges.reserve(near(NEAR)), /reach as far as \d+/);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("tries places one after the other where the maps cannot be read", () => {
    const { memory } = start();
    const range = reserved(memory, near(0x5000_0000_0000));
    assert.ok(Math.abs(range.rx - 0x5000_0000_0000) <= REACH);
  });

  it("goes on where something has been mapped in the meantime", () => {
    const { libc, memory } = start({ files: maps() });
    const first = reserved(memory, near(0x5000_0000_0000));
    const second = reserved(memory, near(0x5000_0000_0000));
    assert.notEqual(first.rx, second.rx);
    assert.ok(Math.abs(second.rx - 0x5000_0000_0000) <= REACH);
    assert.equal(libc.mappings.length, 4);
  });
});

describe("a stretch that is sealed", () => {
  const SEALED: RangeRequest = { ...DUAL, isSealed: true };
  const begin = (sizeBytes = BLOCK, request = SEALED): Machine & { readonly range: AddressRange } => {
    const machine = start();
    const range = reserved(machine.memory, request);
    machine.memory.ranges.commit(range, 0, sizeBytes, false);
    machine.memory.ranges.seal(range, 0, sizeBytes);
    machine.libc.calls.length = 0;
    return { ...machine, range };
  };

  it("has both views sealed, and one that is longer is one mapping a view still", () => {
    const { libc, memory, range } = begin();
    memory.ranges.commit(range, BLOCK, BLOCK, false);
    memory.ranges.seal(range, BLOCK, BLOCK);
    assert.deepEqual(
      libc.mappings.map(({ start: at, sizeBytes, isSealed }) => [at, sizeBytes, isSealed]),
      [
        [range.rw, 2 * BLOCK, true],
        [range.rw + 2 * BLOCK, range.sizeBytes - 2 * BLOCK, false],
        [range.rx, 2 * BLOCK, true],
        [range.rx + 2 * BLOCK, range.sizeBytes - 2 * BLOCK, false],
      ],
    );
  });

  it("keeps its access, and gives its memory back by discard alone", () => {
    const { libc, memory, range } = begin();
    libc.touch(range.rw);
    throwsCode("ERR_PERMISSION", () => memory.ranges.decommit(range, 0, BLOCK), /mprotect/);
    memory.ranges.discard(range, 0, BLOCK);
    assert.deepEqual(libc.mappingAt(range.rw)?.file?.pages, new Set());
    assert.equal(libc.mappingAt(range.rx)?.protection, 5);
  });

  for (const [position, view] of ["rx", "rw"].entries()) {
    it(`is sealed in the second attempt where the system refuses ${view} in the first`, () => {
      for (const errno of ERRNOS) {
        const { libc, memory, range } = begin();
        memory.ranges.commit(range, BLOCK, BLOCK, false);
        libc.failAt(position, errno);
        assert.throws(
          () => memory.ranges.seal(range, BLOCK, BLOCK),
          (error) =>
            error instanceof JitError &&
            error.syscall === "mseal" &&
            /^Cannot seal \d+ bytes/.test(error.message),
        );
        memory.ranges.seal(range, BLOCK, BLOCK);
        assert.equal(libc.mappings.length, 4);
      }
    });
  }

  it("stays when its range goes, for the next sealed range of this thread, and for no other", () => {
    const { libc, memory, range } = begin();
    memory.ranges.release(range, undefined, true, BLOCK);
    assert.deepEqual(libc.calls, []);
    assert.notEqual(reserved(memory).rx, range.rx);
    assert.notEqual(reserved(memory, { ...SEALED, isDual: false }).rx, range.rx);
    assert.notEqual(reserved(memory, { ...SEALED, sizeBytes: 2 * DUAL.sizeBytes }).rx, range.rx);
    assert.notEqual(reserved(memory, { ...SEALED, near: range.rx + 4 * REACH }).rx, range.rx);
    assert.notEqual(reserved(memory, { ...SEALED, tag: { name: "1x1x1", isGuarded: true } }).rx, range.rx);
    assert.deepEqual(reserved(memory, { ...SEALED, sizeBytes: 64 * MiB }), { ...range, sealedBytes: BLOCK });
    memory.ranges.release(range, undefined, true, BLOCK);
    assert.equal(reserved(memory, { ...SEALED, near: range.rx + MiB }).rx, range.rx);
  });

  it("is all that stays of a range that cannot be kept", () => {
    for (const [isUntouched, tag] of [
      [false, undefined],
      [true, { name: "1x1x1", isGuarded: true }],
    ] as const) {
      const { libc, memory, range } = begin();
      memory.ranges.release(range, tag, isUntouched, BLOCK);
      assert.deepEqual(
        libc.mappings.map(({ start: at, sizeBytes }) => [at, sizeBytes]),
        [
          [range.rw, BLOCK],
          [range.rx, BLOCK],
        ],
      );
    }
  });

  it("a range that is sealed to its end stays whole; one with a single view too", () => {
    const whole = begin(DUAL.sizeBytes);
    whole.memory.ranges.release(whole.range, undefined, false, DUAL.sizeBytes);
    assert.deepEqual(whole.libc.calls, []);
    const single = begin(BLOCK, { ...SEALED, isDual: false });
    single.memory.ranges.release(single.range, undefined, true, BLOCK);
    assert.equal(reserved(single.memory, { ...SEALED, isDual: false }).sealedBytes, BLOCK);
  });

  it("needs a kernel that can: sealRefusal says what is missing", () => {
    assert.equal(start().memory.ranges.sealRefusal(), undefined);
    const { libc, memory } = start({ knowsMseal: false });
    assert.match(memory.ranges.sealRefusal() ?? "", /mseal: ENOSYS: .*Linux 6\.10.*seccomp.*462/);
    const filtered = start();
    filtered.libc.refuse("mseal", Errno.EPERM);
    assert.match(filtered.memory.ranges.sealRefusal() ?? "", /mseal: EPERM/);
    assert.deepEqual(libc.leftovers(), []);
  });
});
