/** The contract on this runtime's own interface: machine code really run, for every type of the table. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { JitError } from "../../src/base/errors.ts";
import type { NativeSignature, NativeType } from "../../src/ffi/contract.ts";
import { systemFfi } from "../../src/ffi/select.ts";
import { systemMemory } from "../../src/vm/select.ts";
import { needs } from "../support/requirements.ts";

describe(`machine code through ${systemFfi().name}`, { skip: needs("systemV") }, () => {
  const ffi = systemFfi();
  const memory = systemMemory();
  const size = memory.info().pageGranularity;
  const mapping = memory.allocDualMapping(size, {});
  after(() => memory.releaseDualMapping(mapping, size));

  let used = 0;
  const put = (...code: number[]): number => {
    const view = memory.openView(mapping.rw, size);
    view.set(code, used);
    memory.closeView(view);
    const address = mapping.rx + used;
    used += 64;
    return address;
  };
  const call = (address: number, signature: NativeSignature, ...args: unknown[]): unknown =>
    ffi.callable(address, signature).call(...args);

  const returnFirst = put(0x48, 0x89, 0xf8, 0xc3); // mov rax, rdi; ret
  const returnFirstFloat = put(0xc3); // ret: xmm0 is both
  const add = put(0x8d, 0x04, 0x37, 0xc3); // lea eax, [rdi + rsi]; ret
  const load64 = put(0x48, 0x8b, 0x07, 0xc3); // mov rax, [rdi]; ret
  const increment = put(0xfe, 0x07, 0xc3); // inc byte [rdi]; ret

  const cases: readonly (readonly [NativeType, readonly (number | bigint)[]])[] = [
    ["i8", [-128, -1, 0, 127]],
    ["u8", [0, 255]],
    ["i16", [-32768, -1, 32767]],
    ["u16", [0, 65535]],
    ["i32", [-(2 ** 31), -1, 0, 2 ** 31 - 1]],
    ["u32", [0, 2 ** 32 - 1]],
    ["i64", [-(2n ** 63n), -(2n ** 53n), -1n, 0n, 1n, 2n ** 53n, 2n ** 63n - 1n]],
    ["u64", [0n, 1n, 2n ** 53n, 2n ** 64n - 1n]],
    ["pointer", [0, 4096, 2 ** 47 - 1, 2 ** 53 - 1]],
  ];
  for (const [type, values] of cases) {
    it(`${type} goes in and comes back`, () => {
      for (const value of values) {
        assert.equal(call(returnFirst, { parameters: [type], result: type }, value), value);
      }
    });
  }

  it("f32 and f64 go in and come back", () => {
    for (const value of [0, -1.5, 2 ** 40, Number.POSITIVE_INFINITY]) {
      assert.equal(call(returnFirstFloat, { parameters: ["f32"], result: "f32" }, value), value);
      assert.equal(call(returnFirstFloat, { parameters: ["f64"], result: "f64" }, value), value);
    }
    assert.equal(call(returnFirstFloat, { parameters: ["f32"], result: "f32" }, 0.1), Math.fround(0.1));
    assert.equal(call(returnFirstFloat, { parameters: ["f64"], result: "f64" }, 0.1), 0.1);
    assert.ok(Number.isNaN(call(returnFirstFloat, { parameters: ["f64"], result: "f64" }, Number.NaN)));
  });

  it("void comes back as undefined", () => {
    assert.equal(call(returnFirst, { parameters: [], result: "void" }), undefined);
  });

  it("a pointer result is a number, however wrong", () => {
    const result = call(returnFirst, { parameters: ["i64"], result: "pointer" }, 2n ** 62n);
    assert.equal(result, 2 ** 62);
  });

  it("i64 and pointer results are converted for every number of parameters", () => {
    for (let count = 1; count <= 8; count++) {
      const parameters = Array.from({ length: count }, (): NativeType => "i64");
      const args = Array.from({ length: count }, (_, index) => BigInt(index + 1));
      assert.equal(call(returnFirst, { parameters, result: "i64" }, ...args), 1n);
      assert.equal(call(returnFirst, { parameters, result: "pointer" }, ...args), 1);
    }
    const seven = put(0xb8, 7, 0, 0, 0, 0xc3); // mov eax, 7; ret
    assert.equal(call(seven, { parameters: [], result: "u64" }), 7n);
    assert.equal(call(seven, { parameters: [], result: "pointer" }), 7);
  });

  it("takes two parameters", () => {
    assert.equal(call(add, { parameters: ["i32", "i32"], result: "i32" }, 2, 3), 5);
  });

  describe("buffer", () => {
    const load = { parameters: ["buffer"], result: "u64" } as const;
    const bytes = new Uint8Array([9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
    const expected = 0x0807060504030201n;

    it("is the address of every kind of view, its offset included", () => {
      const { buffer } = bytes;
      const views = [
        new Uint8Array(buffer, 8),
        new Int8Array(buffer, 8),
        new Uint8ClampedArray(buffer, 8),
        new Uint16Array(buffer, 8),
        new Int16Array(buffer, 8),
        new Uint32Array(buffer, 8),
        new Int32Array(buffer, 8),
        new Float32Array(buffer, 8),
        new Float64Array(buffer, 8),
        new BigInt64Array(buffer, 8),
        new BigUint64Array(buffer, 8),
        new DataView(buffer, 8),
        Buffer.from(buffer, 8),
      ];
      for (const view of views) assert.equal(call(load64, load, view), expected, view.constructor.name);
    });

    it("is the address of an ArrayBuffer", () => {
      assert.equal(call(load64, load, bytes.slice(8).buffer), expected);
    });

    it("is the address of a view of shared memory", () => {
      const shared = new SharedArrayBuffer(16);
      new Uint8Array(shared).set(bytes);
      assert.equal(call(load64, load, new Uint8Array(shared, 8)), expected);
      assert.equal(call(load64, load, new DataView(shared, 8)), expected);
    });

    it("is the memory itself: what the code writes is there, also in arrays that V8 keeps on its heap", () => {
      const one = new Uint8Array([41]);
      call(increment, { parameters: ["buffer"], result: "void" }, one);
      assert.deepEqual([...one], [42]);
      const shared = new Uint8Array(new SharedArrayBuffer(8), 4);
      call(increment, { parameters: ["buffer"], result: "void" }, shared);
      assert.equal(shared[0], 1);
    });
  });

  it("view aliases memory, and detach cuts it off where the runtime can", () => {
    const view = ffi.view(mapping.rw, size);
    new Uint8Array(view)[size - 1] = 77;
    assert.equal(new Uint8Array(ffi.view(mapping.rx, size))[size - 1], 77);
    ffi.detach(view);
    const canDetach = "transfer" in ArrayBuffer.prototype;
    assert.equal(view.byteLength, canDetach ? 0 : size);
    assert.doesNotThrow(() => ffi.detach(view));
  });

  it("close of a callable can be called, and twice", () => {
    const callable = ffi.callable(add, { parameters: ["i32", "i32"], result: "i32" });
    callable.close();
    assert.doesNotThrow(() => callable.close());
  });
});

describe("libraries through this runtime's interface", { skip: needs("linux") }, () => {
  const ffi = systemFfi();
  const libc = ffi.open(["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"]);

  it("open takes the first that the system finds", () => {
    assert.equal(ffi.open(["no-such-library.so", libc.name]).name, libc.name);
  });

  it("open lists all names when there is none", () => {
    assert.throws(
      () => ffi.open(["no-such-library.so", "nor-this.so"]),
      (error: unknown) =>
        error instanceof JitError &&
        error.code === "ERR_FEATURE_NOT_ENABLED" &&
        /no-such-library\.so.*nor-this\.so/.test(error.message),
    );
  });

  it("find returns undefined for a function that is not there", () => {
    assert.equal(libc.find("no_such_function", { parameters: [], result: "void" }), undefined);
  });

  it("calls variadic functions, and errno tells why one failed", () => {
    const open = libc.find("open", {
      parameters: ["buffer", "i32", "u32"],
      result: "i32",
      fixedParameters: 2,
    });
    assert.equal(open?.(new TextEncoder().encode("/no/such/file\0"), 0, 0), -1);
    assert.equal(ffi.errno(), 2);
  });

  it("the same function can be found twice, with different signatures", () => {
    const asNumber = libc.find("getpagesize", { parameters: [], result: "i32" });
    const asBigint = libc.find("getpagesize", { parameters: [], result: "i64" });
    assert.equal(BigInt(asNumber?.() as number), asBigint?.());
  });
});
