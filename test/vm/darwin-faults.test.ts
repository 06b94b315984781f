/** The memory of macOS on fake Macs: what it calls, and every call made to fail. No real Mac has run it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { DualMapping } from "../../src/vm/contract.ts";
import { Protection } from "../../src/vm/darwin/libsystem.ts";
import { Errno, FakeLibSystem, KernReturn } from "../support/fake-libsystem.ts";
import type { FakeMac } from "../support/fake-libsystem.ts";
import { walkFaults } from "../support/fault-walk.ts";
import type { Operation } from "../support/fault-walk.ts";

const SIZE = 4 * 16384;
const RX = Protection.READ | Protection.EXECUTE;
const RW = Protection.READ | Protection.WRITE;
const processors = ["Intel", "Apple silicon"] as const;

/** How an error of a dual mapping says that it can be done without, or cannot. */
const WAYS_OUT = {
  Intel: /; to do without, pass `useDualMapping: false`/,
  "Apple silicon":
    /; `useDualMapping: false` is no way out: Apple silicon has no memory that is writable and/,
} as const;

function codesOf(call: string): readonly number[] {
  return Object.values(call.startsWith("mach_") ? KernReturn : Errno);
}

for (const processor of processors) {
  const start = (): FakeLibSystem => new FakeLibSystem({ processor });
  const operations: readonly Operation[] = [
    {
      name: "alloc",
      start,
      run: (memory) => memory.alloc(SIZE, { read: true, write: true }),
      undo: (memory, result) => memory.release(result as number, SIZE),
    },
    {
      name: "allocDualMapping",
      start,
      says: WAYS_OUT[processor],
      run: (memory) => memory.allocDualMapping(SIZE, { largePages: true }),
      undo: (memory, result) => memory.releaseDualMapping(result as DualMapping, SIZE),
    },
    {
      name: "release",
      start,
      prepare: (memory) => memory.alloc(SIZE, {}),
      run: (memory, address) => memory.release(address as number, SIZE),
    },
    {
      name: "releaseDualMapping",
      start,
      prepare: (memory) => memory.allocDualMapping(SIZE, {}),
      run: (memory, mapping) => memory.releaseDualMapping(mapping as DualMapping, SIZE),
    },
    {
      name: "protect",
      start,
      prepare: (memory) => memory.alloc(SIZE, { read: true }),
      run: (memory, address) => memory.protect(address as number, SIZE, { read: true, execute: true }),
      undo: (memory, _result, address) => memory.release(address as number, SIZE),
    },
  ];
  describe(processor, () => {
    for (const operation of operations) walkFaults(operation, codesOf);
  });
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

describe("dual mapping", () => {
  for (const processor of processors) {
    it(`${processor}: the same memory twice in one range, each view for one purpose for good`, () => {
      const system = new FakeLibSystem({ processor });
      const { rx, rw } = system.memory.allocDualMapping(SIZE, {});
      assert.equal(rw, rx + SIZE);
      const [executable, writable] = [system.space.at(rx), system.space.at(rw)];
      assert.deepEqual([executable?.protection, executable?.maximum, executable?.sizeBytes], [RX, RX, SIZE]);
      assert.deepEqual([writable?.protection, writable?.maximum, writable?.sizeBytes], [RW, RW, SIZE]);
      assert.equal(executable?.object, writable?.object);
      assert.equal(rx - (executable?.origin ?? 0), rw - (writable?.origin ?? 0), "from the same byte on");
      for (const [address, access] of [
        [rx, { read: true, write: true }],
        [rw, { read: true, execute: true }],
      ] as const) {
        assert.equal(failureOf(() => system.memory.protect(address, SIZE, access)).code, "ERR_PERMISSION");
      }
      system.calls.names.length = 0;
      system.memory.releaseDualMapping({ rx, rw }, SIZE);
      assert.deepEqual(system.calls.names, ["munmap"]);
      assert.deepEqual(system.leftovers(), []);
      assert.deepEqual(system.writableCode, []);
    });

    it(`${processor}: a hardened process without the entitlement is told its name`, () => {
      const system = new FakeLibSystem({ processor, hardened: true });
      const error = failureOf(() => system.memory.allocDualMapping(SIZE, {}));
      assert.equal(error.code, "ERR_PERMISSION");
      assert.equal(error.syscall, "mach_vm_protect");
      assert.equal(error.errno, KernReturn.PROTECTION_FAILURE);
      assert.match(error.message, /KERN_PROTECTION_FAILURE \(2\).*allow-unsigned-executable-memory/);
      assert.deepEqual(system.leftovers(), []);
    });
  }

  it("asks for the port of the task once: each time takes a reference that nobody gives back", () => {
    const system = new FakeLibSystem({ processor: "Intel" });
    for (let round = 0; round < 3; round++) system.memory.allocDualMapping(SIZE, {});
    system.memory.probe();
    assert.equal(system.taskReferences, 1);
  });

  it("views that are no neighbours are given back one by one", () => {
    const system = new FakeLibSystem({ processor: "Intel" });
    const rx = system.memory.alloc(SIZE, {});
    system.memory.alloc(SIZE, {});
    const rw = system.memory.alloc(SIZE, {});
    system.memory.releaseDualMapping({ rx, rw }, SIZE);
    assert.equal(system.leftovers().length, 1);
  });
});

describe("memory that is writable and executable", () => {
  const everything = { read: true, write: true, execute: true };

  it("is plain on Intel, and MAP_JIT memory where that alone is allowed", () => {
    const plain = new FakeLibSystem({ processor: "Intel" });
    assert.equal(plain.space.at(plain.memory.alloc(SIZE, everything))?.isJit, false);
    const hardened = new FakeLibSystem({ processor: "Intel", hardened: true });
    assert.equal(hardened.space.at(hardened.memory.alloc(SIZE, everything))?.isJit, true);
    const closed = new FakeLibSystem({ processor: "Intel", hardened: true, mayMapJit: false });
    const error = failureOf(() => closed.memory.alloc(SIZE, everything));
    assert.equal(error.code, "ERR_PERMISSION");
    assert.equal(error.errno, Errno.EACCES, "of the first way, which the message speaks of");
    assert.deepEqual(closed.leftovers(), []);
  });

  it("does not exist on Apple silicon, and MAP_JIT memory is never asked for in its place", () => {
    const system = new FakeLibSystem({ processor: "Apple silicon" });
    const error = failureOf(() => system.memory.alloc(SIZE, everything));
    assert.equal(error.code, "ERR_PERMISSION");
    assert.match(error.message, /leave `useDualMapping` on/);
    assert.deepEqual(system.calls.names, ["mmap"]);
  });

  it("JIT memory is not switched on Apple silicon, where the engine's own code is in it", () => {
    const { memory } = new FakeLibSystem({ processor: "Apple silicon" });
    memory.protectJitMemory("read-execute");
    assert.equal(failureOf(() => memory.protectJitMemory("read-write")).code, "ERR_FEATURE_NOT_ENABLED");
    new FakeLibSystem({ processor: "Intel" }).memory.protectJitMemory("read-write");
  });
});

describe("what is found out about a Mac", () => {
  const cases: readonly (readonly [
    FakeMac,
    readonly [enabled: boolean, mapJit: boolean, dualMapping: boolean],
  ])[] = [
    [{ processor: "Intel" }, [false, true, true]],
    [{ processor: "Intel", hardened: true }, [true, true, false]],
    [{ processor: "Apple silicon" }, [true, true, true]],
    [{ processor: "Apple silicon", hardened: true, mayMapJit: false }, [true, false, false]],
  ];
  for (const [machine, [enabled, mapJit, dualMapping]] of cases) {
    it(`${JSON.stringify(machine)}: hardenedRuntimeInfo`, () => {
      const system = new FakeLibSystem(machine);
      assert.deepEqual(system.memory.hardenedRuntimeInfo(), { enabled, mapJit, dualMapping });
      assert.deepEqual(system.leftovers(), []);
    });
  }

  it("info, large pages and limits", () => {
    const { memory } = new FakeLibSystem({ processor: "Apple silicon" });
    assert.deepEqual(memory.info(), { pageSize: 16384, pageGranularity: 16384 });
    assert.equal(memory.largePageSize(), 0);
    assert.deepEqual(memory.limits(), []);
  });

  it("written code is flushed on Apple silicon alone", () => {
    for (const processor of processors) {
      const system = new FakeLibSystem({ processor });
      system.memory.flushInstructionCache(0x1_0000_0003, 17);
      assert.deepEqual(system.flushed, processor === "Intel" ? [] : [[0x1_0000_0003, 17]]);
    }
  });

  it("probe tries every way and undoes it, and never throws, whatever fails", () => {
    const whole = new FakeLibSystem({ processor: "Intel" });
    assert.deepEqual(
      whole.memory.probe().map(({ ok }) => ok),
      [true, true, true, true, false],
    );
    assert.deepEqual(whole.leftovers(), []);
    for (const [position, call] of whole.calls.names.entries()) {
      // What is made to fail here is giving back, and nothing can be done about that.
      if (call === "munmap") continue;
      const system = new FakeLibSystem({ processor: "Intel" });
      system.calls.failAt(position, 1);
      assert.equal(system.memory.probe().length, 5);
      assert.deepEqual(system.leftovers(), []);
    }
    const silicon = new FakeLibSystem({ processor: "Apple silicon" }).memory.probe();
    assert.deepEqual(
      silicon.map(({ ok }) => ok),
      [false, true, true, true, false],
    );
  });
});

describe("what each number becomes", () => {
  const cases = [
    ["mmap", Errno.ENOMEM, "ERR_OUT_OF_MEMORY"],
    ["mmap", Errno.EPERM, "ERR_PERMISSION"],
    ["mmap", Errno.EINVAL, "ERR_INVALID_ARGUMENT"],
    ["mmap", Errno.ENOTSUP, "ERR_FEATURE_NOT_ENABLED"],
    ["mmap", 12345, "ERR_FEATURE_NOT_ENABLED"],
    ["mach_vm_remap", KernReturn.NO_SPACE, "ERR_OUT_OF_MEMORY"],
    ["mach_vm_remap", KernReturn.RESOURCE_SHORTAGE, "ERR_OUT_OF_MEMORY"],
    ["mach_vm_remap", KernReturn.PROTECTION_FAILURE, "ERR_PERMISSION"],
    ["mach_vm_remap", KernReturn.INVALID_ARGUMENT, "ERR_INVALID_ARGUMENT"],
    ["mach_vm_remap", 12345, "ERR_FEATURE_NOT_ENABLED"],
  ] as const;
  for (const [call, code, expected] of cases) {
    it(`${call}, ${code}: ${expected}`, () => {
      const system = new FakeLibSystem({ processor: "Apple silicon" });
      system.calls.refuse(call, code);
      const error = failureOf(() => system.memory.allocDualMapping(SIZE, {}));
      assert.equal(error.code, expected);
      assert.equal(error.syscall, call);
      assert.equal(error.errno, code);
    });
  }
});
