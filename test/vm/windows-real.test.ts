/** Real mappings on Windows, and what the system says about them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { JitError } from "../../src/base/errors.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import * as VirtMem from "../../src/api/virt-mem.ts";
import { Page, RegionInfo, bindKernel32 } from "../../src/vm/windows/kernel32.ts";
import { LastError } from "../../src/vm/windows/last-error.ts";
import { needs } from "../support/requirements.ts";

describe("Windows memory, really", { skip: needs("windows") }, () => {
  const kernel32 = bindKernel32(systemFfi());
  const { pageSize, pageGranularity } = VirtMem.info();
  const size = 4 * pageGranularity;

  /** The protection of the pages at an address, 0 where nothing is mapped. */
  const protectionAt = (address: number): number => {
    const region = new DataView(new ArrayBuffer(RegionInfo.SIZE));
    assert.equal(kernel32.VirtualQuery(address, region, RegionInfo.SIZE), RegionInfo.SIZE);
    // MEMORY_BASIC_INFORMATION: State at 32 (MEM_COMMIT = 0x1000), Protect at 36.
    return region.getUint32(32, true) === 0x1000 ? region.getUint32(36, true) : 0;
  };
  const failureOf = (work: () => unknown): readonly unknown[] => {
    try {
      work();
    } catch (error) {
      assert.ok(error instanceof JitError, String(error));
      return [error.code, error.syscall, error.errno];
    }
    return assert.fail("it did not throw");
  };

  it("pages and granularity", () => {
    assert.equal(pageSize, 4096);
    assert.equal(pageGranularity, 65536);
  });

  it("maps, protects and releases", () => {
    const address = VirtMem.alloc(size, { read: true, write: true });
    assert.equal(protectionAt(address), Page.READWRITE);
    VirtMem.protect(address + pageSize, pageSize, { read: true, execute: true });
    assert.equal(protectionAt(address), Page.READWRITE);
    assert.equal(protectionAt(address + pageSize), Page.EXECUTE_READ);
    VirtMem.flushInstructionCache(address + pageSize + 3, 11);
    assert.deepEqual(
      failureOf(() => VirtMem.release(address, pageSize)),
      ["ERR_INVALID_ARGUMENT", undefined, undefined],
    );
    assert.equal(protectionAt(address), Page.READWRITE, "a part is refused, and stays");
    VirtMem.release(address, size);
    assert.equal(protectionAt(address), 0);
  });

  it("maps twice: one view to execute, one to write, none ever both", () => {
    const mapping = VirtMem.allocDualMapping(size, {});
    const { rx, rw } = mapping;
    assert.equal(protectionAt(rx), Page.EXECUTE_READ);
    assert.equal(protectionAt(rw), Page.READWRITE);
    for (const [address, flags] of [
      [rx, { read: true, write: true }],
      [rx, { read: true, write: true, execute: true }],
      [rw, { read: true, execute: true }],
    ] as const) {
      assert.deepEqual(
        failureOf(() => VirtMem.protect(address, size, flags)),
        ["ERR_INVALID_ARGUMENT", "VirtualProtect", LastError.ERROR_INVALID_PARAMETER],
      );
    }
    VirtMem.releaseDualMapping(mapping, size);
    assert.equal(protectionAt(rx), 0);
    assert.equal(protectionAt(rw), 0);
    assert.deepEqual(
      failureOf(() => VirtMem.releaseDualMapping(mapping, size)),
      ["ERR_INVALID_ARGUMENT", undefined, undefined],
    );
  });

  it("what does not fit is refused with the code of GetLastError", () => {
    // Fewer bytes than there are addresses, and more than any machine has of memory.
    const tooLarge = 2 ** 46;
    const [allocCode, allocCall, allocError] = failureOf(() =>
      VirtMem.alloc(tooLarge, { read: true, write: true }),
    );
    assert.deepEqual([allocCode, allocCall], ["ERR_OUT_OF_MEMORY", "VirtualAlloc"]);
    const noRoom: readonly unknown[] = [LastError.ERROR_NOT_ENOUGH_MEMORY, LastError.ERROR_COMMITMENT_LIMIT];
    assert.ok(noRoom.includes(allocError), String(allocError));
  });

  it("large pages are a hint, with and without dual mapping", () => {
    for (const useDualMapping of [true, false]) {
      const allocator = new JitAllocator({
        useDualMapping,
        useLargePages: true,
        blockSize: VirtMem.largePageSize() || pageGranularity,
      });
      const span = allocator.alloc(100);
      span.write(0, Uint8Array.of(1, 2, 3));
      assert.deepEqual([...span.read(0, 3)], [1, 2, 3]);
      allocator.dispose();
    }
  });

  it("what is possible here", () => {
    assert.deepEqual(VirtMem.hardenedRuntimeInfo(), { enabled: false, mapJit: false, dualMapping: true });
    VirtMem.protectJitMemory("read-write");
  });

  it("a thousand blocks come and go, and no handle stays", () => {
    const handlesBefore = processHandles();
    const allocator = new JitAllocator({ immediateRelease: true });
    for (let round = 0; round < 1000; round++) allocator.alloc(40_000).release();
    allocator.dispose();
    const opened = processHandles() - handlesBefore;
    assert.ok(opened < 100, `${opened} handles more`);
  });

  function processHandles(): number {
    const count = new Uint32Array(1);
    const getProcessHandleCount = systemFfi()
      .open(["kernel32.dll"])
      .find("GetProcessHandleCount", { parameters: ["pointer", "buffer"], result: "i32" });
    assert.notEqual(getProcessHandleCount?.(kernel32.GetCurrentProcess(), count), 0);
    return count[0] ?? 0;
  }
});
