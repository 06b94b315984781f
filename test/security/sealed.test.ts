/** `sealed: true`, really: each way to change what lies at the addresses of a block is tried, and what comes back is seen. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator, toFunction, VirtMem, type JitAllocatorOptions, type Span } from "../../src/index.ts";
import {
  callLibc,
  EXECUTE,
  MADV_REMOVE,
  MAP_PRIVATE_FIXED_ANONYMOUS,
  mapAgain,
  MREMAP_MAYMOVE,
  protect,
  READ,
  Refused,
  unmap,
  WRITE,
} from "../support/native-call.ts";
import { returnConstant, RUNS_HERE } from "../support/native-code.ts";
import { accessOf, ownMapLines } from "../support/process-state.ts";
import { throwsJitError } from "../support/expectations.ts";
import { needs } from "../support/requirements.ts";
import { someBytes } from "../support/rows.ts";

const skip = needs("mseal");
const KiB = 1024;
const MiB = 1024 * KiB;
const MREMAP_FIXED = 2;

/** `mremap` with all of its arguments. */
function remap(from: number, oldBytes: number, newBytes: number, flags: number, to = 0): number {
  const types = ["pointer", "pointer", "pointer", "i32", "pointer"] as const;
  return callLibc("mremap", types, from, oldBytes, newBytes, flags, to);
}

function mapOver(address: number, sizeBytes: number): number {
  const types = ["pointer", "pointer", "i32", "i32", "i32", "pointer"] as const;
  return callLibc("mmap", types, address, sizeBytes, READ | WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0);
}

for (const options of [{}, { useDualMapping: false }] satisfies JitAllocatorOptions[])
  describe(`the addresses of a sealed block, ${JSON.stringify(options)}`, { skip }, () => {
    const { pageSize } = VirtMem.info();
    const code = someBytes(64);
    let allocator: JitAllocator;
    let span: Span;

    before(() => {
      allocator = new JitAllocator({ ...options, sealed: true });
      span = allocator.alloc(64);
      span.write(0, code);
    });
    after(() => {
      assert.deepEqual(span.read(), code, "no way has changed a byte");
      allocator.dispose();
    });

    for (const view of ["rx", "rw"] as const) {
      const page = (): number => span[view] - (span[view] % pageSize);
      /** Tries one way: the system says EPERM, and the access is what it was. */
      const isRefused = (act: (address: number) => number, refusal: number = Refused.EPERM): void => {
        const access = accessOf(page());
        assert.ok(access);
        assert.equal(act(page()), refusal);
        assert.equal(accessOf(page()), access);
      };

      test(`mprotect changes no access of ${view}, be it more or less`, () => {
        for (const access of [0, READ, READ | WRITE, READ | EXECUTE, READ | WRITE | EXECUTE]) {
          // Of a file opened for reading alone: that is asked first.
          const isNever = view === "rx" && span.rx !== span.rw && (access & WRITE) !== 0;
          isRefused(
            (address) => protect(address, pageSize, access),
            isNever ? Refused.EACCES : Refused.EPERM,
          );
        }
      });

      test(`munmap does not unmap ${view}, alone or with all around it`, () => {
        isRefused((address) => unmap(address, pageSize));
        const { range } = allocator;
        assert.ok(range);
        isRefused(() => unmap(view === "rx" ? range.start : span.rw - (span.rx - range.start), range.size));
      });

      test(`MAP_FIXED maps nothing over ${view}`, () => {
        isRefused((address) => mapOver(address, pageSize));
      });

      test(`mremap neither moves ${view}, nor resizes it, nor maps it a second time, nor maps anything over it`, () => {
        isRefused((address) => remap(address, pageSize, 2 * pageSize, MREMAP_MAYMOVE));
        isRefused((address) => remap(address, 2 * pageSize, pageSize, 0));
        isRefused((address) => mapAgain(address, pageSize));
        const other = VirtMem.alloc(pageSize, { read: true });
        isRefused((address) => remap(other, pageSize, pageSize, MREMAP_MAYMOVE | MREMAP_FIXED, address));
        VirtMem.release(other, pageSize);
      });
    }

    const single = options.useDualMapping === false ? "a single view is the one to write through" : false;
    test("the executable view is wiped by no MADV_REMOVE", { skip: single }, () => {
      const types = ["pointer", "pointer", "i32"] as const;
      const page = span.rx - (span.rx % pageSize);
      assert.equal(callLibc("madvise", types, page, pageSize, MADV_REMOVE), Refused.EACCES);
    });

    test("what is behind the block can still be changed: only blocks are sealed", () => {
      const block = allocator.blocks().at(-1);
      assert.ok(block);
      assert.equal(accessOf(block.rx + block.size), "---s");
      assert.equal(protect(block.rx + block.size, pageSize, 0), 0);
    });

    test("code is written and run, and bytes are trimmed, as ever", () => {
      const [kept, big] = [allocator.alloc(64), allocator.alloc(512 * KiB)];
      kept.write(0, returnConstant(42));
      big.write(0, someBytes(512 * KiB));
      if (RUNS_HERE) assert.equal(toFunction(kept, { parameters: [], result: "i32" })(), 42);
      const { rx } = big;
      const resident = allocator.statistics().residentSize;
      big.release();
      allocator.trim();
      assert.ok(allocator.statistics().residentSize <= resident - 500 * KiB);
      assert.notEqual(accessOf(rx), "---s", "the addresses stay");
      allocator.verify();
      kept.release();
    });
  });

