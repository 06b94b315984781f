/** The types that C asks for: sizes, strings, and buffers that may be missing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, nativeSymbol, toFunction, toPointer, type Signature } from "../../../src/index.ts";
import type { TypedFunction } from "../../../src/index.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { needs } from "../../support/requirements.ts";

const identity = machineCode.returnParameter(["pointer"], 0);

/** A function of code in a new span of the allocator. */
function make<const S extends Signature>(
  allocator: JitAllocator,
  code: Uint8Array,
  signature: S,
): TypedFunction<S> {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return toFunction(span, signature);
}

describe("types of C", { skip: needs("machineCode") }, () => {
  test("usize: a number, as far as numbers are exact", () => {
    using allocator = new JitAllocator();
    const same = make(allocator, identity, { parameters: ["usize"], result: "usize" });
    for (const size of [0, 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1]) assert.equal(same(size), size);
    for (const bad of [-1, 0.5, 2 ** 53, NaN, 1n, "1", null, undefined]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => same(wrong(bad)));
    }
    const wide = make(allocator, identity, { parameters: ["u64"], result: "usize" });
    assert.equal(wide(2n ** 63n), 2 ** 63);
    assert.equal(wide(2n ** 64n - 1n), 2 ** 64, "what C returns for an error is a number too, rounded");
  });

  test("cstring: C sees the text in UTF-8, up to the zero", () => {
    using allocator = new JitAllocator();
    const strlen = make(allocator, machineCode.jumpFar(nativeSymbol("strlen")), {
      parameters: ["cstring"],
      result: "usize",
    });
    for (const text of ["", "a", "é", "\u{1f600}", "x".repeat(10_000)])
      assert.equal(strlen(text), new TextEncoder().encode(text).length, text.slice(0, 10));
    for (const bad of ["\0", "a\0b", 1, null, undefined, {}, new Uint8Array(1)]) {
      const error = throwsJitError("ERR_INVALID_ARGUMENT", () => strlen(wrong(bad)));
      assert.match(error.message, /argument 1 \(cstring\) must be a string/);
    }
    const strcmp = make(allocator, machineCode.jumpFar(nativeSymbol("strcmp")), {
      parameters: ["cstring", "cstring"],
      result: "i32",
    });
    assert.equal(strcmp("two", "two"), 0);
    assert.ok(strcmp("a", "b") < 0);
  });

  test("cstring as a result: the text, or null for the address 0", () => {
    using allocator = new JitAllocator();
    const text = make(allocator, identity, { parameters: ["buffer?"], result: "cstring" });
    assert.equal(text(null), null);
    for (const wanted of ["", "abc", "é\u{1f600}", "x".repeat(10_000)])
      assert.equal(text(new TextEncoder().encode(`${wanted}\0 and more`)), wanted);
    assert.equal(text(Uint8Array.of(0x61, 0xff, 0x62, 0)), "a\ufffdb");
  });

  test("buffer?: a buffer, or null", () => {
    using allocator = new JitAllocator();
    const address = make(allocator, identity, { parameters: ["buffer?"], result: "pointer" });
    assert.equal(address(null), 0);
    assert.ok(address(new Uint8Array(100)) > 4096);
    for (const bad of [undefined, 0, 4096, "text", {}, []]) {
      const error = throwsJitError("ERR_INVALID_ARGUMENT", () => address(wrong(bad)));
      assert.match(error.message, /\(buffer\?\) must be a TypedArray, DataView or ArrayBuffer, or null/);
    }
    const swap = make(allocator, machineCode.SWAP_BYTE, { parameters: ["buffer?"], result: "u8" });
    const bytes = Uint8Array.of(7);
    assert.equal(swap(bytes), 7);
    assert.equal(bytes[0], 42);
  });

  test("they stay right when calls have become as fast as they get", () => {
    using allocator = new JitAllocator();
    const strlen = make(allocator, machineCode.jumpFar(nativeSymbol("strlen")), {
      parameters: ["cstring"],
      result: "usize",
    });
    const address = make(allocator, identity, { parameters: ["buffer?", "usize"], result: "usize" });
    for (let round = 0; round < 20_000; round++) {
      assert.equal(strlen("some text"), 9);
      assert.equal(address(null, round), 0);
    }
  });

  test("callbacks get them from machine code", () => {
    using allocator = new JitAllocator();
    const signature = { parameters: ["cstring", "usize", "buffer?"], result: "usize" } as const;
    const seen: unknown[] = [];
    using callback = toPointer((text, size, address) => {
      seen.push(text, size, address);
      return size;
    }, signature);
    const code = machineCode.jumpFar(callback.address);
    const call = make(allocator, code, signature);
    assert.equal(call("é", 2 ** 53 - 1, null), 2 ** 53 - 1);
    assert.deepEqual(seen, ["é", 2 ** 53 - 1, 0]);
    const wide = make(allocator, code, { parameters: ["buffer?", "u64", "buffer?"], result: "void" });
    const error = throwsJitError("ERR_INVALID_ARGUMENT", () => wide(null, 2n ** 64n - 1n, null));
    assert.match(error.message, /the result \(usize\) must be/);
    assert.deepEqual(seen.slice(3), [null, 2 ** 64, 0]);
    throwsJitError("ERR_INVALID_ARGUMENT", () =>
      toPointer(() => wrong(""), { parameters: [], result: wrong<"i32">("cstring") }),
    );
  });
});
