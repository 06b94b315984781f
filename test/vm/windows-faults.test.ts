/** Windows memory on a fake machine: what it calls, and every call made to fail. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { DualMapping, VirtualMemory } from "../../src/vm/contract.ts";
import { WindowsMemory } from "../../src/vm/windows.ts";
import { Page } from "../../src/vm/windows/kernel32.ts";
import { LastError } from "../../src/vm/windows/last-error.ts";
import { WITHOUT_ROUTINE } from "../support/fake-noting.ts";
import { FakeKernel32, GRANULARITY, LARGE_PAGE, PAGE } from "../support/fake-kernel32.ts";
import { walkFaults } from "../support/fault-walk.ts";
import type { Operation } from "../support/fault-walk.ts";

const SIZE = 2 * GRANULARITY;
const CODES = [
  LastError.ERROR_NOT_ENOUGH_MEMORY,
  LastError.ERROR_ACCESS_DENIED,
  LastError.ERROR_INVALID_PARAMETER,
  LastError.ERROR_DYNAMIC_CODE_BLOCKED,
];

/** How an error of a dual mapping says that it can be done without. */
const WAY_OUT = /; to do without, pass `useDualMapping: false`/;

/** What is never asked for a view. */
const NO_VIEWS = { view: () => assert.fail("a view"), detach: () => undefined };

const releaseDual =
  (sizeBytes: number): NonNullable<Operation["undo"]> =>
  (memory, result) => {
    memory.releaseDualMapping(result as DualMapping, sizeBytes);
  };

const operations: readonly Operation[] = [
  {
    name: "alloc",
    start: () => new FakeKernel32(),
    run: (memory) => memory.alloc(SIZE, { read: true }),
    undo: (memory, result) => memory.release(result as number, SIZE),
  },
  ...[true, false].map((mayLockPages): Operation => ({
    name: `alloc with large pages, ${mayLockPages ? "" : "not "}allowed`,
    start: () => new FakeKernel32({ mayLockPages }),
    run: (memory) => memory.alloc(LARGE_PAGE, { read: true, write: true, largePages: true }),
    undo: (memory, result) => memory.release(result as number, LARGE_PAGE),
  })),
  {
    name: "allocDualMapping",
    start: () => new FakeKernel32(),
    says: WAY_OUT,
    run: (memory) => memory.allocDualMapping(SIZE, {}),
    undo: releaseDual(SIZE),
  },
  ...[true, false].map((mayLockPages): Operation => ({
    name: `allocDualMapping with large pages, ${mayLockPages ? "" : "not "}allowed`,
    start: () => new FakeKernel32({ mayLockPages }),
    says: WAY_OUT,
    run: (memory) => memory.allocDualMapping(LARGE_PAGE, { largePages: true }),
    undo: releaseDual(LARGE_PAGE),
  })),
  {
    name: "release",
    start: () => new FakeKernel32(),
    prepare: (memory) => memory.alloc(SIZE, {}),
    run: (memory, address) => memory.release(address as number, SIZE),
  },
  {
    name: "releaseDualMapping",
    start: () => new FakeKernel32(),
    prepare: (memory) => memory.allocDualMapping(SIZE, {}),
    run: (memory, mapping) => memory.releaseDualMapping(mapping as DualMapping, SIZE),
  },
  {
    name: "protect",
    start: () => new FakeKernel32(),
    prepare: (memory) => memory.alloc(SIZE, {}),
    run: (memory, address) => memory.protect(address as number, SIZE, { read: true, execute: true }),
    undo: (memory, _result, address) => memory.release(address as number, SIZE),
  },
  {
    name: "flushInstructionCache",
    start: () => new FakeKernel32(),
    prepare: (memory) => memory.alloc(SIZE, {}),
    run: (memory, address) => memory.flushInstructionCache(address as number, 100),
    undo: (memory, _result, address) => memory.release(address as number, SIZE),
  },
];

