/** toFunction: machine code that really runs. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, type ParameterType, type Span } from "../../../src/index.ts";
import { wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("machineCode");

/** The values of each type that are most likely to be carried wrongly. */
const VALUES: Readonly<
  Record<Exclude<ParameterType, "buffer" | "buffer?" | "cstring">, readonly (number | bigint)[]>
> = {
  i8: [0, 1, -1, 127, -128],
  u8: [0, 1, 127, 128, 255],
  i16: [0, 1, -1, 32767, -32768],
  u16: [0, 1, 32768, 65535],
  i32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)],
  u32: [0, 1, 2 ** 31, 2 ** 32 - 1],
  i64: [0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)],
  u64: [0n, 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n],
  f32: [0, -0, 1.5, -0.25, Math.fround(0.1), Infinity, -Infinity, NaN, 2 ** -149, Math.fround(3.4e38)],
  f64: [0, -0, 0.1, -2.5, Infinity, -Infinity, NaN, Number.MIN_VALUE, Number.MAX_VALUE, Number.EPSILON],
  pointer: [0, 1, 2 ** 31, 2 ** 32, 2 ** 47 - 1, Number.MAX_SAFE_INTEGER],
  usize: [0, 1, 2 ** 31, 2 ** 32, 2 ** 47 - 1, Number.MAX_SAFE_INTEGER],
};
const SCALARS = Object.keys(VALUES) as (keyof typeof VALUES)[];

/** Makes an allocator on real memory for the body, with or without dual mapping. */
function onRealMemory(body: (add: (code: Uint8Array) => Span, allocator: JitAllocator) => void): void {
  for (const useDualMapping of [true, false]) {
    using allocator = new JitAllocator({ useDualMapping });
    body((code) => {
      const span = allocator.alloc(code.length);
      span.write(0, code);
      return span;
    }, allocator);
  }
}

describe("toFunction", { skip }, () => {
  test("adds two integers", () => {
    onRealMemory((add) => {
      const sum = toFunction(add(machineCode.ADD), { parameters: ["i32", "i32"], result: "i32" });
      assert.equal(sum(2, 3), 5);
      assert.equal(sum(2 ** 31 - 1, 1), -(2 ** 31), "the code wraps as the processor does");
      assert.equal(sum.length, 2);
    });
  });

  for (const type of SCALARS) {
    test(`${type}: every value goes in and comes back as it is`, () => {
      onRealMemory((add) => {
        const identity = toFunction(add(machineCode.returnParameter([type], 0)), {
          parameters: [type],
          result: type,
        });
        for (const value of VALUES[type]) assert.ok(Object.is(identity(wrong(value)), value), String(value));
      });
    });
  }

  test("void: nothing goes in, undefined comes back", () => {
    onRealMemory((add) => {
      const nothing = toFunction(add(machineCode.RETURN), { parameters: [], result: "void" });
      const call: () => unknown = nothing;
      assert.equal(call(), undefined);
      assert.equal(nothing.length, 0);
    });
  });

  test("no parameters, a result of each integer type from the same bits", () => {
    onRealMemory((add) => {
      const code = add(machineCode.returnConstant(-2));
      const results = {
        i8: -2,
        u8: 254,
        i16: -2,
        u16: 65534,
        i32: -2,
        u32: 2 ** 32 - 2,
        i64: 2n ** 32n - 2n,
      };
      for (const [result, expected] of Object.entries(results)) {
        assert.equal(
          toFunction(code, { parameters: [], result: result as keyof typeof results })(),
          expected,
          result,
        );
      }
    });
  });

  for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16]) {
    test(`${count} mixed parameters: each one arrives, in a register or on the stack`, () => {
      const seed = 1000 + count;
      const random = new Random(seed);
      using allocator = new JitAllocator();
      // Four mixtures for each number, the first of one class only where registers run out at once.
      const mixtures: (readonly (keyof typeof VALUES)[])[] = [
        Array.from({ length: count }, () => "i64"),
        Array.from({ length: count }, () => "f64"),
        Array.from({ length: count }, () => random.pick(SCALARS)),
        Array.from({ length: count }, () => random.pick(SCALARS)),
      ];
      for (const parameters of mixtures) {
        const values = parameters.map((type) => random.pick(VALUES[type]));
        for (const [index, type] of parameters.entries()) {
          const code = machineCode.returnParameter(parameters, index);
          using span = allocator.alloc(code.length);
          span.write(0, code);
          const call = toFunction(span, { parameters, result: type });
          const result: unknown = call(...wrong<never[]>(values));
          assert.ok(
            Object.is(result, values[index]),
            `parameter ${index} of (${parameters.join(", ")}) called with (${values.join(", ")}) came back as ` +
              `${String(result)} (seed ${seed})`,
          );
        }
      }
    });
  }

  test("code calls another span", () => {
    onRealMemory((add) => {
      const inner = add(machineCode.returnConstant(41));
      const middle = add(machineCode.callAndAddOne(inner.rx));
      const outer = add(machineCode.callAndAddOne(middle.rx));
      assert.equal(toFunction(middle, { parameters: [], result: "i32" })(), 42);
      assert.equal(toFunction(outer, { parameters: [], result: "i32" })(), 43);
    });
  });

  test("code that is written anew is the new code at once", () => {
    onRealMemory((add, allocator) => {
      const span = add(machineCode.returnConstant(0));
      const call = toFunction(span, { parameters: [], result: "i32" });
      for (let value = 0; value < 1000; value++) {
        if (value % 2 === 0) span.write(0, machineCode.returnConstant(value));
        else allocator.write(span, (code) => code.set(machineCode.returnConstant(value)));
        assert.equal(call(), value);
      }
    });
  });

  test("many functions of many signatures live side by side", () => {
    onRealMemory((add) => {
      const calls = Array.from({ length: 500 }, (_, value) =>
        toFunction(add(machineCode.returnConstant(value)), { parameters: [], result: "i32" }),
      );
      for (const [value, call] of calls.entries()) assert.equal(call(), value);
    });
  });
});

