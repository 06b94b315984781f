/** One range, really: what the system maps, what it lets nobody do, and why some systems have none. */
import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import { platform } from "../../src/base/platform.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import type { Ffi } from "../../src/ffi/contract.ts";
import { LinuxMemory } from "../../src/vm/linux.ts";
import { systemFiles } from "../../src/vm/linux/files.ts";
import { coherentCache } from "../../src/vm/linux/instruction-cache.ts";
import { bindLibc, MapFlag, type LinuxLibc } from "../../src/vm/linux/libc.ts";
import { linuxNoting } from "../../src/vm/linux/noting.ts";
import { bindMarkCalls } from "../../src/vm/linux/thread-mark.ts";
import { systemMemory } from "../../src/vm/select.ts";
import type { AddressRange, RangeMemory, RangeRequest } from "../../src/vm/range/contract.ts";
import {
  callLibc,
  EXECUTE,
  MADV_REMOVE,
  mapAgain,
  protect,
  READ,
  Refused,
  unmap,
  WRITE,
} from "../support/native-call.ts";
import { accessOf, addressAmid, mapLineOf, openDescriptors, ownMapLines } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";
import { Limit, withLimit } from "../support/rlimit.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const REQUEST: RangeRequest = {
  sizeBytes: 2 * GiB,
  leastBytes: 64 * MiB,
  isDual: true,
  reachBytes: 2 ** 31,
};
/** `fallocate`: FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE. */
const PUNCH_HOLE = 3;

/** `open`: the bits that say what a file is opened for. */
const ACCESS_MODE = 3;

/** How a descriptor was opened: for reading, for writing, or for both. */
function accessModeOf(descriptor: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8");
  return Number.parseInt(/^flags:\s+(\d+)$/m.exec(text)?.[1] ?? "", 8) & ACCESS_MODE;
}

/** Linux memory whose calls can be watched. */
function linuxMemoryOf(libc: LinuxLibc, ffi: Ffi): LinuxMemory {
  return new LinuxMemory({
    ...{ libc, ffi, files: systemFiles, instructionCache: coherentCache },
    bindMarkCalls: () => bindMarkCalls(ffi, platform.processor),
    noting: linuxNoting(ffi, platform.processor),
  });
}

const OFFSET = MiB;
const BLOCK = 2 ** 16;