for (const operation of operations) walkFaults(operation, () => CODES);

function failureOf(work: () => unknown): JitError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof JitError, String(error));
    return error;
  }
  return assert.fail("it did not throw");
}

describe("Windows memory on a fake machine", () => {
  it("tells pages and granularity apart", () => {
    const { memory } = new FakeKernel32();
    assert.deepEqual(memory.info(), { pageSize: PAGE, pageGranularity: GRANULARITY });
    assert.equal(memory.largePageSize(), LARGE_PAGE);
    assert.equal(new FakeKernel32({ largePageSize: 0 }).memory.largePageSize(), 0);
  });

  it("maps a section twice, and keeps no handle", () => {
    const system = new FakeKernel32();
    const { rx, rw } = system.memory.allocDualMapping(SIZE, {});
    assert.deepEqual(system.calls.names, [
      "CreateFileMappingW",
      "MapViewOfFile",
      "MapViewOfFile",
      "CloseHandle",
    ]);
    const [executable, writable] = [system.space.at(rx), system.space.at(rw)];
    assert.equal(executable?.protection, Page.EXECUTE_READ);
    assert.equal(writable?.protection, Page.READWRITE);
    assert.equal(executable.view?.section, writable.view?.section);
    assert.equal(executable.view?.section.sizeBytes, SIZE);
    assert.equal(system.handles.size, 0);
  });

  it("says a size of more than 32 bits in two parts", () => {
    const system = new FakeKernel32();
    const sizeBytes = 3 * 2 ** 32 + GRANULARITY;
    const { rx } = system.memory.allocDualMapping(sizeBytes, {});
    assert.equal(system.space.at(rx)?.view?.section.sizeBytes, sizeBytes);
  });

  it("takes large pages where it may, and whole ones alone", () => {
    const system = new FakeKernel32({ mayLockPages: true });
    const { rx } = system.memory.allocDualMapping(LARGE_PAGE, { largePages: true });
    assert.equal(system.space.at(rx)?.view?.section.largePages, true);
    const part = system.memory.allocDualMapping(LARGE_PAGE + GRANULARITY, { largePages: true });
    assert.equal(system.space.at(part.rx)?.view?.section.largePages, false);
  });

  it("switches the right to lock pages on once, and asks again where it was refused", () => {
    const asked = (system: FakeKernel32): number => {
      for (let round = 0; round < 2; round++) system.memory.alloc(LARGE_PAGE, { largePages: true });
      assert.equal(system.handles.size, 0);
      return system.calls.names.filter((name) => name === "AdjustTokenPrivileges").length;
    };
    assert.equal(asked(new FakeKernel32({ mayLockPages: true })), 1);
    assert.equal(asked(new FakeKernel32({ mayLockPages: false })), 2);
    const system = new FakeKernel32({ mayLockPages: true });
    system.memory.alloc(LARGE_PAGE, {});
    system.memory.alloc(GRANULARITY, { largePages: true });
    assert.deepEqual(
      system.calls.names,
      ["VirtualAlloc", "VirtualAlloc"],
      "where it is of no use nobody asks",
    );
  });

  it("never makes the executable view writable", () => {
    const system = new FakeKernel32();
    const { rx } = system.memory.allocDualMapping(SIZE, {});
    const error = failureOf(() => system.memory.protect(rx, SIZE, { read: true, write: true }));
    assert.equal(error.code, "ERR_INVALID_ARGUMENT");
    assert.match(
      error.message,
      /VirtualProtect failed with ERROR_INVALID_PARAMETER \(87\); .*never writable/,
    );
  });

  it("unmaps the rest when it is asked again, where the second view was refused", () => {
    const system = new FakeKernel32();
    const mapping = system.memory.allocDualMapping(SIZE, {});
    // Two questions about each view come first, and the executable view goes.
    system.calls.failAt(5, LastError.ERROR_INVALID_ADDRESS);
    assert.equal(failureOf(() => system.memory.releaseDualMapping(mapping, SIZE)).syscall, "UnmapViewOfFile");
    assert.equal(system.space.at(mapping.rx), undefined, "what could run went first");
    assert.notEqual(system.space.at(mapping.rw), undefined);
    // Each thread has its own object; another one may be the one that tries again.
    const another = new WindowsMemory({
      kernel32: system,
      advapi32: system,
      noting: WITHOUT_ROUTINE,
      ffi: NO_VIEWS,
    });
    another.releaseDualMapping(mapping, SIZE);
    assert.deepEqual(system.leftovers(), []);
    assert.equal(
      failureOf(() => system.memory.releaseDualMapping(mapping, SIZE)).code,
      "ERR_INVALID_ARGUMENT",
    );
  });

  it("refuses to unmap what is no dual mapping, or not all of one, and unmaps nothing", () => {
    const system = new FakeKernel32();
    const { rx, rw } = system.memory.allocDualMapping(SIZE, {});
    const before = system.leftovers();
    for (const [mapping, sizeBytes] of [
      [{ rx, rw }, GRANULARITY],
      [{ rx, rw }, 2 * SIZE],
      [{ rx, rw: rw + GRANULARITY }, SIZE],
      [{ rx, rw: 2 ** 40 }, SIZE],
    ] as const) {
      const error = failureOf(() => system.memory.releaseDualMapping(mapping, sizeBytes));
      assert.equal(error.code, "ERR_INVALID_ARGUMENT");
      assert.deepEqual(system.leftovers(), before);
    }
    system.memory.releaseDualMapping({ rx, rw }, SIZE);
    assert.deepEqual(system.leftovers(), []);
  });

  it("refuses to unmap a part, the middle, or what is not mapped, and unmaps nothing", () => {
    const system = new FakeKernel32();
    const address = system.memory.alloc(SIZE, { read: true });
    const before = system.leftovers();
    for (const [start, sizeBytes] of [
      [address, GRANULARITY],
      [address, SIZE + GRANULARITY],
      [address + PAGE, SIZE],
      [address + SIZE, SIZE],
    ] as const) {
      assert.equal(failureOf(() => system.memory.release(start, sizeBytes)).code, "ERR_INVALID_ARGUMENT");
      assert.deepEqual(system.leftovers(), before);
    }
    system.memory.release(address, SIZE);
    assert.deepEqual(system.leftovers(), []);
  });

  it("unmaps as a whole what was protected in parts", () => {
    const system = new FakeKernel32();
    const address = system.memory.alloc(SIZE, { read: true, write: true });
    // Mapped right behind: it must not be taken for a part of the first.
    const neighbour = system.memory.alloc(SIZE, { read: true, write: true });
    system.memory.protect(address + GRANULARITY, PAGE, { read: true, execute: true });
    system.memory.release(address, SIZE);
    system.memory.release(neighbour, SIZE);
    assert.deepEqual(system.leftovers(), []);
  });

  it("each access has its protection", () => {
    const system = new FakeKernel32();
    const cases = [
      [{}, Page.NOACCESS],
      [{ read: true }, Page.READONLY],
      [{ write: true }, Page.READWRITE],
      [{ read: true, write: true }, Page.READWRITE],
      [{ execute: true }, Page.EXECUTE],
      [{ read: true, execute: true }, Page.EXECUTE_READ],
      [{ read: true, write: true, execute: true }, Page.EXECUTE_READWRITE],
    ] as const;
    for (const [flags, protection] of cases) {
      assert.equal(system.space.at(system.memory.alloc(SIZE, flags))?.protection, protection);
    }
  });

  it("flushes the very range", () => {
    const system = new FakeKernel32();
    system.memory.flushInstructionCache(0x1234_5679, 17);
    assert.deepEqual(system.flushed, [[0x1234_5679, 17]]);
  });

  it("hardenedRuntimeInfo tells what the process may, and leaves nothing", () => {
    const free = new FakeKernel32();
    assert.deepEqual(free.memory.hardenedRuntimeInfo(), { enabled: false, mapJit: false, dualMapping: true });
    assert.deepEqual(free.leftovers(), []);
    const guarded = new FakeKernel32();
    const isCode = (protection: unknown): boolean => ((protection as number) & 0xf0) !== 0;
    guarded.calls.refuse("VirtualAlloc", LastError.ERROR_DYNAMIC_CODE_BLOCKED, (args) => isCode(args[3]));
    guarded.calls.refuse("CreateFileMappingW", LastError.ERROR_DYNAMIC_CODE_BLOCKED);
    assert.deepEqual(guarded.memory.hardenedRuntimeInfo(), {
      enabled: true,
      mapJit: false,
      dualMapping: false,
    });
    assert.deepEqual(guarded.leftovers(), []);
    const error = failureOf(() => guarded.memory.allocDualMapping(SIZE, {}));
    assert.equal(error.code, "ERR_PERMISSION");
    assert.match(error.message, /ERROR_DYNAMIC_CODE_BLOCKED \(1655\).*arbitrary code guard.*useDualMapping/);
  });

  it("protectJitMemory has nothing to switch, and no limit is known", () => {
    const system = new FakeKernel32();
    const memory: VirtualMemory = system.memory;
    memory.protectJitMemory("read-write");
    assert.deepEqual(memory.limits(), []);
    assert.deepEqual(system.calls.names, []);
  });

  it("probe tries every way and undoes it, and never throws, whatever fails", () => {
    const whole = new FakeKernel32({ mayLockPages: true });
    assert.ok(whole.memory.probe().every(({ ok }) => ok));
    assert.deepEqual(whole.leftovers(), []);
    for (const [position, call] of whole.calls.names.entries()) {
      // What is made to fail here is giving back, and nothing can be done about that.
      if (["VirtualFree", "UnmapViewOfFile", "VirtualQuery"].includes(call)) continue;
      const system = new FakeKernel32({ mayLockPages: true });
      system.calls.failAt(position, LastError.ERROR_ACCESS_DENIED);
      assert.equal(system.memory.probe().length, 6);
      assert.deepEqual(system.leftovers(), []);
    }
    assert.equal(new FakeKernel32({ largePageSize: 0 }).memory.probe().at(-1)?.ok, false);
    assert.deepEqual(
      new FakeKernel32().memory.probe().map(({ ok }) => ok),
      [true, true, true, false, false, false],
    );
  });
});

