/** Every libc call of every operation, made to fail at each position. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { LinuxMemory } from "../../src/vm/linux.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { FakeLibc, LARGE_PAGE, PAGE } from "../support/fake-libc.ts";
import type { FakeMachine } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";

const LARGE_PAGE_FILES = { "/proc/meminfo": "MemTotal: 1 kB\nHugepagesize:       2048 kB\n" };
const ERRNOS = [Errno.ENOMEM, Errno.EACCES, Errno.EPERM, Errno.EINVAL, Errno.EMFILE, Errno.ENOSYS];
const SIZE = 16 * PAGE;

/** How an error of a dual mapping says that it can be done without. */
const WAY_OUT = /; to do without, pass `useDualMapping: false`/;

interface Operation {
  readonly name: string;
  readonly machine?: FakeMachine;
  /** Made before anything fails. */
  readonly prepare?: (memory: LinuxMemory) => number;
  readonly run: (memory: LinuxMemory, prepared: number) => unknown;
  /** Undoes what `run` made. */
  readonly undo?: (memory: LinuxMemory, result: unknown, prepared: number) => void;
}

const releaseDual =
  (sizeBytes: number) =>
  (memory: LinuxMemory, result: unknown): void => {
    memory.releaseDualMapping(result as { rx: number; rw: number }, sizeBytes);
  };

const operations: readonly Operation[] = [
  {
    name: "alloc",
    run: (memory) => memory.alloc(SIZE, { read: true }),
    undo: (memory, result) => memory.release(result as number, SIZE),
  },
  {
    name: "alloc with large pages",
    machine: { files: LARGE_PAGE_FILES },
    run: (memory) => memory.alloc(LARGE_PAGE, { read: true, largePages: true }),
    undo: (memory, result) => memory.release(result as number, LARGE_PAGE),
  },
  { name: "allocDualMapping", run: (memory) => memory.allocDualMapping(SIZE, {}), undo: releaseDual(SIZE) },
  {
    name: "allocDualMapping as the time before",
    prepare: (memory) => memory.allocDualMapping(SIZE, {}).rx,
    run: (memory) => memory.allocDualMapping(SIZE, {}),
    undo: (memory, result, rx) => {
      releaseDual(SIZE)(memory, result);
      memory.releaseDualMapping({ rx, rw: rx + SIZE }, SIZE);
    },
  },
  {
    name: "allocDualMapping with large pages",
    machine: { files: LARGE_PAGE_FILES },
    run: (memory) => memory.allocDualMapping(LARGE_PAGE, { largePages: true }),
    undo: releaseDual(LARGE_PAGE),
  },
  {
    name: "allocDualMapping with hugetlb pages",
    machine: { files: LARGE_PAGE_FILES, hugetlbPages: 4 },
    run: (memory) => memory.allocDualMapping(LARGE_PAGE, { largePages: true }),
    undo: releaseDual(LARGE_PAGE),
  },
  {
    name: "allocDualMapping by shm_open",
    machine: { hasMemfd: false },
    run: (memory) => memory.allocDualMapping(SIZE, {}),
    undo: releaseDual(SIZE),
  },
  {
    name: "allocDualMapping by an unlinked file",
    machine: { hasMemfd: false, noexec: ["/dev/shm"] },
    run: (memory) => memory.allocDualMapping(SIZE, {}),
    undo: releaseDual(SIZE),
  },
  {
    name: "release",
    prepare: (memory) => memory.alloc(SIZE, {}),
    run: (memory, address) => memory.release(address, SIZE),
  },
  {
    name: "releaseDualMapping",
    prepare: (memory) => memory.allocDualMapping(SIZE, {}).rx,
    run: (memory, rx) => memory.releaseDualMapping({ rx, rw: rx + SIZE }, SIZE),
  },
  {
    name: "protect",
    prepare: (memory) => memory.alloc(SIZE, {}),
    run: (memory, address) => memory.protect(address, SIZE, { read: true, execute: true }),
    undo: (memory, _result, address) => memory.release(address, SIZE),
  },
];

