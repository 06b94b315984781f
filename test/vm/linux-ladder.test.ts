/** The ladder of dual mappings, climbed on fake machines of every kind. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { O_TMPFILE } from "../../src/vm/linux/ladder.ts";
import { Advice, Memfd, Open, Protection, Seal } from "../../src/vm/linux/libc.ts";
import { FakeLibc, LARGE_PAGE, PAGE } from "../support/fake-libc.ts";
import type { FakeMachine } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";

const SIZE = 16 * PAGE;
/** How an error of a dual mapping says that it can be done without. */
const WAY_OUT = /; to do without, pass `useDualMapping: false`/;
const LARGE_PAGE_FILES = { "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": `${LARGE_PAGE}\n` };

/** Maps on a machine and tells what kind of file it became. */
function mapOn(machine: FakeMachine, flags = {}): { libc: FakeLibc; kind: string | undefined } {
  const libc = new FakeLibc(machine);
  const memory = linuxOn(libc);
  const mapping = memory.allocDualMapping(SIZE, flags);
  const view = libc.mappingAt(mapping.rx);
  assert.equal(view?.protection, Protection.READ | Protection.EXEC);
  assert.equal(libc.mappingAt(mapping.rw)?.protection, Protection.READ | Protection.WRITE);
  assert.equal(libc.mappingAt(mapping.rw)?.file, view.file);
  assert.equal(libc.descriptors.size, 0);
  assert.equal(libc.paths.size, 0);
  memory.releaseDualMapping(mapping, SIZE);
  assert.deepEqual(libc.leftovers(), []);
  assert.deepEqual(libc.writableCode, []);
  return { libc, kind: view.file?.kind };
}

function failureOf(work: () => unknown): JitError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof JitError, String(error));
    return error;
  }
  return assert.fail("it did not throw");
}

/** How many calls a mapping makes before the first one of that name. */
function linuxCallsBefore(call: "open" | "ftruncate" | "posix_fallocate"): number {
  const { libc } = mapOn({ hasMemfd: call === "ftruncate" });
  return libc.calls.indexOf(call);
}

