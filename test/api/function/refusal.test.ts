/** toFunction: what it refuses, so that no call reaches code with what the code does not expect. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  JitAllocator,
  JitError,
  signature,
  toFunction,
  type Signature,
  type Span,
} from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("machineCode");

/** Writes code into a span of its own. */
function add(allocator: JitAllocator, code: Uint8Array): Span {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
}

/** Asserts that a call with wrong arguments is a JitError or a TypeError, and never reaches the code. */
function refusesCall(call: () => unknown, what: string): void {
  assert.throws(
    call,
    (error) =>
      (error instanceof JitError && error.code === "ERR_INVALID_ARGUMENT") || error instanceof TypeError,
    what,
  );
}

describe("a call after the code is gone: ERR_RELEASED", { skip }, () => {
  const ways: Readonly<Record<string, (span: Span, allocator: JitAllocator) => void>> = {
    "span.release()": (span) => span.release(),
    "release(span)": (span, allocator) => allocator.release(span),
    "release(address)": (span, allocator) => allocator.release(span.rx),
    "shrink to 0": (span) => span.shrink(0),
    "dispose of the span": (span) => span[Symbol.dispose](),
    "release through another span of it": (span, allocator) => allocator.query(span.rx + 1).release(),
    "reset soft": (_span, allocator) => allocator.reset("soft"),
    "reset hard": (_span, allocator) => allocator.reset("hard"),
    dispose: (_span, allocator) => allocator[Symbol.dispose](),
  };

  /** Never, once, and so often that every runtime has its fastest way to call, and has compiled it. */
  const callCounts = [0, 1, 20_000];

  for (const [name, end] of Object.entries(ways)) {
    for (const immediateRelease of [false, true]) {
      test(`${name}${immediateRelease ? ", immediateRelease" : ""}`, () => {
        for (const callCount of callCounts) {
          using allocator = new JitAllocator({ immediateRelease });
          const spans = [machineCode.ADD, machineCode.ADD].map((code) => add(allocator, code));
          const [span, made] = spans;
          assert.ok(span && made);
          const call = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
          for (let count = 0; count < callCount; count++) assert.equal(call(count, 2), count + 2);
          end(span, allocator);
          throwsJitError("ERR_RELEASED", () => call(1, 2));
          throwsJitError("ERR_RELEASED", () => toFunction(span, { parameters: [], result: "void" }));
        }
      });
    }
  }

  test("even if the same address was handed out again, to a function that lives", () => {
    using allocator = new JitAllocator();
    const old = add(allocator, machineCode.returnConstant(1));
    const oldCall = toFunction(old, { parameters: [], result: "i32" });
    const { rx } = old;
    old.release();
    let fresh = add(allocator, machineCode.returnConstant(2));
    for (let tries = 0; fresh.rx !== rx && tries < 2000; tries++)
      fresh = add(allocator, machineCode.returnConstant(2));
    assert.equal(fresh.rx, rx);
    throwsJitError("ERR_RELEASED", () => oldCall());
    assert.equal(toFunction(fresh, { parameters: [], result: "i32" })(), 2);
    for (const policy of ["soft", "hard"] as const) {
      const before = add(allocator, machineCode.returnConstant(3));
      const beforeCall = toFunction(before, { parameters: [], result: "i32" });
      allocator.reset(policy);
      for (let count = 0; count < 100; count++) add(allocator, machineCode.returnConstant(4));
      throwsJitError("ERR_RELEASED", () => beforeCall());
    }
  });

  test("a shrunk span is still callable", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(1000);
    span.write(0, machineCode.ADD);
    const call = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
    span.shrink(machineCode.ADD.length);
    assert.equal(call(20, 22), 42);
  });
});