describe("a sealed block that goes", { skip }, () => {
  /** The mappings that have access, of this library: each sealed stretch is one for each view, however many blocks it had. */
  const used = (): number => ownMapLines().filter((line) => line.split(" ")[1] !== "---s").length;

  test("gives its memory back, and its addresses to the next block", () => {
    using allocator = new JitAllocator({ sealed: true, immediateRelease: true });
    const first = allocator.alloc(300 * KiB);
    first.write(0, someBytes(first.size, 3));
    const { rx } = first;
    first.release();
    assert.equal(allocator.statistics().blockCount, 0);
    assert.equal(accessOf(rx), "r-xs");
    const second = allocator.alloc(900 * KiB);
    assert.equal(second.rx, rx, "the next block begins where that one did, and goes on behind it");
    assert.ok(
      second.read().every((byte) => byte === 0),
      "nothing of it is left",
    );
    assert.ok(allocator.statistics().residentSize < 1000 * KiB);
    second.write(0, someBytes(second.size, 4));
    assert.deepEqual(second.read(), someBytes(second.size, 4));
    assert.equal(unmap(second.rx - (second.rx % 4096), 4096), Refused.EPERM);
    allocator.verify();
  });

  test("does so by a hard reset too", () => {
    using allocator = new JitAllocator({ sealed: true });
    const spans = Array.from({ length: 30 }, () => allocator.alloc(50 * KiB));
    for (const span of spans) span.write(0, someBytes(span.size));
    const { rx } = spans[0] ?? assert.fail();
    const before = used();
    allocator.reset("hard");
    assert.equal(allocator.statistics().residentSize, 0);
    assert.equal(used(), before);
    assert.equal(allocator.alloc(50 * KiB).rx, rx);
  });

  test("when its allocator is disposed of, is the next sealed allocator's: the addresses do not add up", () => {
    const places = new Set<number>();
    let lines = 0;
    for (let round = 0; round < 20; round++) {
      const allocator = new JitAllocator({ sealed: true });
      const span = allocator.alloc(100 * KiB);
      assert.ok(span.read().every((byte) => byte === 0));
      span.write(0, someBytes(span.size, round));
      places.add(span.rx);
      allocator.verify();
      allocator.dispose();
      if (round === 0) lines = ownMapLines().length;
    }
    assert.equal(places.size, 1);
    assert.equal(ownMapLines().length, lines);
  });

  test("is no other allocator's, and an unsealed one leaves no sealed addresses behind", () => {
    using sealed = new JitAllocator({ sealed: true });
    const span = sealed.alloc(64);
    sealed.dispose();
    const unsealed = new JitAllocator();
    const other = unsealed.alloc(64);
    assert.notEqual(other.rx, span.rx);
    const { rx } = other;
    unsealed.dispose();
    assert.equal(accessOf(rx) ?? "---s", "---s");
  });

  test("may ask for large pages: what lies between blocks that begin where one can is sealed too", () => {
    using allocator = new JitAllocator({ sealed: true, useLargePages: true });
    const spans = [64, 5 * MiB, 64, 9 * MiB].map((size) => allocator.alloc(size));
    for (const span of spans) span.write(0, someBytes(span.size));
    for (const span of spans) {
      assert.equal(unmap(span.rx - (span.rx % 4096), 4096), Refused.EPERM);
      span.release();
    }
    allocator.trim();
    assert.equal(allocator.statistics().residentSize, 0);
    allocator.verify();
  });

  test("fillUnusedMemory fills what is used again", () => {
    using allocator = new JitAllocator({
      ...{ sealed: true, fillUnusedMemory: true, fillPattern: 0x1122_3344, immediateRelease: true },
    });
    for (let round = 0; round < 3; round++) {
      const span = allocator.alloc(100 * KiB);
      assert.ok(new Uint32Array(span.read().buffer).every((word) => word === 0x1122_3344));
      span.write(0, someBytes(span.size));
      span.release();
    }
  });
});

describe("a sealed allocator of several threads", { skip }, () => {
  test("is sealed by whichever maps a block; its range goes with it, but for what is sealed", async () => {
    const allocator = new JitAllocator({ sealed: true });
    allocator.alloc(64);
    const worker = new Worker(new URL("sealed-child.js", import.meta.url), {
      workerData: allocator.share(),
    });
    const [rx] = (await once(worker, "message")) as [number];
    const span = allocator.query(rx);
    assert.equal(protect(rx - (rx % 4096), 4096, 0), Refused.EPERM);
    assert.equal(unmap(span.rw - (span.rw % 4096), 4096), Refused.EPERM);
    allocator.verify();
    const { range } = allocator;
    assert.ok(range);
    await worker.terminate();
    allocator.dispose();
    assert.equal(accessOf(rx), "r-xs");
    assert.equal(accessOf(range.start + range.size - 1), undefined, "what is not sealed is unmapped");
  });
});

test("an allocator that seals has code alone", { skip }, () => {
  using allocator = new JitAllocator({ sealed: true });
  for (const kind of ["constants", "data"] as const)
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(64, { kind }));
  allocator.alloc(64, { kind: "code" });
  allocator.verify();
});
