/** Span.patch: what is replaced while it runs, and what is refused. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator, type SpanKind } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { AtomicStores } from "../../src/vm/atomic-stores.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { changesNothing, refuses, throwsJitError, wrong } from "../support/expectations.ts";
import { Fate, memoryOf } from "../support/mortal-thread.ts";
import { needs } from "../support/requirements.ts";
import { someBytes } from "../support/rows.ts";

const isArm64 = platform.processor === "arm64";
const SIZES = [1, 2, 4, 8] as const;

/** The memory of a thread that shares allocators, and does not die. */
function sharingMemory(machine: SimulatedMemory): ReturnType<typeof memoryOf> {
  return memoryOf(machine, new Fate(() => assert.fail("this thread does not die")));
}

describe("patch", () => {
  for (const isShared of [false, true]) {
    test(`is one store, and one flush of code${isShared ? ", in a shared allocator" : ""}`, () => {
      const machine = new SimulatedMemory({ hasRanges: true });
      const allocator = new JitAllocator({}, sharingMemory(machine));
      if (isShared) allocator.share();
      for (const kind of ["code", "constants"] as const) {
        const span = allocator.alloc(200, { kind });
        const contents = someBytes(span.size, 9);
        span.write(0, contents);
        for (const size of SIZES) {
          if (isArm64 && kind === "code" && size !== 4) continue;
          for (const offset of [0, size, 64, span.size - size]) {
            const before = { ...machine.calls };
            span.patch(offset, someBytes(size, offset + 1));
            contents.set(someBytes(size, offset + 1), offset);
            assert.equal(machine.calls.storeAtomically - before.storeAtomically, 1);
            assert.equal(machine.calls.copyIn, before.copyIn);
            const flushes = machine.calls.flushInstructionCache - before.flushInstructionCache;
            assert.equal(flushes, kind === "code" ? 1 : 0);
            assert.deepEqual(span.read(), contents);
          }
        }
      }
      allocator.dispose();
    });
  }

  test("of anything else: ERR_INVALID_ARGUMENT, and nothing is written", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const span = allocator.alloc(128);
    const contents = someBytes(128, 3);
    span.write(0, contents);
    for (const [offset, length] of [
      ...[0, 3, 5, 6, 7, 9, 16, 64].map((length) => [0, length]),
      ...[1, 2, 3, 5].map((offset) => [offset, 4]),
      ...[4, 12].map((offset) => [offset, 8]),
      ...[125, 128, 132, -4, 0.5, NaN, 2 ** 53].map((offset) => [offset, 4]),
    ] as const) {
      const bytes = new Uint8Array(length ?? 0);
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.patch(offset ?? 0, bytes), `${offset} ${length}`);
    }
    for (const bytes of [undefined, null, 4, "code", [1, 2, 3, 4], new ArrayBuffer(4), new Uint32Array(1)])
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.patch(0, wrong(bytes)));
    assert.deepEqual(span.read(), contents);
    const data = allocator.alloc(64, { kind: "data" });
    refuses(allocator, "ERR_INVALID_ARGUMENT", () => data.patch(0, new Uint8Array(4)));
    span.release();
    throwsJitError("ERR_RELEASED", () => span.patch(0, new Uint8Array(4)));
  });

  test("of code on AArch64 is one instruction word", { skip: !isArm64 }, () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const span = allocator.alloc(64);
    for (const size of [1, 2, 8])
      throwsJitError("ERR_INVALID_ARGUMENT", () => span.patch(0, new Uint8Array(size)));
    span.patch(0, new Uint8Array(4));
  });

  test("a store that the system refuses changes nothing; after a refused flush the bytes are there", () => {
    const memory = new SimulatedMemory();
    const allocator = new JitAllocator({}, memory);
    const span = allocator.alloc(64);
    span.write(0, someBytes(64));
    memory.failAfter("storeAtomically", 0, "ERR_PERMISSION");
    changesNothing(allocator, () => throwsJitError("ERR_PERMISSION", () => span.patch(4, new Uint8Array(4))));
    assert.deepEqual(span.read(), someBytes(64));
    memory.failAfter("flushInstructionCache", 0, "ERR_PERMISSION");
    throwsJitError("ERR_PERMISSION", () => span.patch(4, new Uint8Array(4)));
    assert.deepEqual(span.read(4, 4), new Uint8Array(4));
  });

  test("on a processor without a routine: ERR_FEATURE_NOT_ENABLED", () => {
    const stores = new AtomicStores({ callable: () => assert.fail("nothing is called") }, "other", false);
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () =>
      stores.store(new SimulatedMemory(), 4096, new Uint8Array(4)),
    );
  });
});

/** How many mappings there are. */
function mappedBy(memory: SimulatedMemory): number {
  return memory.mappings.length;
}

