/** How kernel32 and libSystem are bound: names, signatures, arguments, on an interface that records them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import { DarwinMemory } from "../../src/vm/darwin.ts";
import { bindLibSystem } from "../../src/vm/darwin/libsystem.ts";
import { WindowsMemory } from "../../src/vm/windows.ts";
import { bindKernel32 } from "../../src/vm/windows/kernel32.ts";
import { bindAdvapi32 } from "../../src/vm/windows/lock-pages.ts";
import { WITHOUT_ROUTINE } from "../support/fake-noting.ts";
import { RecordingFfi } from "../support/recording-ffi.ts";

const SIZE = 65536;
const BASE = 0x1_0000_0000;

/** The events of the look-ups: `name(parameters) result`. */
function signatures(ffi: RecordingFfi): readonly string[] {
  return ffi.events.flatMap((event) =>
    "find" in event
      ? [`${event.find}(${event.signature.parameters.join(", ")}) ${event.signature.result}`]
      : [],
  );
}

describe("libSystem", () => {
  const answers = {
    getpagesize: () => 16384,
    mmap: () => BASE,
    munmap: () => 0,
    mprotect: () => 0,
    mach_task_self: () => 259,
    mach_vm_remap: () => 0,
    mach_vm_protect: () => 0,
    sys_icache_invalidate: () => undefined,
  };
  const memoryOn = (ffi: RecordingFfi): DarwinMemory =>
    new DarwinMemory({
      libSystem: bindLibSystem(ffi),
      ffi,
      processor: { needsFlush: true, switchesJitMemory: true },
    });

  it("a dual mapping is this sequence of native calls, and no other", () => {
    const ffi = new RecordingFfi(answers);
    const memory = memoryOn(ffi);
    const mapping = memory.allocDualMapping(SIZE, {});
    assert.deepEqual(mapping, { rx: BASE, rw: BASE + SIZE });
    memory.flushInstructionCache(BASE + 64, 100);
    memory.releaseDualMapping(mapping, SIZE);
    assert.deepEqual(ffi.calls, [
      ["mach_task_self"],
      // read and write; MAP_PRIVATE and MAP_ANON
      ["mmap", 0, 2 * SIZE, 3, 0x1002, -1, 0],
      // VM_FLAGS_OVERWRITE at a fixed address; not a copy; VM_INHERIT_NONE
      ["mach_vm_remap", 259, "buffer", SIZE, 0, 0x4000, 259, BASE + SIZE, 0, "buffer", "buffer", 2],
      // the maximum first: read and execute, then read and write
      ["mach_vm_protect", 259, BASE, SIZE, 1, 5],
      ["mach_vm_protect", 259, BASE, SIZE, 0, 5],
      ["mach_vm_protect", 259, BASE + SIZE, SIZE, 1, 3],
      ["mach_vm_protect", 259, BASE + SIZE, SIZE, 0, 3],
      ["sys_icache_invalidate", BASE + 64, 100],
      ["munmap", BASE, 2 * SIZE],
    ]);
    const remap = ffi.events.find((event) => "call" in event && event.call === "mach_vm_remap");
    assert.ok(remap !== undefined && "args" in remap);
    assert.deepEqual(remap.args[1], BigUint64Array.of(BigInt(BASE)), "where to, by reference");
  });

  it("every function is looked up once, with the signature of its header", () => {
    const ffi = new RecordingFfi(answers);
    const memory = memoryOn(ffi);
    for (let round = 0; round < 2; round++) {
      memory.releaseDualMapping(memory.allocDualMapping(SIZE, {}), SIZE);
      memory.protect(memory.alloc(SIZE, {}), SIZE, {});
      memory.flushInstructionCache(BASE, 4);
      memory.info();
    }
    assert.deepEqual(
      ffi.events.filter((event) => "open" in event),
      [{ open: ["/usr/lib/libSystem.B.dylib", "libSystem.B.dylib"] }],
    );
    assert.deepEqual([...signatures(ffi)].sort(), [
      "getpagesize() i32",
      "mach_task_self() u32",
      "mach_vm_protect(u32, pointer, pointer, i32, i32) i32",
      "mach_vm_remap(u32, buffer, pointer, pointer, i32, u32, pointer, i32, buffer, buffer, u32) i32",
      "mmap(pointer, pointer, i32, i32, i32, pointer) pointer",
      "mprotect(pointer, pointer, i32) i32",
      "munmap(pointer, pointer) i32",
      "sys_icache_invalidate(pointer, pointer) void",
    ]);
  });

  it("the error number of POSIX is the interface's; that of Mach is the result", () => {
    const posix = memoryOn(new RecordingFfi({ ...answers, mmap: () => -1 }));
    const mach = memoryOn(new RecordingFfi({ ...answers, mach_vm_remap: () => 3 }));
    const errorOf = (memory: DarwinMemory): unknown[] => {
      try {
        memory.allocDualMapping(SIZE, {});
      } catch (error) {
        assert.ok(error instanceof JitError);
        return [error.code, error.syscall, error.errno];
      }
      return assert.fail("it did not throw");
    };
    assert.deepEqual(errorOf(posix), ["ERR_OUT_OF_MEMORY", "mmap", 12]);
    assert.deepEqual(errorOf(mach), ["ERR_OUT_OF_MEMORY", "mach_vm_remap", 3]);
  });

  it("a function that is not there is a missing feature", () => {
    const memory = memoryOn(
      new RecordingFfi({ mmap: () => BASE, mach_task_self: () => 259, munmap: () => 0 }),
    );
    assert.throws(
      () => memory.allocDualMapping(SIZE, {}),
      (error: unknown) =>
        error instanceof JitError &&
        error.code === "ERR_FEATURE_NOT_ENABLED" &&
        error.message.includes("mach_vm_remap"),
    );
  });
});