describe("the ladder", () => {
  it("takes a memfd with MFD_EXEC first, sealed, in one range", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const { rx, rw } = memory.allocDualMapping(SIZE, {});
    assert.equal(rw, rx + SIZE);
    assert.equal(libc.mappingAt(rx)?.file?.seals, Seal.SHRINK | Seal.GROW | Seal.SEAL | Seal.FUTURE_WRITE);
    assert.deepEqual(libc.calls, [
      "getrlimit",
      // Where there is room, asked once (linux-placement.test.ts).
      "mmap",
      "munmap",
      "mmap",
      "memfd_create",
      "ftruncate",
      "mmap",
      "fcntl",
      "mmap",
      "close",
    ]);
    libc.calls.length = 0;
    memory.releaseDualMapping({ rx, rw }, SIZE);
    assert.deepEqual(libc.calls, ["munmap"]);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("asks again without MFD_EXEC on an older kernel (EINVAL)", () => {
    const { libc, kind } = mapOn({ knowsMfdExec: false });
    assert.equal(kind, "memfd");
    assert.equal(libc.calls.filter((call) => call === "memfd_create").length, 2);
  });

  it("asks again without MFD_EXEC where vm.memfd_noexec forbids it (EACCES)", () => {
    assert.equal(mapOn({ memfdNoexec: 2 }).kind, "memfd");
  });

  it("does not ask again where there is no memfd at all (ENOSYS), and takes shm_open", () => {
    const { libc, kind } = mapOn({ hasMemfd: false });
    assert.equal(kind, "shm");
    assert.equal(libc.calls.filter((call) => call === "memfd_create").length, 1);
  });

  it("passes over /dev/shm where it is noexec, and takes a file in a temporary directory", () => {
    assert.equal(mapOn({ hasMemfd: false, noexec: ["/dev/shm"] }).kind, "disk");
  });

  it("passes over a noexec TMPDIR and takes /tmp", () => {
    const { kind } = mapOn({
      hasMemfd: false,
      noexec: ["/dev/shm", "/home/me/tmp"],
      temporaryDirectories: ["/home/me/tmp/", "/tmp"],
    });
    assert.equal(kind, "disk");
  });

  it("lists every step with its errno where all fail, and leaves nothing", () => {
    const libc = new FakeLibc({ noexec: ["memfd", "/dev/shm"] });
    libc.refuse("open", Errno.EROFS, ([path]) => path === "/tmp");
    const error = failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
    assert.equal(error.code, "ERR_PERMISSION");
    assert.equal(error.syscall, "open");
    assert.equal(error.errno, Errno.EROFS);
    assert.match(error.message, /memfd_create \(MFD_EXEC\) \(mmap: EPERM \(1\), it is on a noexec mount\)/);
    assert.match(
      error.message,
      /an unlinked file in \/dev\/shm \(mmap: EPERM \(1\), it is on a noexec mount\)/,
    );
    assert.match(error.message, /an unlinked file in \/tmp \(open: EROFS \(30\)\)/);
    assert.match(error.message, WAY_OUT);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("calls it a missing feature where the steps fail for different reasons", () => {
    const libc = new FakeLibc({ hasMemfd: false, noexec: ["/dev/shm"] });
    libc.refuse("open", Errno.ENOENT);
    const error = failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
    assert.equal(error.code, "ERR_FEATURE_NOT_ENABLED");
    assert.deepEqual(libc.leftovers(), []);
  });

  it("allocates the blocks of files on a mount that may be full, and goes on where it is", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    libc.refuse("posix_fallocate", Errno.ENOSPC, ([descriptor]) => {
      return libc.descriptors.get(descriptor as number)?.kind === "shm";
    });
    const { rx } = linuxOn(libc).allocDualMapping(SIZE, {});
    assert.equal(libc.mappingAt(rx)?.file?.kind, "disk");
  });

  it("looks at RLIMIT_FSIZE before the signal would kill the process", () => {
    const libc = new FakeLibc({ fileSizeLimit: SIZE - 1 });
    const error = failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
    assert.equal(error.code, "ERR_OUT_OF_MEMORY");
    assert.equal(error.syscall, "ftruncate");
    assert.equal(error.errno, Errno.EFBIG);
    assert.match(error.message, /RLIMIT_FSIZE.*ulimit -f/);
    assert.match(error.message, WAY_OUT);
    assert.deepEqual(libc.leftovers(), []);
    assert.equal(mapOn({ fileSizeLimit: SIZE }).kind, "memfd");
  });

  it("does not try further kinds of file where descriptors or memory have run out", () => {
    for (const [errno, code] of [
      [Errno.EMFILE, "ERR_TOO_MANY_HANDLES"],
      [Errno.ENFILE, "ERR_TOO_MANY_HANDLES"],
      [Errno.ENOMEM, "ERR_OUT_OF_MEMORY"],
    ] as const) {
      const libc = new FakeLibc();
      libc.refuse("memfd_create", errno);
      const error = failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
      assert.equal(error.code, code);
      assert.equal(error.errno, errno);
      assert.match(error.message, WAY_OUT);
      assert.ok(!libc.calls.includes("shm_open"));
      assert.deepEqual(libc.leftovers(), []);
    }
  });

  it("names the way to do without where there is no room for the range", () => {
    for (const call of ["mmap", "munmap"] as const) {
      const libc = new FakeLibc({ files: LARGE_PAGE_FILES });
      libc.refuse(call, Errno.ENOMEM, ([, sizeBytes]) => sizeBytes !== 2 ** 30);
      const error = failureOf(() => linuxOn(libc).allocDualMapping(LARGE_PAGE, { largePages: true }));
      assert.equal(error.syscall, call);
      assert.match(error.message, WAY_OUT);
    }
  });

  it("seals as far as an older kernel can", () => {
    const libc = new FakeLibc({ knowsFutureWrite: false });
    const { rx } = linuxOn(libc).allocDualMapping(SIZE, {});
    assert.equal(libc.mappingAt(rx)?.file?.seals, Seal.SHRINK | Seal.GROW | Seal.SEAL);
  });

  it("goes straight to the step that worked, and climbs again when it works no more", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    const memory = linuxOn(libc);
    memory.allocDualMapping(SIZE, {});
    libc.calls.length = 0;
    memory.allocDualMapping(SIZE, {});
    assert.ok(!libc.calls.includes("memfd_create"));
    assert.ok(libc.calls.includes("open"));
    libc.refuse("open", Errno.ENOENT);
    libc.refuse("shm_open", Errno.ENOENT);
    libc.machine.hasMemfd = true;
    const { rx } = memory.allocDualMapping(SIZE, {});
    assert.equal(libc.mappingAt(rx)?.file?.kind, "memfd");
  });

  it("goes straight to a memfd without MFD_EXEC where that is what worked", () => {
    const libc = new FakeLibc({ memfdNoexec: 2 });
    const memory = linuxOn(libc);
    memory.allocDualMapping(SIZE, {});
    libc.calls.length = 0;
    memory.allocDualMapping(SIZE, {});
    assert.equal(libc.calls.filter((call) => call === "memfd_create").length, 1);
  });

  it("prefers a file in a temporary directory with preferTmp, for that mapping alone", () => {
    const libc = new FakeLibc();
    const memory = linuxOn(libc);
    const tmp = memory.allocDualMapping(SIZE, { preferTmp: true });
    assert.equal(libc.mappingAt(tmp.rx)?.file?.kind, "disk");
    const other = memory.allocDualMapping(SIZE, {});
    assert.equal(libc.mappingAt(other.rx)?.file?.kind, "memfd");
    assert.equal(mapOn({ noexec: ["/tmp"] }, { preferTmp: true }).kind, "memfd");
  });

  it("opens every descriptor close-on-exec, and every named file for its owner alone", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    const seen: (readonly unknown[])[] = [];
    for (const call of ["shm_open", "open"] as const) {
      libc.refuse(call, Errno.ENOENT, (args) => {
        seen.push(args);
        return true;
      });
    }
    failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
    const [nameless, named] = [O_TMPFILE, Open.CREAT].map(
      (flag) => Open.RDWR | Open.EXCL | Open.CLOEXEC | flag,
    );
    assert.deepEqual(
      seen.map(([, flags, mode]) => [flags, mode]),
      [nameless, named, nameless, named].map((flags) => [flags, 0o600]),
    );
  });

  it("takes files that never have a name, where there are such", () => {
    const { libc, kind } = mapOn({ hasMemfd: false });
    assert.equal(kind, "shm");
    assert.equal(mapOn({ hasMemfd: false, noexec: ["/dev/shm"] }).kind, "disk");
    assert.ok(!libc.calls.some((call) => call === "shm_open" || call === "shm_unlink" || call === "unlink"));
    for (const errno of [Errno.EOPNOTSUPP, Errno.EISDIR, Errno.ENOENT]) {
      const older = new FakeLibc({ hasMemfd: false });
      older.refuse("open", errno, ([, flags]) => ((flags as number) & O_TMPFILE) === O_TMPFILE);
      const { rx } = linuxOn(older).allocDualMapping(SIZE, {});
      assert.equal(older.mappingAt(rx)?.file?.kind, "shm");
      assert.ok(older.calls.includes("shm_unlink"));
    }
  });

  it("makes a call again that a signal interrupted, and not for ever", () => {
    for (const call of ["open", "ftruncate", "posix_fallocate"] as const) {
      const libc = new FakeLibc({ hasMemfd: call === "ftruncate" });
      libc.failAt(linuxCallsBefore(call), Errno.EINTR);
      linuxOn(libc).allocDualMapping(SIZE, {});
      const stubborn = new FakeLibc({ hasMemfd: call === "ftruncate" });
      stubborn.refuse(call, Errno.EINTR);
      if (call === "ftruncate") stubborn.refuse("open", Errno.ENOENT);
      if (call === "ftruncate") stubborn.refuse("shm_open", Errno.ENOENT);
      const error = failureOf(() => linuxOn(stubborn).allocDualMapping(SIZE, {}));
      assert.match(error.message, new RegExp(`${call}: EINTR`));
      assert.deepEqual(stubborn.leftovers(), []);
    }
  });

  it("tries a second time to remove the name of a file, and says where one is left", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    libc.refuse("shm_unlink", Errno.EACCES);
    libc.refuse("open", Errno.ENOENT);
    const error = failureOf(() => linuxOn(libc).allocDualMapping(SIZE, {}));
    assert.match(error.message, /shm_unlink: EACCES \(13\), \/jit-allocator-\d+-\w+ is left behind/);
    assert.equal(libc.descriptors.size, 0);
    assert.deepEqual(libc.mappings, []);
  });
});