describe("the routine for stores", () => {
  test("is a page that is never writable and executable at once, made with the first store", () => {
    const memory = new SimulatedMemory();
    const calls: unknown[][] = [];
    const callable = (address: number) => ({
      call: (...args: readonly unknown[]) => {
        calls.push([address, ...args]);
      },
      close: () => undefined,
    });
    const stores = new AtomicStores({ callable }, "x64", false);
    assert.equal(mappedBy(memory), 0);
    for (const size of SIZES) stores.store(memory, 4096 + size, someBytes(size, size));
    const [page] = memory.mappings;
    assert.equal(mappedBy(memory), 1);
    assert.ok(page);
    assert.deepEqual(page.flags, { read: true, execute: true });
    assert.deepEqual(
      calls.map(([address, where, , size]) => [address, where, size]),
      SIZES.map((size) => [page.rx, 4096 + size, size]),
    );
  });

  test("has two views where written memory may not become executable, and leaves nothing where it has none", () => {
    const memory = new SimulatedMemory();
    const callable = () => ({ call: () => undefined, close: () => undefined });
    const stores = new AtomicStores({ callable }, "x64", true);
    for (const call of ["alloc", "copyIn"] as const) {
      memory.failAfter(call, 0);
      if (call === "alloc")
        throwsJitError("ERR_OUT_OF_MEMORY", () => stores.store(memory, 8, new Uint8Array(8)));
      assert.equal(mappedBy(memory), 0);
      memory.clearFaults();
    }
    memory.failAfter("protect", 0, "ERR_PERMISSION");
    memory.failAfter("allocDualMapping", 0, "ERR_PERMISSION");
    throwsJitError("ERR_PERMISSION", () => stores.store(memory, 8, new Uint8Array(8)));
    assert.equal(mappedBy(memory), 0);
    memory.failAfter("protect", 0, "ERR_PERMISSION");
    stores.store(memory, 8, new Uint8Array(8));
    assert.equal(mappedBy(memory), 1);
    assert.notEqual(memory.mappings[0]?.rx, memory.mappings[0]?.rw);
  });
});

describe("a patch of real memory", { skip: needs("machineCode") }, () => {
  for (const options of [{}, { useRange: false }, { useDualMapping: false }]) {
    test(`stores just these bytes: ${JSON.stringify(options)}`, () => {
      using allocator = new JitAllocator(options);
      for (const kind of ["code", "constants"] satisfies readonly SpanKind[]) {
        const span = allocator.alloc(64, { kind });
        const contents = someBytes(64, 1);
        span.write(0, contents);
        for (const size of kind === "code" && isArm64 ? ([4] as const) : SIZES) {
          for (let offset = 0; offset < 64; offset += 3 * size) {
            if (offset + size > 64) break;
            contents.set(someBytes(size, 7 + offset), offset);
            span.patch(offset, someBytes(size, 7 + offset));
            assert.deepEqual(span.read(), contents);
          }
        }
      }
    });
  }
});

/** What a thread of patch-child.ts reports. */
interface Report {
  readonly calls: number;
  readonly wrong: number;
  readonly changed: number;
}

describe("a call site that runs while it is flipped", { skip: needs("systemV") }, () => {
  const [BEFORE, AFTER] = [0x1111_1111, 0x2222_2222];
  const WORKERS = 2;

  for (const [isShared, flipCount] of [
    [false, 1_000_000],
    [true, 100_000],
  ] as const) {
    test(`${flipCount} times${isShared ? ", of a shared allocator" : ""}: only the old or the new is ever called`, async () => {
      using allocator = new JitAllocator();
      const targets = [BEFORE, AFTER].map((value) => {
        const span = allocator.alloc(64);
        span.write(0, Uint8Array.of(0xb8, ...new Uint8Array(Int32Array.of(value).buffer), 0xc3));
        return span.rx;
      });
      const site = allocator.alloc(64);
      // call rel32; nop: the eight bytes from 8 on
      const [toOld, toNew] = targets.map((target) =>
        Uint8Array.of(
          0xe8,
          ...new Uint8Array(Int32Array.of(target - (site.rx + 13)).buffer),
          0x0f,
          0x1f,
          0x00,
        ),
      );
      assert.ok(toOld && toNew);
      // sub rsp, 8; four nops; call …; add rsp, 8; ret
      site.write(0, Uint8Array.of(0x48, 0x83, 0xec, 8, 0x90, 0x90, 0x90, 0x90));
      site.write(8, toOld);
      site.write(16, Uint8Array.of(0x48, 0x83, 0xc4, 8, 0xc3));
      if (isShared) allocator.share();
      const control = new SharedArrayBuffer(8);
      const state = new Int32Array(control);
      const workerData = { site: site.rx, before: BEFORE, after: AFTER, control };
      const reports = Array.from({ length: WORKERS }, () => {
        const worker = new Worker(new URL("patch-child.js", import.meta.url), { workerData });
        return new Promise<Report>((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        });
      });
      // The first to arrive need not wait for this thread's turn of its event loop.
      await Promise.race([...reports, allRunning(state)]);
      for (let flip = 0; flip < flipCount; flip++) site.patch(8, flip % 2 === 0 ? toNew : toOld);
      Atomics.store(state, 1, 1);
      const all = await Promise.all(reports);
      assert.equal(
        all.reduce((sum, report) => sum + report.wrong, 0),
        0,
        "neither the old nor the new",
      );
      assert.ok(all.some(({ changed }) => changed > 0) && all.some(({ calls, changed }) => changed < calls));
    });
  }

  /** Resolves when all workers run the loop. */
  async function allRunning(state: Int32Array): Promise<void> {
    for (let count = Atomics.load(state, 0); count < WORKERS; count = Atomics.load(state, 0)) {
      const { async, value } = Atomics.waitAsync(state, 0, count);
      if (async) await value;
    }
  }
});
