/** Nobody writes to the executable view, or changes the file behind it: each way that Linux has is tried for real. */
import assert from "node:assert/strict";
import { closeSync, constants, ftruncateSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, describe, test } from "node:test";
import { JitAllocator, JitError, VirtMem, type Span } from "../../src/index.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import { Errno } from "../../src/vm/linux/errno.ts";
import { O_TMPFILE } from "../../src/vm/linux/ladder.ts";
import { systemFiles } from "../../src/vm/linux/files.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc, Seal, type LinuxLibc } from "../../src/vm/linux/libc.ts";
import { linuxNoting } from "../../src/vm/linux/noting.ts";
import { bindMarkCalls } from "../../src/vm/linux/thread-mark.ts";
import { platform } from "../../src/base/platform.ts";
import {
  callLibc,
  MADV_REMOVE,
  mapAgain,
  protect,
  Refused,
  unmap,
  WRITE,
  READ,
} from "../support/native-call.ts";
import { someBytes } from "../support/rows.ts";
import { needs } from "../support/requirements.ts";
import { accessOf, mapLineOf, openDescriptors } from "../support/process-state.ts";

const skip = needs("linux");

/** fcntl(2): the command that tells a memfd's seals, and the seals. */
const GET_SEALS = 1034;
const SEALS = { SEAL: 1, SHRINK: 2, GROW: 4, FUTURE_WRITE: 16 } as const;
const RESIZING = SEALS.SEAL | SEALS.SHRINK | SEALS.GROW;
const EPERM = 1;
const EACCES = 13;
const EFAULT = 14;

/** The files of this process that have a name where such files are made: `jit-allocator-<tag>-<process>-<random>`. */
function ownNames(): string[] {
  return [...new Set(["/dev/shm", "/tmp", tmpdir()])].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.startsWith("jit-allocator-") && name.includes(`-${process.pid}-`))
      .map((name) => `${folder}/${name}`),
  );
}

/** Real memory of a Linux that lacks some calls, and a look at each file when it has been made, and before it is filled. */
function memoryWithout(
  lacking: readonly ("memfd_create" | "shm_open" | "F_SEAL_FUTURE_WRITE")[],
  look: { readonly created: () => void; readonly filled: () => void },
): LinuxMemory {
  const ffi = systemFfi();
  const libc = bindLibc(ffi);
  let refusal: number | undefined;
  const looking: LinuxLibc = {
    ...libc,
    errno: () => {
      const errno = refusal ?? libc.errno();
      refusal = undefined;
      return errno;
    },
    shm_open: (name, flags, mode) => {
      const descriptor = libc.shm_open(name, flags, mode);
      look.created();
      return descriptor;
    },
    open: (path, flags, mode) => {
      // Without files that never have a name: what has one is looked at.
      if ((flags & O_TMPFILE) === O_TMPFILE) {
        refusal = Errno.EOPNOTSUPP;
        return -1;
      }
      const descriptor = libc.open(path, flags, mode);
      look.created();
      return descriptor;
    },
    posix_fallocate: (descriptor, offset, sizeBytes) => {
      look.filled();
      return libc.posix_fallocate(descriptor, offset, sizeBytes);
    },
  };
  for (const call of lacking) {
    if (call === "F_SEAL_FUTURE_WRITE") {
      looking.fcntl = (descriptor, command, argument) =>
        (argument & Seal.FUTURE_WRITE) === 0 ? libc.fcntl(descriptor, command, argument) : -1;
    } else {
      looking[call] = () => {
        refusal = Errno.ENOSYS;
        return -1;
      };
    }
  }
  return new LinuxMemory({
    libc: looking,
    files: systemFiles,
    ffi,
    bindMarkCalls: () => bindMarkCalls(ffi, platform.processor),
    noting: linuxNoting(ffi, platform.processor),
    instructionCache: coherentCache,
  });
}

