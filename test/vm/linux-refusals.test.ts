/**
 * What each error number of each call becomes, on each rung of the ladder: the numbers are those of the calls' manual pages
 * (memfd_create, open, shm_open, ftruncate, posix_fallocate, mmap, munmap, mprotect; section 2 or 3).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { JitErrorCode } from "../../src/base/errors.ts";
import { Errno, errnoName } from "../../src/vm/linux/errno.ts";
import { Memfd, Protection } from "../../src/vm/linux/libc.ts";
import { FakeLibc, PAGE } from "../support/fake-libc.ts";
import type { FakeMachine, LibcCall } from "../support/fake-libc.ts";
import { linuxOn } from "../support/linux-on.ts";

const SIZE = 16 * PAGE;

/** One after the other, all of them closed but the one that is looked at. */
type Rung = "memfd" | "/dev/shm" | "/tmp";

interface Row {
  readonly call: LibcCall;
  readonly errnos: readonly (keyof typeof Errno)[];
  /** Where this rung is the only one that is not closed for good. */
  readonly alone: JitErrorCode;
  /** Where all rungs are refused so; the same unless it is said. */
  readonly everywhere?: JitErrorCode;
  readonly rungs: readonly Rung[];
  /** Of several calls of that name, those that are refused. */
  readonly when?: (args: readonly unknown[]) => boolean;
}

const FILES: readonly Rung[] = ["/dev/shm", "/tmp"];
const ALL: readonly Rung[] = ["memfd", ...FILES];
const isView =
  (access: number) =>
  ([, , protection, , descriptor]: readonly unknown[]): boolean =>
    descriptor !== -1 && protection === (Protection.READ | access);

const ROWS: readonly Row[] = [
  { call: "memfd_create", errnos: ["EMFILE", "ENFILE"], alone: "ERR_TOO_MANY_HANDLES", rungs: ["memfd"] },
  { call: "memfd_create", errnos: ["ENOMEM"], alone: "ERR_OUT_OF_MEMORY", rungs: ["memfd"] },
  {
    ...{ call: "memfd_create", errnos: ["EPERM", "EACCES", "EINVAL", "ENOSYS", "EFAULT"] },
    ...{ alone: "ERR_FEATURE_NOT_ENABLED", rungs: ["memfd"] },
  },
  { call: "ftruncate", errnos: ["ENOSPC", "EFBIG", "ENOMEM"], alone: "ERR_OUT_OF_MEMORY", rungs: ["memfd"] },
  {
    call: "ftruncate",
    errnos: ["EPERM", "EINVAL", "EIO"],
    alone: "ERR_FEATURE_NOT_ENABLED",
    rungs: ["memfd"],
  },
  {
    call: "open",
    errnos: ["ENOSPC", "EDQUOT", "ENOMEM", "EOVERFLOW"],
    alone: "ERR_OUT_OF_MEMORY",
    rungs: FILES,
  },
  { call: "open", errnos: ["EMFILE", "ENFILE"], alone: "ERR_TOO_MANY_HANDLES", rungs: FILES },
  {
    ...{ call: "open", errnos: ["EACCES", "EPERM", "EROFS"], rungs: FILES },
    ...{ alone: "ERR_FEATURE_NOT_ENABLED", everywhere: "ERR_PERMISSION" },
  },
  {
    ...{ call: "open", errnos: ["ENOTDIR", "ELOOP", "ENAMETOOLONG", "EBUSY", "ENODEV", "EINVAL", "ETXTBSY"] },
    ...{ alone: "ERR_FEATURE_NOT_ENABLED", rungs: FILES },
  },
  {
    ...{ call: "posix_fallocate", errnos: ["ENOSPC", "EDQUOT", "EFBIG", "ENOMEM"] },
    ...{ alone: "ERR_OUT_OF_MEMORY", rungs: FILES },
  },
  {
    ...{ call: "posix_fallocate", errnos: ["EPERM"], rungs: FILES },
    ...{ alone: "ERR_FEATURE_NOT_ENABLED", everywhere: "ERR_PERMISSION" },
  },
  {
    ...{ call: "posix_fallocate", errnos: ["EBADF", "EINVAL", "EIO", "ENODEV", "EOPNOTSUPP", "ENOSYS"] },
    ...{ alone: "ERR_FEATURE_NOT_ENABLED", rungs: FILES },
  },
  ...[Protection.WRITE, Protection.EXEC].flatMap((access): Row[] => [
    {
      ...{ call: "mmap", errnos: ["ENOMEM", "EAGAIN", "EOVERFLOW"], when: isView(access) },
      ...{ alone: "ERR_OUT_OF_MEMORY", rungs: ALL },
    },
    { call: "mmap", errnos: ["ENFILE"], alone: "ERR_TOO_MANY_HANDLES", rungs: ALL, when: isView(access) },
    {
      ...{ call: "mmap", errnos: ["EACCES", "EPERM"], when: isView(access), rungs: ALL },
      ...{ alone: "ERR_FEATURE_NOT_ENABLED", everywhere: "ERR_PERMISSION" },
    },
    {
      ...{ call: "mmap", errnos: ["ENODEV", "EINVAL", "ETXTBSY", "EEXIST"], when: isView(access) },
      ...{ alone: "ERR_FEATURE_NOT_ENABLED", rungs: ALL },
    },
  ]),
];

