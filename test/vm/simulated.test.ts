/** The simulated machine: strict, deterministic, and failing where it is told to. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

const SIZE = 65536;

describe("simulated memory", () => {
  it("shows the same bytes through rx and rw, zero at first", () => {
    const memory = new SimulatedMemory();
    const { rx, rw } = memory.allocDualMapping(SIZE, {});
    assert.notEqual(rx, rw);
    const view = memory.openView(rw, SIZE);
    assert.ok(view.every((byte) => byte === 0));
    view[100] = 42;
    memory.closeView(view);
    assert.deepEqual([...memory.read(rx + 99, 3)], [0, 42, 0]);
    memory.poke(rx + 99, new Uint8Array([7]));
    assert.deepEqual([...memory.read(rw + 99, 2)], [7, 42]);
  });

  it("places mappings ascending, descending or at random, touching or apart, the same in every run", () => {
    const addresses = (options: ConstructorParameters<typeof SimulatedMemory>[0]): number[] => {
      const memory = new SimulatedMemory(options);
      return [1, 2, 3].map((count) => memory.alloc(count * SIZE, {}));
    };
    const [a = 0, b = 0, c = 0] = addresses({});
    assert.deepEqual([b - a, c - b], [SIZE, 2 * SIZE]);
    const [d = 0, e = 0, f = 0] = addresses({ placement: "descending" });
    assert.deepEqual([d - e, e - f], [2 * SIZE, 3 * SIZE]);
    const [g = 0, h = 0] = addresses({ gapBytes: 4096 });
    assert.equal(h - g, SIZE + 4096);
    assert.deepEqual(
      addresses({ placement: "random", seed: 5 }),
      addresses({ placement: "random", seed: 5 }),
    );
    assert.notDeepEqual(
      addresses({ placement: "random", seed: 5 }),
      addresses({ placement: "random", seed: 6 }),
    );
    const aligned = addresses({ placement: "random", pageGranularity: 65536 });
    assert.ok(aligned.every((address) => address % 65536 === 0));
  });

  it("never lets mappings overlap, however they are placed and released", () => {
    for (const placement of ["ascending", "descending", "random"] as const) {
      const memory = new SimulatedMemory({ placement, seed: 3 });
      const live: { rx: number; rw: number }[] = [];
      for (let round = 0; round < 500; round++) {
        live.push(memory.allocDualMapping(SIZE, {}));
        if (round % 3 === 2) {
          const [mapping] = live.splice((round * 7) % live.length, 1);
          if (mapping !== undefined) memory.releaseDualMapping(mapping, SIZE);
        }
      }
      const starts = live.flatMap(({ rx, rw }) => [rx, rw]).sort((a, b) => a - b);
      starts.forEach((start, index) => assert.ok(index === 0 || start - (starts[index - 1] ?? 0) >= SIZE));
      assert.equal(memory.mappings.length, live.length);
      assert.equal(memory.mappedBytes, live.length * SIZE);
    }
  });

  it("makes no bytes for memory that nobody looks at", () => {
    const memory = new SimulatedMemory();
    for (let count = 0; count < 64; count++) memory.alloc(2 ** 34, {});
    assert.equal(memory.mappedBytes, 2 ** 40);
  });

  it("fails the call it was told to, once, and changes nothing by it", () => {
    const memory = new SimulatedMemory();
    memory.failAfter("allocDualMapping", 1, "ERR_PERMISSION");
    memory.allocDualMapping(SIZE, {});
    assert.throws(
      () => memory.allocDualMapping(SIZE, {}),
      (error: unknown) =>
        error instanceof JitError && error.code === "ERR_PERMISSION" && error.syscall === "mmap",
    );
    assert.equal(memory.mappings.length, 1);
    const mapping = memory.allocDualMapping(SIZE, {});
    memory.failAfter("any", 0);
    assert.throws(() => memory.releaseDualMapping(mapping, SIZE), JitError);
    assert.equal(memory.mappings.length, 2);
    memory.releaseDualMapping(mapping, SIZE);
    assert.equal(memory.calls.allocDualMapping, 3);
    assert.equal(memory.calls.releaseDualMapping, 2);
    memory.failAfter("alloc", 5);
    assert.equal(memory.clearFaults(), 1);
    assert.equal(memory.clearFaults(), 0);
  });

  it("has no more memory than it was given", () => {
    const memory = new SimulatedMemory({ totalBytes: 2 * SIZE });
    const first = memory.alloc(SIZE, {});
    memory.alloc(SIZE, {});
    assert.throws(() => memory.alloc(4096, {}), JitError);
    memory.release(first, SIZE);
    memory.alloc(SIZE, {});
    assert.equal(memory.peakMappedBytes, 2 * SIZE);
  });

  it("refuses writable code on a hardened machine", () => {
    const memory = new SimulatedMemory({ hardened: true });
    assert.equal(memory.hardenedRuntimeInfo().enabled, true);
    assert.throws(() => memory.alloc(SIZE, { write: true, execute: true }), JitError);
    assert.doesNotThrow(() => memory.alloc(SIZE, { read: true, execute: true }));
  });

  it("calls a bug of the caller a bug", () => {
    const memory = new SimulatedMemory();
    const isBug = (error: unknown): boolean => error instanceof Error && !(error instanceof JitError);
    const mapping = memory.allocDualMapping(SIZE, {});
    const { rx, rw } = mapping;
    assert.throws(() => memory.release(rx, SIZE), isBug);
    assert.throws(() => memory.releaseDualMapping({ rx: rw, rw: rx }, SIZE), isBug);
    assert.throws(() => memory.releaseDualMapping(mapping, 4096), isBug);
    assert.throws(() => memory.openView(rw, SIZE + 1), isBug);
    assert.throws(() => memory.openView(rx - 1, 1), isBug);
    assert.throws(() => memory.flushInstructionCache(rw, 16), isBug);
    assert.doesNotThrow(() => memory.flushInstructionCache(rx + 3, 16));
    assert.throws(() => memory.protect(rx + 1, 4096, {}), isBug);
    assert.throws(() => memory.alloc(1, {}), isBug);
    const view = memory.openView(rw, SIZE);
    assert.equal(memory.openViewCount, 1);
    assert.throws(() => memory.releaseDualMapping(mapping, SIZE), isBug);
    memory.closeView(view);
    assert.throws(() => memory.closeView(view), isBug);
    memory.releaseDualMapping(mapping, SIZE);
    assert.throws(() => memory.releaseDualMapping(mapping, SIZE), isBug);
    assert.throws(() => memory.read(rx, 1), isBug);
    assert.deepEqual(memory.mappings, []);
  });
});