for (const useRange of [true, false])
  describe(`the executable view, ${useRange ? "in a range" : "of a block alone"}`, { skip }, () => {
    let allocator: JitAllocator;
    let span: Span;
    const code = someBytes(64);

    before(() => {
      allocator = new JitAllocator({ useRange });
      span = allocator.alloc(64);
      span.write(0, code);
    });
    after(() => {
      assert.deepEqual(span.read(), code, "no way has changed a byte");
      allocator.dispose();
    });

    /** The name under which the system shows the mapping that holds an address. */
    const mapFile = (address: number): string =>
      `/proc/self/map_files/${(mapLineOf(address) ?? "").split(" ", 1)[0] ?? ""}`;

    /** Opens the memory's file as the system shows it, which takes the rights of root; undefined without them. */
    const reopen = (flags: number): number | undefined => {
      try {
        return openSync(mapFile(span.rx), flags);
      } catch (error) {
        assert.ok(
          error instanceof Error &&
            "code" in error &&
            ["EPERM", "EACCES", "ETXTBSY"].includes(String(error.code)),
          String(error),
        );
        return undefined;
      }
    };

    const systemCode = (act: () => unknown): string => {
      try {
        act();
      } catch (error) {
        return error instanceof Error && "code" in error ? String(error.code) : String(error);
      }
      return "nothing was refused";
    };

    test("it can be read and executed, the other one read and written", () => {
      assert.equal(accessOf(span.rx), "r-xs");
      assert.equal(accessOf(span.rw), "rw-s");
    });

    test("mprotect does not make it writable", () => {
      const { pageSize } = VirtMem.info();
      const page = span.rx - (span.rx % pageSize);
      for (const flags of [
        { read: true, write: true },
        { write: true, execute: true },
      ]) {
        assert.throws(
          () => VirtMem.protect(page, pageSize, flags),
          (error) => error instanceof JitError && error.code === "ERR_PERMISSION" && error.errno === EACCES,
        );
      }
    });

    test("/proc/self/mem, which writes to read-only memory elsewhere, does not write to it", () => {
      const file = openSync("/proc/self/mem", "r+");
      try {
        assert.equal(
          systemCode(() => writeSync(file, Uint8Array.of(0xcc), 0, 1, span.rx)),
          "EIO",
        );
      } finally {
        closeSync(file);
      }
    });

    test("process_vm_writev does not write to it", () => {
      const bytes = Uint8Array.of(0xcc);
      const memcpy = systemFfi()
        .open(["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"])
        .find("memcpy", { parameters: ["buffer", "buffer", "pointer"], result: "pointer" });
      const local = BigUint64Array.of(BigInt(Number(memcpy?.(bytes, bytes, 0))), 1n);
      const remote = BigUint64Array.of(BigInt(span.rx), 1n);
      const result = callLibc(
        "process_vm_writev",
        ["i32", "buffer", "u64", "buffer", "u64", "u64"],
        ...[process.pid, local, 1n, remote, 1n, 0n],
      );
      assert.equal(result, -EFAULT);
    });

    test("MADV_REMOVE does not wipe it", () => {
      const { pageSize } = VirtMem.info();
      const page = span.rx - (span.rx % pageSize);
      assert.equal(callLibc("madvise", ["pointer", "pointer", "i32"], page, pageSize, MADV_REMOVE), -EACCES);
    });

    test("mremap maps it a second time, to be executed too, and never to be written", () => {
      const { pageSize } = VirtMem.info();
      const again = mapAgain(span.rx - (span.rx % pageSize), pageSize);
      assert.equal(accessOf(again), "r-xs");
      assert.equal(protect(again, pageSize, READ | WRITE), Refused.EACCES);
      assert.equal(unmap(again, pageSize), 0);
    });

    for (const lacking of [
      ["F_SEAL_FUTURE_WRITE"],
      ["memfd_create"],
      ["memfd_create", "shm_open"],
    ] as const) {
      test(`nor is it made writable, or wiped, where the system has no ${lacking.join(" and no ")}`, () => {
        const { pageSize } = VirtMem.info();
        const nothing = (): void => undefined;
        const memory = memoryWithout(lacking, { created: nothing, filled: nothing });
        const { rx, rw } = memory.allocDualMapping(pageSize, {});
        assert.deepEqual([accessOf(rx), accessOf(rw)], ["r-xs", "rw-s"]);
        assert.equal(protect(rx, pageSize, READ | WRITE), Refused.EACCES);
        assert.equal(
          callLibc("madvise", ["pointer", "pointer", "i32"], rx, pageSize, MADV_REMOVE),
          Refused.EACCES,
        );
        assert.deepEqual(
          openDescriptors().filter((text) => text.includes("jit-allocator")),
          [],
        );
        memory.releaseDualMapping({ rx, rw }, pageSize);
      });
    }

    test("no descriptor leads to the memory", () => {
      assert.deepEqual(
        openDescriptors().filter((text) => text.includes("jit-allocator")),
        [],
      );
    });

    test("no name in /dev/shm or the temporary folders leads to it", () => {
      assert.deepEqual(ownNames(), []);
    });

    for (const lacking of [["memfd_create"], ["memfd_create", "shm_open"]] as const) {
      test(`nor where the system has no ${lacking.join(" and no ")}, so that the file has a name first`, () => {
        const { pageSize } = VirtMem.info();
        const named: string[] = [];
        const memory = memoryWithout(lacking, {
          created: () => {
            for (const name of ownNames()) {
              named.push(name);
              assert.equal(statSync(name).mode & 0o777, 0o600, "it is nobody else's to open");
            }
          },
          filled: () =>
            assert.deepEqual(ownNames(), [], "the name is gone before there is anything to lead to"),
        });
        const mapping = memory.allocDualMapping(pageSize, {}, { name: "security", isGuarded: false });
        assert.match(
          named[0] ?? "",
          /\/jit-allocator-security-\d+-\w+$/,
          "it is one of the names looked for",
        );
        assert.deepEqual(ownNames(), []);
        assert.equal(accessOf(mapping.rx), "r-xs");
        assert.match(mapLineOf(mapping.rx) ?? "", new RegExp(` ${named.at(-1)} \\(deleted\\)$`));
        memory.releaseDualMapping(mapping, pageSize);
      });
    }

    test("even root, who can open it again by its mapping, cannot resize it, or unseal it", (context) => {
      const file = reopen(constants.O_RDWR);
      if (file === undefined) {
        context.skip("the system does not let it be opened again: that takes the rights of root");
        return;
      }
      try {
        assert.equal(
          systemCode(() => ftruncateSync(file, 0)),
          "EPERM",
          "shrink",
        );
        assert.equal(
          systemCode(() => ftruncateSync(file, 2 ** 24)),
          "EPERM",
          "grow",
        );
        assert.equal(
          callLibc("fcntl", ["i32", "i32", "i32"], file, GET_SEALS, 0) & RESIZING,
          RESIZING,
          "it is sealed, for good",
        );
      } finally {
        closeSync(file);
      }
    });

    test("root cannot write to it, or map or punch it, where it is a block alone: F_SEAL_FUTURE_WRITE", (context) => {
      const file = useRange ? undefined : reopen(constants.O_RDWR);
      if (file === undefined) {
        context.skip(
          useRange ? "a range has no such seal (docs/security.md)" : "that takes the rights of root",
        );
        return;
      }
      try {
        const { pageSize } = VirtMem.info();
        assert.equal(
          systemCode(() => writeSync(file, Uint8Array.of(0xcc), 0, 1, 0)),
          "EPERM",
          "write",
        );
        const map = (protection: number): number =>
          callLibc(
            "mmap",
            ["pointer", "pointer", "i32", "i32", "i32", "pointer"],
            ...[0, pageSize, protection, 1 /* MAP_SHARED */, file, 0],
          );
        assert.equal(map(3), -EPERM, "a new writable view");
        assert.equal(map(7), -EPERM, "a new view writable and executable");
        assert.equal(
          callLibc("fallocate", ["i32", "i32", "pointer", "pointer"], file, 3, 0, pageSize),
          -EPERM,
          "a hole",
        );
      } finally {
        closeSync(file);
      }
    });

    test("opening it again does not empty it", () => {
      const file = reopen(constants.O_RDWR | constants.O_TRUNC);
      if (file !== undefined) closeSync(file);
      assert.deepEqual(span.read(), code);
    });
  });