/** A machine on which all other rungs are closed, for a reason that is no lack of room. */
function machineWith(rung: Rung): FakeLibc {
  const machine: FakeMachine = { hasMemfd: rung === "memfd" };
  const libc = new FakeLibc(machine);
  if (rung !== "/dev/shm") libc.refuse("open", Errno.ENOTDIR, ([path]) => path === "/dev/shm");
  if (rung !== "/tmp") libc.refuse("open", Errno.ENOTDIR, ([path]) => path === "/tmp");
  return libc;
}

function refusalOn(libc: FakeLibc): JitError {
  let refusal: unknown;
  try {
    linuxOn(libc).allocDualMapping(SIZE, {});
  } catch (error) {
    refusal = error;
  }
  assert.ok(refusal instanceof JitError, String(refusal));
  assert.deepEqual(libc.leftovers(), []);
  return refusal;
}

describe("every error number of every rung", () => {
  for (const { call, errnos, alone, everywhere = alone, rungs, when = () => true } of ROWS) {
    for (const name of errnos) {
      for (const rung of rungs) {
        it(`${call} on ${rung}: ${name} is ${alone}`, () => {
          const libc = machineWith(rung);
          libc.refuse(call, Errno[name], (args) => when(args) && isOn(libc, rung, call, args));
          const error = refusalOn(libc);
          assert.equal(error.code, alone);
          assert.match(error.message, new RegExp(`${errnoName(Errno[name])} \\(${Errno[name]}\\)`));
          // Where room is what lacks, that is what is told, and not what closed the others.
          if (alone === "ERR_OUT_OF_MEMORY")
            assert.deepEqual([error.syscall, error.errno], [call, Errno[name]]);
        });
      }
      if (rungs.length === 1) continue;
      it(`${call} everywhere: ${name} is ${everywhere}`, () => {
        const libc = new FakeLibc({ hasMemfd: rungs.includes("memfd") });
        if (!rungs.includes("memfd")) libc.refuse("memfd_create", Errno[name]);
        libc.refuse(call, Errno[name], when);
        assert.equal(refusalOn(libc).code, everywhere);
      });
    }
  }
});

/** Whether a call concerns a rung: by its path, or by the file that its descriptor is of. */
function isOn(libc: FakeLibc, rung: Rung, call: LibcCall, args: readonly unknown[]): boolean {
  if (call === "memfd_create") return rung === "memfd";
  if (call === "open") return args[0] === rung;
  const descriptor = call === "mmap" ? args[4] : args[0];
  return libc.descriptors.get(descriptor as number)?.place === rung;
}

describe("what is said where every way is refused", () => {
  it("no room: which folders are full, whatever closed the other ways", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    libc.refuse("posix_fallocate", Errno.ENOSPC);
    const { code, message } = refusalOn(libc);
    assert.equal(code, "ERR_OUT_OF_MEMORY");
    assert.match(message, /no room left in \/dev\/shm, \/tmp: release code, or give more room there/);
    assert.doesNotMatch(message, /without noexec|seccomp/);
  });

  it("a full folder that is noexec is no room to wait for", () => {
    const libc = new FakeLibc({ hasMemfd: false, noexec: ["/dev/shm", "/tmp"] });
    libc.refuse("posix_fallocate", Errno.ENOSPC);
    const { code, message } = refusalOn(libc);
    assert.equal(code, "ERR_FEATURE_NOT_ENABLED");
    assert.match(message, /mount \/dev\/shm without noexec; mount \/tmp without noexec/);
  });

  it("a policy: not mounts", () => {
    const libc = new FakeLibc();
    libc.refuse("mmap", Errno.EACCES, isView(Protection.EXEC));
    const { code, message } = refusalOn(libc);
    assert.equal(code, "ERR_PERMISSION");
    assert.match(message, /security policy of this system \(SELinux and the like/);
    assert.doesNotMatch(message, /noexec/);
  });

  it("a filter of system calls, and a folder that cannot be written to", () => {
    const libc = new FakeLibc({ hasMemfd: false });
    libc.refuse("open", Errno.EROFS);
    const { message } = refusalOn(libc);
    assert.match(message, /filter of system calls \(seccomp\) pass memfd_create; let TMPDIR be a folder/);
  });
});

describe("the file that only names a range", () => {
  it("says that it is never executed, where the kernel knows how", () => {
    for (const knowsMfdExec of [true, false]) {
      const libc = new FakeLibc({ knowsMfdExec });
      const flags: number[] = [];
      libc.refuse("memfd_create", Errno.EINVAL, ([, given]) => {
        flags.push(given as number);
        return false;
      });
      const tag = { name: "x", isGuarded: true };
      linuxOn(libc).allocDualMapping(SIZE, {}, tag);
      const [first, second] = flags;
      assert.equal(first, Memfd.CLOEXEC | Memfd.NOEXEC_SEAL);
      if (!knowsMfdExec) assert.equal(second, Memfd.CLOEXEC);
    }
  });
});