for (const operation of operations) {
  const { machine, prepare, run, undo } = operation;
  const start = (): { libc: FakeLibc; memory: LinuxMemory; prepared: number } => {
    const libc = new FakeLibc({ ...machine });
    const memory = linuxOn(libc);
    return { libc, memory, prepared: prepare?.(memory) ?? 0 };
  };

  describe(`${operation.name}, failing at each call`, () => {
    const whole = start();
    const firstCall = whole.libc.calls.length;
    run(whole.memory, whole.prepared);
    const calls = whole.libc.calls.slice(firstCall);

    calls.forEach((call, position) => {
      it(`${call} (call ${position + 1} of ${calls.length})`, () => {
        for (const errno of ERRNOS) {
          const { libc, memory, prepared } = start();
          const before = libc.leftovers();
          libc.failAt(position, errno);
          let result: unknown;
          try {
            result = run(memory, prepared);
          } catch (error) {
            assert.ok(error instanceof JitError, `${errno}: ${String(error)}`);
            assert.equal(typeof error.syscall, "string");
            assert.ok(
              ERRNOS.some((known) => known === error.errno),
              String(error.errno),
            );
            assert.match(error.message, /^Cannot .*E[A-Z]+ \(\d+\)/);
            if (operation.name.startsWith("allocDualMapping")) assert.match(error.message, WAY_OUT);
            assert.deepEqual(libc.leftovers(), before, `after errno ${errno}`);
            // The failure was a moment's: the same works now.
            result = run(memory, prepared);
          }
          undo?.(memory, result, prepared);
          assert.deepEqual(libc.leftovers(), [], `after errno ${errno}`);
          assert.deepEqual(libc.writableCode, []);
        }
      });
    });
  });
}

describe("what each error number becomes", () => {
  const codeFor = (errno: number): string => {
    const libc = new FakeLibc();
    libc.refuse("mmap", errno);
    try {
      linuxOn(libc).alloc(PAGE, { read: true });
    } catch (error) {
      assert.ok(error instanceof JitError);
      assert.equal(error.syscall, "mmap");
      assert.equal(error.errno, errno);
      return error.code;
    }
    return assert.fail("it did not throw");
  };
  for (const [errno, code] of [
    [Errno.ENOMEM, "ERR_OUT_OF_MEMORY"],
    [Errno.EAGAIN, "ERR_OUT_OF_MEMORY"],
    [Errno.ENOSPC, "ERR_OUT_OF_MEMORY"],
    [Errno.EACCES, "ERR_PERMISSION"],
    [Errno.EPERM, "ERR_PERMISSION"],
    [Errno.EMFILE, "ERR_TOO_MANY_HANDLES"],
    [Errno.ENFILE, "ERR_TOO_MANY_HANDLES"],
    [Errno.EINVAL, "ERR_INVALID_ARGUMENT"],
    [Errno.ENOSYS, "ERR_FEATURE_NOT_ENABLED"],
    [12345, "ERR_FEATURE_NOT_ENABLED"],
  ] as const) {
    it(`${errno} is ${code}`, () => assert.equal(codeFor(errno), code));
  }

  it("names the limits that stand behind ENOMEM", () => {
    const libc = new FakeLibc();
    libc.refuse("mmap", Errno.ENOMEM);
    assert.throws(() => linuxOn(libc).alloc(PAGE, {}), /ENOMEM \(12\).*RLIMIT_AS.*vm\.max_map_count/);
  });
});