describe("buffer", { skip }, () => {
  test("code reads a Float64Array, its part, and an empty one", () => {
    onRealMemory((add) => {
      const sum = toFunction(add(machineCode.SUM_FLOATS), { parameters: ["buffer", "u64"], result: "f64" });
      const values = Float64Array.from({ length: 1000 }, (_, index) => index / 4);
      assert.equal(sum(values, 1000n), 124_875);
      assert.equal(sum(values.subarray(10, 13), 3n), (10 + 11 + 12) / 4);
      assert.equal(sum(new Float64Array(0), 0n), 0);
    });
  });

  test("every kind of view, and the ArrayBuffer itself: what code writes is there afterwards", () => {
    onRealMemory((add) => {
      const swap = toFunction(add(machineCode.SWAP_BYTE), { parameters: ["buffer"], result: "u8" });
      const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
      assert.equal(swap(bytes), 1);
      assert.equal(bytes[0], 42);
      assert.equal(swap(bytes.subarray(3)), 4);
      assert.equal(swap(new DataView(bytes.buffer, 5, 2)), 6);
      assert.equal(swap(bytes.buffer), 42);
      assert.deepEqual(Array.from(bytes), [42, 2, 3, 42, 5, 42, 7, 8]);
      assert.equal(swap(Buffer.from([9, 9])), 9);
      assert.equal(swap(new Int32Array([258])), 2);
      assert.equal(swap(new BigUint64Array([7n])), 7);
    });
  });

  test("buffers among other parameters, in registers and on the stack", () => {
    const parameters = ["buffer", "f64", "i32", "buffer", "f32", "u8", "pointer", "i64", "buffer"] as const;
    const values = [
      new Uint8Array(8),
      1.5,
      -3,
      new Float32Array(2),
      0.5,
      200,
      4096,
      -9n,
      new DataView(new ArrayBuffer(4)),
    ] as const;
    onRealMemory((add) => {
      for (const [index, type] of parameters.entries()) {
        const result = machineCode.resultOf(type);
        const call = toFunction(add(machineCode.returnParameter(parameters, index)), { parameters, result });
        const came = call(...values);
        if (type === "buffer")
          assert.ok(typeof came === "number" && came > 4096, `parameter ${index} is an address`);
        else assert.equal(came, values[index]);
      }
    });
  });
});
