/** nativeSymbol: the addresses of functions and data of shared libraries. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, nativeSymbol, toFunction } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import * as machineCode from "../support/native-code.ts";
import { needs } from "../support/requirements.ts";

/** A library that every process of this system can load. */
const LIBRARY = { linux: "libm.so.6", windows: "ucrtbase.dll", darwin: "libSystem.B.dylib", other: "" }[
  platform.system
];
/** musl is one library: there its own name leads to the functions of mathematics. */
const isMusl = platform.system === "linux" && needs("absoluteSymbols") !== false;
const MATHEMATICS = isMusl ? "libc.so" : LIBRARY;

describe("nativeSymbol", { skip: needs("machineCode") }, () => {
  test("finds a function of the C library, which machine code can call", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(32);
    span.write(0, machineCode.jumpFar(nativeSymbol("abs")));
    assert.equal(toFunction(span, { parameters: ["i32"], result: "i32" })(-42), 42);
  });

  test("finds a function of a library by name, and the same one again", () => {
    using allocator = new JitAllocator();
    const address = nativeSymbol("cos", MATHEMATICS);
    assert.equal(nativeSymbol("cos", MATHEMATICS), address);
    assert.ok(Number.isSafeInteger(address) && address > 0);
    const span = allocator.alloc(32);
    span.write(0, machineCode.jumpFar(address));
    assert.equal(toFunction(span, { parameters: ["f64"], result: "f64" })(0), 1);
  });

  test("says what is missing: the symbol, or the library", () => {
    const name = "jit_allocator_has_no_such_symbol";
    const symbol = throwsJitError("ERR_UNKNOWN_SYMBOL", () => nativeSymbol(name));
    assert.match(symbol.message, new RegExp(`^Cannot find "${name}": neither the program nor`));
    assert.ok(symbol.syscall === "dlsym" || symbol.syscall === "GetProcAddress");
    const inLibrary = throwsJitError("ERR_UNKNOWN_SYMBOL", () => nativeSymbol(name, MATHEMATICS));
    assert.match(inLibrary.message, new RegExp(`the library "${MATHEMATICS}" has no such symbol`));
    const library = throwsJitError("ERR_UNKNOWN_SYMBOL", () => nativeSymbol("cos", "libnothing.so.77"));
    assert.match(library.message, /the library "libnothing\.so\.77" cannot be loaded \(.+\)/);
    assert.ok(library.syscall === "dlopen" || library.syscall === "LoadLibraryW");
    // A failure leaves nothing behind that later look-ups trip over.
    assert.ok(nativeSymbol("abs") > 0);
  });

  test("refuses what is no name", () => {
    for (const name of ["", "a\0b", 1, null, undefined, {}]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => nativeSymbol(wrong(name)));
      if (name !== undefined) throwsJitError("ERR_INVALID_ARGUMENT", () => nativeSymbol("abs", wrong(name)));
    }
  });
});