describe("a range, really", { skip: needs("linux") }, () => {
  const memory = systemMemory();
  const { pageSize } = memory.info();
  let ranges: RangeMemory;
  let range: AddressRange;
  let descriptors: readonly string[];

  const reserve = (request: Partial<RangeRequest> = {}): AddressRange => {
    const result = ranges.reserve({ ...REQUEST, ...request });
    assert.ok("rx" in result, JSON.stringify(result));
    return result;
  };
  const residentCount = (offset: number, sizeBytes: number): number =>
    ranges.residentPages(range, offset, sizeBytes)?.reduce((sum, page) => sum + (page & 1), 0) ?? -1;

  beforeEach(() => {
    assert.ok(memory.ranges);
    ({ ranges } = memory);
    descriptors = openDescriptors();
    range = reserve();
  });
  afterEach(() => {
    ranges.release(range);
    assert.deepEqual(ownMapLines(), []);
    assert.deepEqual(openDescriptors(), descriptors);
  });

  it("is two mappings without access, however large, and no descriptor", () => {
    assert.equal(range.sizeBytes, 2 * GiB);
    assert.equal(range.rx % (2 * MiB), 0);
    assert.deepEqual(
      [
        accessOf(range.rx),
        accessOf(range.rx + 2 * GiB - 1),
        accessOf(range.rw),
        accessOf(range.rw + 2 * GiB - 1),
      ],
      ["---s", "---s", "---s", "---s"],
    );
    assert.equal(ownMapLines().length, 2);
    assert.deepEqual(openDescriptors(), descriptors);
  });

  it("what is written through rw is read through rx, at the same place", () => {
    ranges.commit(range, OFFSET, BLOCK, false);
    assert.deepEqual([accessOf(range.rx + OFFSET), accessOf(range.rw + OFFSET)], ["r-xs", "rw-s"]);
    assert.equal(ownMapLines().length, 6);
    memory.copyIn(range.rw + OFFSET + 5, Uint8Array.of(7), 1);
    const copy = new Uint8Array(6);
    memory.copyOut(range.rx + OFFSET, copy);
    assert.deepEqual(copy, Uint8Array.of(0, 0, 0, 0, 0, 7));
    assert.equal(ranges.decommit(range, OFFSET, BLOCK), true);
    assert.equal(ownMapLines().length, 2);
  });

  it("its pages come with writes, and go with discard and decommit", () => {
    ranges.commit(range, OFFSET, BLOCK, false);
    assert.equal(residentCount(OFFSET, BLOCK), 0);
    for (const page of [0, 1, 2])
      memory.copyIn(range.rw + OFFSET + page * pageSize, Uint8Array.of(1 + page), 1);
    assert.equal(residentCount(OFFSET, BLOCK), 3);
    ranges.discard(range, OFFSET + pageSize, pageSize);
    assert.equal(residentCount(OFFSET, BLOCK), 2);
    const copy = new Uint8Array(1);
    memory.copyOut(range.rx + OFFSET + 2 * pageSize, copy);
    assert.equal(copy[0], 3, "the neighbour stays");
    memory.copyOut(range.rx + OFFSET + pageSize, copy);
    assert.equal(copy[0], 0, "what was given back reads as zero");
    assert.equal(ranges.decommit(range, OFFSET, BLOCK), true);
    ranges.commit(range, OFFSET, BLOCK, false);
    assert.equal(residentCount(OFFSET, BLOCK), 0);
    memory.copyOut(range.rw + OFFSET + 2 * pageSize, copy);
    assert.equal(copy[0], 0);
  });

  it("a stretch in any state is wiped", () => {
    ranges.commit(range, OFFSET, BLOCK, false);
    memory.copyIn(range.rw + OFFSET, Uint8Array.of(1), 1);
    assert.equal(ranges.wipe(range, OFFSET - BLOCK, 3 * BLOCK), true);
    assert.equal(ownMapLines().length, 2);
    ranges.commit(range, OFFSET, BLOCK, true);
    assert.equal(residentCount(OFFSET, BLOCK), 0);
  });

  describe("its executable view", () => {
    const code = Uint8Array.of(0xc3, 1, 2, 3);

    beforeEach(() => {
      ranges.commit(range, OFFSET, BLOCK, false);
      memory.copyIn(range.rw + OFFSET, code, code.length);
    });
    afterEach(() => {
      const copy = new Uint8Array(code.length);
      memory.copyOut(range.rx + OFFSET, copy);
      assert.deepEqual(copy, code, "no way has changed a byte");
    });

    it("is made writable by no mprotect, where it is in use and where it is not", () => {
      for (const offset of [OFFSET, 0])
        for (const access of [READ | WRITE, READ | WRITE | EXECUTE])
          assert.equal(protect(range.rx + offset, pageSize, access), Refused.EACCES);
    });

    it("is wiped by no MADV_REMOVE", () => {
      const types = ["pointer", "pointer", "i32"] as const;
      assert.equal(callLibc("madvise", types, range.rx + OFFSET, pageSize, MADV_REMOVE), Refused.EACCES);
    });

    it("is never writable where mremap maps it a second time", () => {
      const again = mapAgain(range.rx + OFFSET, pageSize);
      assert.equal(accessOf(again), "r-xs");
      assert.equal(protect(again, pageSize, READ | WRITE), Refused.EACCES);
      assert.equal(unmap(again, pageSize), 0);
    });

    it("is of a descriptor by which nothing is resized or punched, while it is open", () => {
      const tried: Record<string, number> = {};
      const ffi = systemFfi();
      const libc = bindLibc(ffi);
      const looking: LinuxLibc = {
        ...libc,
        mmap: (address, sizeBytes, protection, flags, descriptor, offset) => {
          const isExecutableView =
            (flags & MapFlag.FIXED) !== 0 && accessModeOf(descriptor) === constants.O_RDONLY;
          if (isExecutableView) {
            tried["ftruncate"] = callLibc("ftruncate", ["i32", "pointer"], descriptor, 0);
            const types = ["i32", "i32", "pointer", "pointer"] as const;
            tried["PUNCH_HOLE"] = callLibc("fallocate", types, descriptor, PUNCH_HOLE, 0, pageSize);
            tried["write"] = callLibc("write", ["i32", "buffer", "pointer"], descriptor, code, code.length);
          }
          return libc.mmap(address, sizeBytes, protection, flags, descriptor, offset);
        },
      };
      const looked = linuxMemoryOf(looking, ffi);
      const other = looked.ranges.reserve(REQUEST);
      assert.ok("rx" in other);
      looked.ranges.release(other);
      assert.deepEqual(tried, { ftruncate: -22, PUNCH_HOLE: -9, write: -9 }, "EINVAL, EBADF, EBADF");
    });

    it("is opened again through /proc/self/fd by no number: no descriptor of it is kept", () => {
      const [, , , device = "", inode = ""] = (mapLineOf(range.rx + OFFSET) ?? "").split(/ +/);
      assert.match(device, /^[0-9a-f]+:[0-9a-f]+$/);
      for (const descriptor of readdirSync("/proc/self/fd")) {
        const path = `/proc/self/fd/${descriptor}`;
        // Pipes and sockets cannot be opened again, and a memfd can.
        if (!existsSync(path) || !statSync(path).isFile()) continue;
        const again = openSync(path, "r");
        assert.notEqual(String(fstatSync(again).ino), inode, readlinkSync(path));
        closeSync(again);
      }
      // A memfd of this process, to see that the search would find one.
      const made = callLibc("memfd_create", ["buffer", "u32"], new TextEncoder().encode("probe\0"), 1);
      assert.ok(made > 0 && statSync(`/proc/self/fd/${made}`).isFile());
      assert.equal(callLibc("close", ["i32"], made), 0);
    });

    it("cannot be resized, even by root, who opens the file again by its mapping", (context) => {
      const name = (mapLineOf(range.rx + OFFSET) ?? "").split(" ", 1)[0] ?? "";
      let file: number;
      try {
        file = openSync(`/proc/self/map_files/${name}`, "r+");
      } catch (error) {
        context.skip(`the system does not let it be opened again: ${String(error)}`);
        return;
      }
      try {
        for (const sizeBytes of [0, 4 * GiB])
          assert.equal(callLibc("ftruncate", ["i32", "pointer"], file, sizeBytes), Refused.EPERM);
      } finally {
        closeSync(file);
      }
    });
  });

  it("a single view is writable and executable, and has its pages taken too", () => {
    const single = reserve({ isDual: false });
    assert.equal(single.rx, single.rw);
    ranges.commit(single, OFFSET, BLOCK, false);
    assert.equal(accessOf(single.rx + OFFSET), "rwxs");
    assert.match(
      mapLineOf(single.rx + OFFSET) ?? "",
      /-rwx(?: \(deleted\))?$/,
      "whoever reads the maps can tell",
    );
    memory.copyIn(single.rx + OFFSET, Uint8Array.of(1), 1);
    assert.equal(ranges.decommit(single, OFFSET, BLOCK), true);
    assert.equal(accessOf(single.rx + OFFSET), "---s");
    ranges.release(single);
  });

  it("lies near an address that is asked for, and what is mapped there stays", () => {
    const near = addressAmid(16 * GiB);
    const other = reserve({ near, sizeBytes: GiB });
    assert.ok(Math.abs(other.rx - near) <= 2 * GiB && Math.abs(other.rx + GiB - near) <= 2 * GiB);
    assert.equal(accessOf(range.rx), "---s");
    ranges.release(other);
  });

  it("is halved under RLIMIT_AS, and there is none below 64 MiB", () => {
    const used = Number(
      /^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ??
        assert.fail("no VmSize"),
    );
    const bytes = used * 1024;
    const small = withLimit(Limit.AS, bytes + 700 * MiB, () => reserve());
    assert.equal(small.sizeBytes, 256 * MiB);
    ranges.release(small);
    withLimit(Limit.AS, bytes + 60 * MiB, () =>
      assert.throws(
        () => reserve(),
        (error) =>
          error instanceof JitError &&
          error.code === "ERR_OUT_OF_MEMORY" &&
          error.message.includes("RLIMIT_AS"),
      ),
    );
  });

  it("is refused, with the reason, where files may not grow to 64 MiB", () => {
    const refusal = withLimit(Limit.FSIZE, 10 * MiB, () => ranges.reserve(REQUEST));
    assert.ok("reason" in refusal);
    assert.match(refusal.reason, /RLIMIT_FSIZE/);
  });
});