describe("what each code of GetLastError becomes", () => {
  for (const [code, expected] of [
    [LastError.ERROR_NOT_ENOUGH_MEMORY, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_COMMITMENT_LIMIT, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_NO_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_NONPAGED_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_PAGED_SYSTEM_RESOURCES, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_NOT_ENOUGH_QUOTA, "ERR_OUT_OF_MEMORY"],
    [LastError.ERROR_ACCESS_DENIED, "ERR_PERMISSION"],
    [LastError.ERROR_PRIVILEGE_NOT_HELD, "ERR_PERMISSION"],
    [LastError.ERROR_TOO_MANY_OPEN_FILES, "ERR_TOO_MANY_HANDLES"],
    [LastError.ERROR_INVALID_PARAMETER, "ERR_INVALID_ARGUMENT"],
    [LastError.ERROR_CALL_NOT_IMPLEMENTED, "ERR_FEATURE_NOT_ENABLED"],
    [12345, "ERR_FEATURE_NOT_ENABLED"],
  ] as const) {
    it(`${code} is ${expected}`, () => {
      const system = new FakeKernel32();
      system.calls.refuse("VirtualAlloc", code);
      const error = failureOf(() => system.memory.alloc(SIZE, { read: true }));
      assert.equal(error.code, expected);
      assert.equal(error.syscall, "VirtualAlloc");
      assert.equal(error.errno, code);
    });
  }
});