describe("large pages of a dual mapping", () => {
  it("are hugetlb pages where some are set aside", () => {
    const libc = new FakeLibc({ hugetlbPages: 2, files: LARGE_PAGE_FILES });
    const flags: number[] = [];
    libc.refuse("memfd_create", Errno.EINVAL, ([, given]) => {
      flags.push(given as number);
      return false;
    });
    const { rx, rw } = linuxOn(libc).allocDualMapping(2 * LARGE_PAGE, { largePages: true });
    assert.equal(libc.mappingAt(rx)?.file?.hugetlb, true);
    assert.equal(rx % LARGE_PAGE, 0);
    assert.equal(rw, rx + 2 * LARGE_PAGE);
    assert.equal(flags.length, 1);
    assert.equal((flags[0] ?? 0) & Memfd.HUGETLB, Memfd.HUGETLB);
    assert.equal((flags[0] ?? 0) >>> 26, 21);
  });

  it("are made of ordinary memory where none are set aside, each stretch given a page first", () => {
    const libc = new FakeLibc({ files: LARGE_PAGE_FILES });
    const memory = linuxOn(libc);
    const size = 2 * LARGE_PAGE;
    const mapping = memory.allocDualMapping(size, { largePages: true });
    const { rx, rw } = mapping;
    assert.equal(libc.mappingAt(rx)?.file?.hugetlb, false);
    assert.equal(rx % LARGE_PAGE, 0);
    assert.deepEqual(libc.advised, [
      { address: rw, sizeBytes: size, advice: Advice.HUGEPAGE },
      { address: rx, sizeBytes: size, advice: Advice.HUGEPAGE },
      { address: rw, sizeBytes: PAGE, advice: Advice.POPULATE_WRITE },
      { address: rw + LARGE_PAGE, sizeBytes: PAGE, advice: Advice.POPULATE_WRITE },
      { address: rw, sizeBytes: size, advice: Advice.COLLAPSE },
      { address: rx, sizeBytes: size, advice: Advice.COLLAPSE },
    ]);
    memory.releaseDualMapping(mapping, size);
    assert.deepEqual(libc.leftovers(), []);
  });

  it("are regular pages where the advice is refused, or the memory is smaller than a large page", () => {
    const libc = new FakeLibc({ files: LARGE_PAGE_FILES });
    libc.refuse("madvise", Errno.EINVAL);
    const memory = linuxOn(libc);
    memory.allocDualMapping(LARGE_PAGE, { largePages: true });
    libc.calls.length = 0;
    memory.allocDualMapping(SIZE, { largePages: true });
    assert.ok(!libc.calls.includes("madvise"));
  });

  it("are never hugetlb pages for a size that is no multiple of them", () => {
    const libc = new FakeLibc({ hugetlbPages: 8, files: LARGE_PAGE_FILES });
    const { rx } = linuxOn(libc).allocDualMapping(LARGE_PAGE + PAGE, { largePages: true });
    assert.equal(libc.mappingAt(rx)?.file?.hugetlb, false);
    assert.equal(rx % LARGE_PAGE, 0);
  });
});
