/** Real mappings, and what the system says about them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { beforeEach, describe, it } from "node:test";
import { platform } from "../../src/base/platform.ts";
import { JitError } from "../../src/base/errors.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import type { SystemFiles } from "../../src/vm/linux/files.ts";
import { systemFiles } from "../../src/vm/linux/files.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { O_TMPFILE } from "../../src/vm/linux/ladder.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc } from "../../src/vm/linux/libc.ts";
import { linuxNoting } from "../../src/vm/linux/noting.ts";
import { bindMarkCalls } from "../../src/vm/linux/thread-mark.ts";
import type { LinuxLibc } from "../../src/vm/linux/libc.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { accessOf, mapLineOf, mapLines, openDescriptors, ownUsedLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";

describe("Linux memory, really", { skip: needs("linux") }, () => {
  const memory = systemMemory();
  const { pageSize } = memory.info();
  const size = 16 * pageSize;
  let descriptorsBefore: readonly string[] = [];
  /** What the process had before: under an emulator other test files have run in it. */
  const linesBefore = ownUsedLines();
  const ownLines = (): readonly string[] => ownUsedLines().filter((line) => !linesBefore.includes(line));

  beforeEach(() => {
    assert.deepEqual(ownLines(), []);
    descriptorsBefore = openDescriptors();
  });

  const assertNothingLeft = (...addresses: number[]): void => {
    for (const address of addresses) assert.equal(mapLineOf(address), undefined);
    assert.deepEqual(ownLines(), []);
    assert.deepEqual(openDescriptors(), descriptorsBefore);
  };

  it("a dual mapping is two views of a named memfd, none of them writable and executable", () => {
    const mapping = memory.allocDualMapping(size, { read: true, write: true, execute: true });
    assert.equal(accessOf(mapping.rx), "r-xs");
    assert.equal(accessOf(mapping.rw), "rw-s");
    assert.equal(ownLines().length, 2);
    for (const line of ownLines()) assert.match(line, /\/memfd:jit-allocator \(deleted\)$/);
    assert.deepEqual(
      mapLines().filter((line) => /^\S+ .wx/.test(line) && ownLines().includes(line)),
      [],
    );
    assert.deepEqual(openDescriptors(), descriptorsBefore);

    const rw = memory.openView(mapping.rw, size);
    const rx = memory.openView(mapping.rx, size);
    rw[0] = 1;
    rw[size - 1] = 2;
    assert.equal(rx[0], 1);
    assert.equal(rx[size - 1], 2);
    memory.closeView(rw);
    memory.closeView(rx);
    memory.releaseDualMapping(mapping, size);
    assertNothingLeft(mapping.rx, mapping.rw);
  });

  it("the executable view of a dual mapping can never be made writable", () => {
    const mapping = memory.allocDualMapping(size, {});
    assert.throws(
      () => memory.protect(mapping.rx, size, { read: true, write: true }),
      (error: unknown) =>
        error instanceof JitError &&
        error.code === "ERR_PERMISSION" &&
        error.syscall === "mprotect" &&
        error.errno === 13,
    );
    assert.equal(accessOf(mapping.rx), "r-xs");
    memory.releaseDualMapping(mapping, size);
  });

  it("alloc maps what was asked, protect changes it, release takes it away", () => {
    const address = memory.alloc(size, { read: true, write: true });
    assert.equal(accessOf(address), "rw-p");
    memory.protect(address, size, { read: true, execute: true });
    assert.equal(accessOf(address), "r-xp");
    memory.protect(address, size, {});
    assert.equal(accessOf(address), "---p");
    memory.protect(address, size, { read: true, write: true, execute: true });
    assert.equal(accessOf(address), "rwxp");
    memory.release(address, size);
    assertNothingLeft(address);
  });

  it("more memory than there are addresses is ERR_OUT_OF_MEMORY, and changes nothing", () => {
    const isOutOfMemory = (error: unknown): boolean =>
      error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY" && error.errno === 12;
    assert.throws(() => memory.alloc(2 ** 47, { read: true }), isOutOfMemory);
    assert.throws(() => memory.allocDualMapping(2 ** 46, {}), isOutOfMemory);
    assertNothingLeft();
  });

  it("protect of what is not mapped is an error", () => {
    const address = memory.alloc(size, {});
    memory.release(address, size);
    assert.throws(
      () => memory.protect(address, size, { read: true }),
      /mprotect failed with ENOMEM.*not mapped/,
    );
  });

  it("large pages fall back to what the machine has, and are given back", () => {
    const large = memory.largePageSize();
    if (large === 0) return;
    const address = memory.alloc(2 * large, { read: true, write: true, largePages: true });
    assert.equal(address % large, 0);
    memory.release(address, 2 * large);
    const mapping = memory.allocDualMapping(large, { largePages: true });
    assert.equal(mapping.rx % large, 0);
    memory.releaseDualMapping(mapping, large);
    assertNothingLeft(address, mapping.rx, mapping.rw);
  });

  it("hardenedRuntimeInfo and probe leave nothing behind", () => {
    assert.equal(memory.hardenedRuntimeInfo().mapJit, false);
    const steps = memory.probe();
    assert.ok(steps.some(({ name }) => name.startsWith("dual mapping: memfd_create")));
    assert.ok(
      memory
        .limits()
        .some(({ name, value }) => name === "RLIMIT_NOFILE" && value !== 0 && typeof value !== "string"),
    );
    assertNothingLeft();
  });

  it("a hundred mappings at once are all told apart and all given back", () => {
    const mappings = Array.from({ length: 100 }, () => memory.allocDualMapping(pageSize, {}));
    mappings.forEach((mapping, index) => {
      const view = memory.openView(mapping.rw, pageSize);
      view[0] = index;
      memory.closeView(view);
    });
    mappings.forEach((mapping, index) => {
      const view = memory.openView(mapping.rx, pageSize);
      assert.equal(view[0], index);
      memory.closeView(view);
    });
    for (const mapping of mappings) memory.releaseDualMapping(mapping, pageSize);
    assertNothingLeft();
  });

  describe("the lower steps of the ladder", () => {
    const ffi = systemFfi();
    /** The real libc, but some calls are refused with an error number. */
    const refusing = (
      refused: { readonly memfd_create: number; readonly shm_open?: number },
      files: SystemFiles = systemFiles,
      refusesOpen: (path: string, flags: number) => number = () => 0,
    ) => {
      const libc = bindLibc(ffi);
      let forced: number | undefined;
      const refuse = (errno: number): -1 => {
        forced = errno;
        return -1;
      };
      const unless = (errno: number, call: () => number): number => {
        forced = undefined;
        return errno === 0 ? call() : refuse(errno);
      };
      const libcOrRefusal: LinuxLibc = {
        ...libc,
        errno: () => forced ?? libc.errno(),
        memfd_create: () => refuse(refused.memfd_create),
        shm_open: (...args) => unless(refused.shm_open ?? 0, () => libc.shm_open(...args)),
        open: (...args) => unless(refusesOpen(args[0], args[1]), () => libc.open(...args)),
      };
      return new LinuxMemory({
        libc: libcOrRefusal,
        files,
        ffi,
        bindMarkCalls: () => bindMarkCalls(ffi, platform.processor),
        noting: linuxNoting(ffi, platform.processor),
        instructionCache: coherentCache,
      });
    };

    const works = (lower: LinuxMemory, line: RegExp): void => {
      const mapping = lower.allocDualMapping(size, {});
      assert.match(mapLineOf(mapping.rx) ?? "", line);
      assert.equal(accessOf(mapping.rx), "r-xs");
      const view = lower.openView(mapping.rw, size);
      view.fill(7);
      lower.closeView(view);
      lower.releaseDualMapping(mapping, size);
      assertNothingLeft(mapping.rx, mapping.rw);
    };
    const noTmpfile = (_path: string, flags: number): number =>
      (flags & O_TMPFILE) === O_TMPFILE ? Errno.EOPNOTSUPP : 0;
    const noSharedMemory = (path: string): number => (path === "/dev/shm" ? Errno.ENOENT : 0);

    it("a file in /dev/shm that never has a name", () => {
      works(refusing({ memfd_create: 38 }), /\/dev\/shm\/#\d+ \(deleted\)$/);
    });

    it("one whose name is gone at once, where there are no such files", () => {
      works(
        refusing({ memfd_create: 38 }, systemFiles, noTmpfile),
        /\/dev\/shm\/jit-allocator-.*\(deleted\)$/,
      );
    });

    it("a file in /tmp, without a name and with one", () => {
      works(refusing({ memfd_create: 38, shm_open: 2 }, systemFiles, noSharedMemory), /\(deleted\)$/);
      works(
        refusing({ memfd_create: 38, shm_open: 2 }, systemFiles, noTmpfile),
        /jit-allocator-.*\(deleted\)$/,
      );
    });

    it("none: the directory is not there", () => {
      const nowhere = { ...systemFiles, temporaryDirectories: () => ["/no/such/directory"] };
      const lower = refusing({ memfd_create: 38, shm_open: 38 }, nowhere, noSharedMemory);
      assert.throws(
        () => lower.allocDualMapping(size, {}),
        (error: unknown) => error instanceof JitError && error.code === "ERR_FEATURE_NOT_ENABLED",
      );
      assertNothingLeft();
    });
  });

  const skip = platform.runtime === "deno" && "Deno writes files of its own, and dies of the limit before";
  it("a process whose files may not grow is told so, and lives", { skip }, () => {
    const select = new URL("../../src/vm/select.js", import.meta.url).href;
    const script = `import(${JSON.stringify(select)}).then(({ systemMemory }) => {
      try { systemMemory().allocDualMapping(1048576, {}); } catch (e) { console.log(e.code, e.syscall, e.errno, e.message); }
    })`;
    const { stdout, status } = spawnSync(
      "sh",
      ["-c", 'ulimit -f 64; exec "$0" -e "$1"', process.execPath, script],
      {
        encoding: "utf8",
      },
    );
    assert.match(stdout, /^ERR_OUT_OF_MEMORY ftruncate 27 .*RLIMIT_FSIZE/);
    assert.equal(status, 0);
  });
});