describe("kernel32", () => {
  const answers = {
    GetLastError: () => 1455,
    GetSystemInfo: (info: unknown) => {
      assert.ok(info instanceof DataView);
      info.setUint32(4, 4096, true);
      info.setUint32(40, 65536, true);
    },
    GetLargePageMinimum: () => 0,
    GetCurrentProcess: () => -1,
    VirtualAlloc: () => BASE,
    VirtualFree: () => 1,
    VirtualProtect: () => 1,
    VirtualQuery: (address: unknown, info: unknown) => {
      assert.ok(info instanceof DataView);
      const isStart = address === BASE || address === BASE + SIZE;
      info.setBigUint64(8, BigInt(isStart ? address : 0), true);
      info.setBigUint64(24, BigInt(SIZE), true);
      return 48;
    },
    CreateFileMappingW: () => 200,
    MapViewOfFile: (_section: unknown, access: unknown) => (access === 6 ? BASE : BASE + SIZE),
    UnmapViewOfFile: () => 1,
    CloseHandle: () => 1,
    FlushInstructionCache: () => 1,
  };
  const memoryOn = (ffi: RecordingFfi): WindowsMemory =>
    new WindowsMemory({
      kernel32: bindKernel32(ffi),
      advapi32: bindAdvapi32(ffi),
      noting: WITHOUT_ROUTINE,
      ffi,
    });

  it("memory is this sequence of native calls, and no other", () => {
    const ffi = new RecordingFfi(answers);
    const memory = memoryOn(ffi);
    assert.deepEqual(memory.info(), { pageSize: 4096, pageGranularity: 65536 });
    memory.releaseDualMapping(memory.allocDualMapping(SIZE, {}), SIZE);
    memory.release(memory.alloc(SIZE, { read: true, write: true }), SIZE);
    memory.protect(BASE, SIZE, { read: true, execute: true });
    memory.flushInstructionCache(BASE + 3, 5);
    assert.deepEqual(ffi.calls, [
      ["GetSystemInfo", "buffer"],
      // no file; PAGE_EXECUTE_READWRITE and SEC_COMMIT; no name
      ["CreateFileMappingW", -1, 0, 0x0800_0040, 0, SIZE, 0],
      ["MapViewOfFile", 200, 6, 0, 0, SIZE],
      ["MapViewOfFile", 200, 0x24, 0, 0, SIZE],
      ["CloseHandle", 200],
      ["VirtualQuery", BASE + SIZE, "buffer", 48],
      ["VirtualQuery", BASE + 2 * SIZE, "buffer", 48],
      ["VirtualQuery", BASE, "buffer", 48],
      ["VirtualQuery", BASE + SIZE, "buffer", 48],
      ["UnmapViewOfFile", BASE + SIZE],
      ["UnmapViewOfFile", BASE],
      ["VirtualAlloc", 0, SIZE, 0x3000, 4],
      ["VirtualQuery", BASE, "buffer", 48],
      ["VirtualQuery", BASE + SIZE, "buffer", 48],
      ["VirtualFree", BASE, 0, 0x8000],
      ["VirtualProtect", BASE, SIZE, 0x20, "buffer"],
      ["GetCurrentProcess"],
      ["FlushInstructionCache", -1, BASE + 3, 5],
    ]);
  });

  it("the right to lock pages is switched on by this sequence of native calls", () => {
    const ffi = new RecordingFfi({
      ...answers,
      GetLargePageMinimum: () => SIZE,
      GetLastError: () => 0,
      OpenProcessToken: (_process: unknown, _access: unknown, token: unknown) => {
        assert.ok(token instanceof BigUint64Array);
        token[0] = 300n;
        return 1;
      },
      LookupPrivilegeValueW: () => 1,
      AdjustTokenPrivileges: () => 1,
    });
    memoryOn(ffi).alloc(SIZE, { read: true, write: true, largePages: true });
    assert.deepEqual(ffi.calls, [
      ["GetLargePageMinimum"],
      ["GetCurrentProcess"],
      // TOKEN_ADJUST_PRIVILEGES
      ["OpenProcessToken", -1, 0x20, "buffer"],
      ["LookupPrivilegeValueW", 0, "buffer", "buffer"],
      ["AdjustTokenPrivileges", 300, 0, "buffer", 0, 0, 0],
      ["GetLastError"],
      ["CloseHandle", 300],
      // MEM_RESERVE, MEM_COMMIT and MEM_LARGE_PAGES
      ["VirtualAlloc", 0, SIZE, 0x2000_3000, 4],
    ]);
    assert.deepEqual(signatures(ffi).slice(3, 6), [
      "OpenProcessToken(pointer, u32, buffer) i32",
      "LookupPrivilegeValueW(pointer, buffer, buffer) i32",
      "AdjustTokenPrivileges(pointer, i32, buffer, u32, pointer, pointer) i32",
    ]);
  });

  it("threads are looked at and bytes copied by this sequence of native calls", () => {
    const ffi = new RecordingFfi({
      ...answers,
      GetCurrentThreadId: () => 77,
      OpenThread: () => 400,
      GetThreadTimes: (_thread: unknown, creation: unknown) => {
        assert.ok(creation instanceof BigUint64Array);
        creation[0] = 5n;
        return 1;
      },
      WaitForSingleObject: () => 258, // WAIT_TIMEOUT
      RtlMoveMemory: () => undefined,
    });
    const memory = memoryOn(ffi);
    const { sharing } = memory;
    sharing.prepare();
    const lookedUp = ffi.events.length;
    const self = sharing.currentThread();
    assert.deepEqual(self, { id: 77, mark: 5 });
    assert.equal(sharing.isAlive(self), true);
    memory.copyIn(BASE, Uint8Array.of(1, 2, 3), 2);
    memory.copyOut(BASE, new Uint8Array(3));
    assert.deepEqual(ffi.calls, [
      ["GetCurrentThreadId"],
      // SYNCHRONIZE and THREAD_QUERY_LIMITED_INFORMATION; not inherited
      ["OpenThread", 0x0010_0800, 0, 77],
      ["GetThreadTimes", 400, "buffer", "buffer", "buffer", "buffer"],
      ["CloseHandle", 400],
      ["OpenThread", 0x0010_0800, 0, 77],
      ["WaitForSingleObject", 400, 0],
      ["GetThreadTimes", 400, "buffer", "buffer", "buffer", "buffer"],
      ["CloseHandle", 400],
      ["RtlMoveMemory", BASE, "buffer", 2],
      ["RtlMoveMemory", "buffer", BASE, 3],
    ]);
    assert.equal(ffi.events.length, lookedUp + ffi.calls.length, "nothing is looked up behind prepare");
    const expected = [
      "RtlMoveMemory(pointer, buffer, pointer) void",
      "RtlMoveMemory(buffer, pointer, pointer) void",
      "GetCurrentThreadId() u32",
      "OpenThread(u32, i32, u32) pointer",
      "GetThreadTimes(pointer, buffer, buffer, buffer, buffer) i32",
      "WaitForSingleObject(pointer, u32) u32",
    ];
    assert.deepEqual(
      expected.filter((signature) => !signatures(ffi).includes(signature)),
      [],
    );
  });

  it("without advapi32 large pages are no more than a hint", () => {
    const ffi = new RecordingFfi({ ...answers, GetLargePageMinimum: () => SIZE });
    assert.equal(memoryOn(ffi).alloc(SIZE, { read: true, largePages: true }), BASE);
  });

  it("what failed is asked for at once", () => {
    const ffi = new RecordingFfi({ ...answers, VirtualAlloc: () => 0 });
    assert.throws(
      () => memoryOn(ffi).alloc(SIZE, { read: true }),
      (error: unknown) =>
        error instanceof JitError &&
        error.code === "ERR_OUT_OF_MEMORY" &&
        error.syscall === "VirtualAlloc" &&
        error.errno === 1455,
    );
    assert.deepEqual(ffi.calls.at(-1), ["GetLastError"]);
  });

  it("GetLastError is looked up before anything can fail: to look it up then may change its answer", () => {
    const ffi = new RecordingFfi({ ...answers, VirtualAlloc: () => 0 });
    assert.throws(() => memoryOn(ffi).alloc(SIZE, { read: true }), JitError);
    const failed = ffi.events.findIndex((event) => "call" in event && event.call === "VirtualAlloc");
    assert.deepEqual(
      ffi.events.slice(failed + 1).map((event) => ("call" in event ? event.call : "a look-up")),
      ["GetLastError"],
    );
  });

  it("a function that is not there is a missing feature", () => {
    const memory = memoryOn(new RecordingFfi({}));
    assert.throws(() => memory.info(), /kernel32\.dll has no GetSystemInfo/);
  });
});