describe("other operations on a fake machine", () => {
  it("protect says first that part of the range may not be mapped: what ENOMEM of mprotect mostly means", () => {
    const memory = linuxOn(new FakeLibc());
    assert.throws(
      () => memory.protect(SIZE, SIZE, { read: true }),
      /ENOMEM \(12\); part of the range is not mapped, .*vm\.max_map_count/,
    );
  });

  it("alloc takes hugetlb pages where there are some, else an aligned range with advice", () => {
    const libc = new FakeLibc({ files: LARGE_PAGE_FILES, hugetlbPages: 1 });
    const memory = linuxOn(libc);
    memory.alloc(LARGE_PAGE, { read: true, write: true, largePages: true });
    assert.deepEqual(libc.calls, ["mmap"]);
    const second = memory.alloc(LARGE_PAGE, { read: true, write: true, largePages: true });
    assert.equal(second % LARGE_PAGE, 0);
    assert.deepEqual(
      libc.advised.map(({ address }) => address),
      [second],
    );
  });

  it("hardenedRuntimeInfo tells a machine that refuses writable code, and leaves nothing", () => {
    const free = new FakeLibc();
    assert.deepEqual(linuxOn(free).hardenedRuntimeInfo(), {
      enabled: false,
      mapJit: false,
      dualMapping: true,
    });
    assert.deepEqual(free.leftovers(), []);

    const hardened = new FakeLibc();
    hardened.refuse("mmap", Errno.EACCES, ([, , protection]) => protection === 7);
    assert.deepEqual(linuxOn(hardened).hardenedRuntimeInfo(), {
      enabled: true,
      mapJit: false,
      dualMapping: true,
    });
    assert.deepEqual(hardened.leftovers(), []);

    const closed = new FakeLibc();
    closed.refuse("mmap", Errno.EACCES, ([, , protection]) => ((protection as number) & 4) !== 0);
    assert.deepEqual(linuxOn(closed).hardenedRuntimeInfo(), {
      enabled: true,
      mapJit: false,
      dualMapping: false,
    });
    assert.deepEqual(closed.leftovers(), []);
  });

  it("gives two views back one by one where they are not neighbours", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const rx = memory.alloc(PAGE, {});
    memory.alloc(PAGE, {});
    const rw = memory.alloc(PAGE, {});
    libc.calls.length = 0;
    memory.releaseDualMapping({ rx, rw }, PAGE);
    assert.deepEqual(libc.calls, ["munmap", "munmap"]);
    assert.equal(libc.mappings.length, 1);
  });

  it("finds no large pages where no file tells of them", () => {
    assert.equal(linuxOn(new FakeLibc()).largePageSize(), 0);
    assert.equal(linuxOn(new FakeLibc({ files: LARGE_PAGE_FILES })).largePageSize(), LARGE_PAGE);
    assert.equal(
      linuxOn(new FakeLibc({ files: { "/proc/meminfo": "Hugepagesize: nonsense" } })).largePageSize(),
      0,
    );
    const memory = linuxOn(new FakeLibc());
    assert.doesNotThrow(() => memory.alloc(PAGE, { largePages: true }));
  });

  it("probe tries every step and undoes it, on machines where they work and where they do not", () => {
    for (const machine of [{}, { hugetlbPages: 4 }, { hasMemfd: false, noexec: ["/dev/shm", "/tmp"] }]) {
      const libc = new FakeLibc({ ...machine, files: LARGE_PAGE_FILES });
      const steps = linuxOn(libc).probe();
      assert.deepEqual(libc.leftovers(), []);
      const ladder = steps.filter(({ name }) => name.startsWith("dual mapping"));
      assert.equal(ladder.length, 4);
      assert.deepEqual(
        ladder.map(({ ok }) => ok),
        "hasMemfd" in machine ? [false, false, false, false] : [true, true, true, true],
      );
      const hugetlb = steps.find(({ name }) => name.includes("MAP_HUGETLB"));
      assert.equal(hugetlb?.ok, "hugetlbPages" in machine);
    }
  });

  it("probe never throws, whatever fails", () => {
    const whole = new FakeLibc({ files: LARGE_PAGE_FILES });
    linuxOn(whole).probe();
    whole.calls.forEach((_call, position) => {
      const libc = new FakeLibc({ files: LARGE_PAGE_FILES });
      libc.failAt(position, Errno.EPERM);
      assert.ok(linuxOn(libc).probe().length > 5);
    });
  });

  it("limits reads what the system tells, and says what it does not tell", () => {
    const libc = new FakeLibc({ fileSizeLimit: 4096, files: { "/proc/sys/vm/max_map_count": "65530\n" } });
    libc.refuse("getrlimit", Errno.EPERM, ([resource]) => resource === 9);
    assert.deepEqual(
      linuxOn(libc)
        .limits()
        .map(({ name, value }) => [name, value]),
      [
        ["RLIMIT_AS", "unknown: getrlimit: EPERM (1)"],
        ["RLIMIT_FSIZE", 4096],
        ["RLIMIT_NOFILE", null],
        ["vm.max_map_count", 65530],
      ],
    );
  });
});