describe("arguments that are not right: a JitError or a TypeError, never a crash", { skip }, () => {
  const WRONG: Readonly<Record<string, readonly unknown[]>> = {
    i8: [128, -129, 0.5, NaN, Infinity, 1n, "1", null, undefined, true, {}, [], Symbol("s")],
    u8: [-1, 256, 0.5, NaN, 1n, "1", null, undefined],
    i16: [32768, -32769, 0.5, NaN, 1n, "1", null, undefined],
    u16: [-1, 65536, 0.5, NaN, 1n, "1", null, undefined],
    i32: [2 ** 31, -(2 ** 31) - 1, 0.5, NaN, Infinity, 1n, "1", null, undefined, true, {}, [1]],
    u32: [-1, 2 ** 32, 0.5, NaN, 1n, "1", null, undefined],
    i64: [1, 0.5, NaN, 2n ** 63n, -(2n ** 63n) - 1n, "1", null, undefined, true],
    u64: [1, -1n, 2n ** 64n, "1", null, undefined, true],
    f32: [1n, "1", null, undefined, true, {}],
    f64: [1n, "1", null, undefined, true, {}, Symbol("s")],
    pointer: [-1, 0.5, NaN, 2 ** 53, Infinity, 1n, "1", null, undefined, {}, new Uint8Array(1)],
    buffer: [0, 4096, 1n, "text", null, undefined, {}, [1, 2], { byteLength: 8 }, () => 1, Symbol("s")],
  };

  for (const [type, values] of Object.entries(WRONG)) {
    test(`${type}: ${values.length} values that it is not`, () => {
      using allocator = new JitAllocator();
      const span = add(allocator, machineCode.RETURN);
      const call = toFunction(span, wrong<Signature>({ parameters: [type], result: "void" }));
      for (const value of values) refusesCall(() => call(wrong(value)), `${type}: ${String(value)}`);
      // The same in the last place of many, where arguments are passed in another way.
      const parameters = ["i32", "i32", "i32", "i32", "i32", type];
      const long = toFunction(span, wrong<Signature>({ parameters, result: "void" }));
      for (const value of values) {
        refusesCall(
          () => long(...wrong<[]>([0, 0, 0, 0, 0, value])),
          `last of six, ${type}: ${String(value)}`,
        );
      }
    });
  }

  test("too few arguments, and too many", () => {
    using allocator = new JitAllocator();
    const span = add(allocator, machineCode.RETURN);
    for (let count = 0; count <= 9; count++) {
      const parameters = Array.from({ length: count }, () => "i32" as const);
      const call = wrong<(...args: number[]) => unknown>(toFunction(span, { parameters, result: "void" }));
      assert.equal(call(...parameters.map(() => 1)), undefined);
      if (count > 0)
        refusesCall(() => call(...parameters.slice(1).map(() => 1)), `${count} wanted, one less given`);
      refusesCall(() => call(...parameters.map(() => 1), 1), `${count} wanted, one more given`);
      refusesCall(() => call(...parameters.map(() => 1), 1, 2, 3), `${count} wanted, three more given`);
    }
  });

  test("a detached ArrayBuffer, and a view of one", () => {
    using allocator = new JitAllocator();
    const call = toFunction(add(allocator, machineCode.RETURN), { parameters: ["buffer"], result: "void" });
    const buffer = new ArrayBuffer(8);
    const view = new Uint8Array(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    refusesCall(() => call(buffer), "the buffer");
    refusesCall(() => call(view), "the view");
  });

  test("an argument that releases the code while it is looked at never lets it run", () => {
    for (const property of ["byteLength", "byteOffset", "buffer", "length", "constructor"]) {
      using allocator = new JitAllocator();
      const span = add(allocator, machineCode.SWAP_BYTE);
      const call = toFunction(span, { parameters: ["buffer"], result: "u8" });
      const bytes = Uint8Array.of(7);
      Object.defineProperty(bytes, property, {
        get: () => {
          if (!span.isReleased) span.release();
          return property === "buffer" ? new ArrayBuffer(1) : 1;
        },
      });
      try {
        call(bytes);
      } catch (error) {
        assert.ok(error instanceof JitError || error instanceof TypeError, String(error));
      }
      if (span.isReleased) assert.equal(bytes[0], 7, `${property}: the code ran after its release`);
    }
  });
});

describe("signatures that are not right: ERR_INVALID_ARGUMENT", { skip }, () => {
  test("no signature, no list, no type", () => {
    using allocator = new JitAllocator();
    const span = add(allocator, machineCode.RETURN);
    for (const signature of [
      null,
      undefined,
      1,
      "void()",
      {},
      [],
      { parameters: [] },
      { result: "void" },
      { parameters: null, result: "void" },
      { parameters: "i32", result: "void" },
      { parameters: ["int"], result: "void" },
      { parameters: ["void"], result: "void" },
      { parameters: [undefined], result: "void" },
      { parameters: [["i32"]], result: "void" },
      { parameters: new Array(2), result: "void" },
      { parameters: ["toString"], result: "void" },
      { parameters: ["__proto__"], result: "void" },
      { parameters: [], result: "buffer" },
      { parameters: [], result: "int" },
      { parameters: [], result: null },
      { parameters: [], result: undefined },
    ]) {
      throwsJitError(
        "ERR_INVALID_ARGUMENT",
        () => toFunction(span, wrong<Signature>(signature)),
        JSON.stringify(signature),
      );
    }
  });

  test("no span: ERR_INVALID_ARGUMENT", () => {
    for (const code of [
      null,
      undefined,
      4096,
      "code",
      {},
      new Uint8Array(4),
      { rx: 4096, isReleased: false },
    ]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () =>
        toFunction(wrong(code), { parameters: [], result: "void" }),
      );
    }
  });

  test("signature() gives back what it was given, and refuses what toFunction refuses", () => {
    const types = { parameters: ["i32", "buffer"], result: "u8" } as const;
    assert.equal(signature(types), types);
    for (const [parameters, result] of [
      [["i33"], "void"],
      [[], "buffer"],
      [["void"], "void"],
      [{ length: 1, 0: "i32" }, "void"],
      [new Array(33).fill("i32"), "void"],
    ])
      throwsJitError("ERR_INVALID_ARGUMENT", () => signature(wrong({ parameters, result })));
    throwsJitError("ERR_INVALID_ARGUMENT", () => signature(wrong(null)));
  });

  test("a signature changed afterwards changes nothing", () => {
    using allocator = new JitAllocator();
    const parameters: ("i32" | "f64")[] = ["i32", "i32"];
    const call = toFunction(add(allocator, machineCode.ADD), { parameters, result: "i32" });
    parameters.pop();
    parameters[0] = "f64";
    assert.equal(wrong<(a: number, b: number) => number>(call)(40, 2), 42);
  });
});

test("code in simulated memory is not executable, and is never called", () => {
  using allocator = new JitAllocator({}, new SimulatedMemory());
  throwsJitError("ERR_FEATURE_NOT_ENABLED", () =>
    toFunction(allocator.alloc(64), { parameters: [], result: "void" }),
  );
});
