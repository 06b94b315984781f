/** The public functions: what they refuse before the system is asked, and what they do otherwise. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import * as VirtMem from "../../src/api/virt-mem.ts";
import { accessOf, mapLineOf } from "../support/process-state.ts";
import { needs } from "../support/requirements.ts";

/** Calls a function as a program without types would. */
function call(target: (...args: never[]) => unknown, ...args: unknown[]): unknown {
  return Reflect.apply(target, undefined, args);
}

function assertInvalid(target: (...args: never[]) => unknown, ...args: unknown[]): void {
  assert.throws(
    () => call(target, ...args),
    (error: unknown) => {
      assert.ok(error instanceof JitError, String(error));
      assert.equal(error.code, "ERR_INVALID_ARGUMENT");
      assert.match(error.message, /^Cannot /);
      assert.equal(error.syscall, undefined, "the system must not have been asked");
      return true;
    },
    `${target.name}(${args.map(String).join(", ")})`,
  );
}

describe("VirtMem", () => {
  const { pageSize, pageGranularity } = VirtMem.info();
  const badSizes = [
    0,
    -pageSize,
    1,
    pageSize + 1,
    0.5,
    Number.NaN,
    Infinity,
    2 ** 53,
    `${pageSize}`,
    4096n,
    null,
    undefined,
  ];
  const badAddresses = [
    0,
    -pageSize,
    pageSize + 1,
    0.5,
    Number.NaN,
    2 ** 60,
    `${pageSize}`,
    4096n,
    null,
    undefined,
    {},
  ];
  const badFlags = [
    null,
    undefined,
    7,
    "rw",
    { read: 1 },
    { write: "yes" },
    { exec: true },
    { execute: null },
  ];
  const address = pageSize * 1000;

  it("info and largePageSize are powers of two", () => {
    assert.equal(Math.log2(pageSize) % 1, 0);
    assert.ok(pageGranularity >= pageSize);
    const large = VirtMem.largePageSize();
    assert.ok(large === 0 || (large > pageSize && Math.log2(large) % 1 === 0));
  });

  it("alloc and allocDualMapping refuse sizes and flags that can never be right", () => {
    for (const size of badSizes) {
      assertInvalid(VirtMem.alloc, size, { read: true });
      assertInvalid(VirtMem.allocDualMapping, size, {});
    }
    for (const flags of badFlags) {
      assertInvalid(VirtMem.alloc, pageGranularity, flags);
      assertInvalid(VirtMem.allocDualMapping, pageGranularity, flags);
    }
  });

  it("release and protect refuse addresses, sizes and flags that can never be right", () => {
    for (const size of badSizes) {
      assertInvalid(VirtMem.release, address, size);
      assertInvalid(VirtMem.protect, address, size, { read: true });
    }
    for (const bad of badAddresses) {
      assertInvalid(VirtMem.release, bad, pageSize);
      assertInvalid(VirtMem.protect, bad, pageSize, { read: true });
    }
    for (const flags of badFlags) assertInvalid(VirtMem.protect, address, pageSize, flags);
  });

  it("releaseDualMapping refuses what is no dual mapping", () => {
    const rw = address + pageSize;
    for (const mapping of [null, undefined, 5, "x", {}, { rx: address }, { rw }]) {
      assertInvalid(VirtMem.releaseDualMapping, mapping, pageSize);
    }
    for (const bad of badAddresses) {
      assertInvalid(VirtMem.releaseDualMapping, { rx: bad, rw }, pageSize);
      assertInvalid(VirtMem.releaseDualMapping, { rx: address, rw: bad }, pageSize);
    }
    for (const size of badSizes) assertInvalid(VirtMem.releaseDualMapping, { rx: address, rw }, size);
    assertInvalid(VirtMem.releaseDualMapping, { rx: address, rw: address }, pageSize);
    assertInvalid(VirtMem.releaseDualMapping, { rx: address, rw }, 2 * pageSize);
  });

  it("releaseDualMapping reads each address once: a getter cannot give another one after the checks", () => {
    const mapping = VirtMem.allocDualMapping(pageGranularity, {});
    const reads: string[] = [];
    VirtMem.releaseDualMapping(
      {
        get rx() {
          reads.push("rx");
          return mapping.rx;
        },
        get rw() {
          reads.push("rw");
          return mapping.rw;
        },
      },
      pageGranularity,
    );
    assert.deepEqual(reads, ["rx", "rw"]);
  });

  it("flags are read once, whether they are the object's own or not", () => {
    const reads: string[] = [];
    class Flags {
      get read(): boolean {
        reads.push("read");
        return true;
      }
    }
    const flags = new Flags();
    const memory = VirtMem.alloc(pageGranularity, flags);
    VirtMem.protect(memory, pageSize, flags);
    VirtMem.release(memory, pageGranularity);
    VirtMem.releaseDualMapping(VirtMem.allocDualMapping(pageGranularity, flags), pageGranularity);
    assert.deepEqual(reads, ["read", "read", "read"]);
    assertInvalid(VirtMem.alloc, pageGranularity, Object.create({ read: "yes" }));
  });

  it("flushInstructionCache takes any alignment, and refuses what is no range", () => {
    assert.doesNotThrow(() => VirtMem.flushInstructionCache(address + 3, 0));
    for (const size of [-1, 0.5, Number.NaN, "1", 1n, undefined]) {
      assertInvalid(VirtMem.flushInstructionCache, address, size);
    }
    for (const bad of [0, -1, 0.5, Number.NaN, 2 ** 60, "1", 1n, null, undefined]) {
      assertInvalid(VirtMem.flushInstructionCache, bad, 16);
    }
  });

  it("protectJitMemory takes two words alone", () => {
    assert.doesNotThrow(() => VirtMem.protectJitMemory("read-write"));
    assert.doesNotThrow(() => VirtMem.protectJitMemory("read-execute"));
    for (const access of ["rw", "", null, undefined, 3]) assertInvalid(VirtMem.protectJitMemory, access);
  });

  it("the message says how to round up", () => {
    assert.throws(
      () => VirtMem.alloc(pageGranularity + 1, {}),
      new RegExp(`round it up to ${2 * pageGranularity}`),
    );
  });

  it("maps, protects and releases", { skip: needs("linux") }, () => {
    const memory = VirtMem.alloc(pageGranularity, { read: true, write: true });
    assert.equal(accessOf(memory), "rw-p");
    VirtMem.protect(memory, pageGranularity, { read: true, execute: true });
    assert.equal(accessOf(memory), "r-xp");
    VirtMem.flushInstructionCache(memory + 5, 11);
    VirtMem.release(memory, pageGranularity);
    assert.equal(mapLineOf(memory), undefined);
  });

  it("maps twice and releases both", { skip: needs("linux") }, () => {
    const mapping = VirtMem.allocDualMapping(pageGranularity, {});
    assert.equal(accessOf(mapping.rx), "r-xs");
    assert.equal(accessOf(mapping.rw), "rw-s");
    VirtMem.releaseDualMapping(mapping, pageGranularity);
    assert.equal(mapLineOf(mapping.rx), undefined);
    assert.equal(mapLineOf(mapping.rw), undefined);
    assert.equal(VirtMem.hardenedRuntimeInfo().dualMapping, true);
  });

  it("reads and writes any memory, by its address", () => {
    const address = VirtMem.alloc(pageGranularity, { read: true, write: true });
    try {
      assert.deepEqual(VirtMem.read(address, 3), new Uint8Array(3));
      VirtMem.write(address + 1, Uint8Array.of(1, 2, 3, 4).subarray(1, 3));
      VirtMem.write(address + 2, new Uint8Array(0));
      assert.deepEqual(VirtMem.read(address, 4), Uint8Array.of(0, 2, 3, 0));
      assert.deepEqual(VirtMem.read(address, 0), new Uint8Array(0));
      const whole = VirtMem.read(address, pageGranularity);
      assert.equal(whole.length, pageGranularity);
      whole[1] = 9;
      assert.equal(VirtMem.read(address + 1, 1)[0], 2, "what is read is a copy");
    } finally {
      VirtMem.release(address, pageGranularity);
    }
  });

  it("reads strings of C, and no page behind the one where they end", () => {
    const sizeBytes = 2 * pageGranularity;
    const address = VirtMem.alloc(sizeBytes, { read: true, write: true });
    try {
      VirtMem.protect(address + pageGranularity, pageGranularity, {});
      for (const text of ["", "a", "\u00e9\u{1f600}", "x".repeat(62), "y".repeat(63), "z".repeat(3000)]) {
        const bytes = new TextEncoder().encode(`${text}\0`);
        const start = address + pageGranularity - bytes.length;
        VirtMem.write(start, bytes);
        assert.equal(VirtMem.cstring(start), text);
      }
      VirtMem.write(address, Uint8Array.of(0x41, 0xc3, 0, 0x42));
      assert.equal(VirtMem.cstring(address), "A\ufffd");
      VirtMem.write(address, Uint8Array.of(0xef, 0xbb, 0xbf, 0x41, 0));
      assert.equal(VirtMem.cstring(address), "\ufeffA");
    } finally {
      VirtMem.release(address, sizeBytes);
    }
  });

  it("refuses what is no address, no length and no bytes", () => {
    for (const address of badAddresses) {
      // Any alignment is right here.
      if (address === pageSize + 1) continue;
      assertInvalid(VirtMem.read, address, 1);
      assertInvalid(VirtMem.write, address, new Uint8Array(1));
      assertInvalid(VirtMem.cstring, address);
    }
    for (const length of [-1, 0.5, Number.NaN, 2 ** 53, "1", 1n, null, undefined])
      assertInvalid(VirtMem.read, pageSize, length);
    const lost = new Uint8Array(8);
    structuredClone(lost.buffer, { transfer: [lost.buffer] });
    assert.throws(() => VirtMem.write(pageSize, lost), { code: "ERR_INVALID_ARGUMENT" });
    for (const bytes of [[1], "text", null, undefined, new Uint16Array(1), new ArrayBuffer(8)])
      assertInvalid(VirtMem.write, pageSize, bytes);
  });
});
