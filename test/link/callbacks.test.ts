/** toPointer: machine code calls TypeScript. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isStackOverflow } from "../../src/base/stack.ts";
import { JitAllocator, toFunction, toPointer, type NativeCallback, type Span } from "../../src/index.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import * as machineCode from "../support/native-code.ts";
import { needs } from "../support/requirements.ts";

const binary = { parameters: ["i32", "i32"], result: "i32" } as const;
const floats = { parameters: ["f64", "f64"], result: "f64" } as const;

/** More calls than any interface waits for before it calls in another way, and engines before they compile. */
const MANY_CALLS = 20_000;

function add(allocator: JitAllocator, code: Uint8Array): Span {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
}

/** Code that calls a callback with the arguments it was called with. */
function jumpTo(allocator: JitAllocator, { address }: NativeCallback): Span {
  return add(allocator, machineCode.jumpFar(address));
}

describe("a callback", { skip: needs("machineCode") }, () => {
  test("is called with the arguments that machine code has, and gives it the result", () => {
    using allocator = new JitAllocator();
    using callback = toPointer((a, b) => 100 * a + b, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    for (let round = 0; round < MANY_CALLS; round++) assert.equal(call(round, 7), 100 * round + 7);
    const more = toFunction(add(allocator, machineCode.callAndAddOne(callback.address)), binary);
    assert.equal(more(1, 2), 103);
  });

  test("calls machine code again, many levels deep, and each level goes on where it was", () => {
    using allocator = new JitAllocator();
    const depth = 50;
    using callback = toPointer((level, sum): number => {
      if (level === depth) return sum;
      const below = call(level + 1, sum + level);
      return below + 1;
    }, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    const expected = (depth * (depth - 1)) / 2 + depth;
    for (let round = 0; round < 1000; round++) assert.equal(call(0, 0), expected);
  });

  test("allocates, writes and releases while it runs", () => {
    using allocator = new JitAllocator();
    const made: Span[] = [];
    using callback = toPointer((a, b) => {
      const span = add(allocator, machineCode.returnConstant(a * b));
      made.push(span);
      const product = toFunction(span, { parameters: [], result: "i32" })();
      if (made.length > 1) made.shift()?.release();
      return product;
    }, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    for (let round = 0; round < 100; round++) assert.equal(call(round, 3), 3 * round);
    allocator.verify();
  });

  test("makes callbacks while it runs, which are called further out too", () => {
    using allocator = new JitAllocator();
    const unary = { parameters: ["i32"], result: "i32" } as const;
    // The signature is known: koffi makes no callback while one runs, and this library has some of it ready.
    toPointer((x) => x, unary).release();
    const made: NativeCallback[] = [];
    const call = (target: NativeCallback, value: number): number =>
      toFunction(jumpTo(allocator, target), unary)(value);
    using outer = toPointer((value): number => {
      if (value > 0) return call(outer, value - 1) + 1;
      while (made.length < 10) made.push(toPointer((x) => 2 * x, unary));
      return made.reduce((sum, each) => sum + call(each, 1), 0);
    }, unary);
    assert.equal(call(outer, 5), 25);
    assert.equal(made.length, 10);
    for (const each of made) {
      assert.equal(call(each, 21), 42);
      assert.equal(call(outer, 1), 21);
    }
    for (const each of made) each.release();
    for (const each of Array.from({ length: 100 }, () => toPointer((x) => 3 * x, unary))) {
      assert.equal(call(each, 2), 6);
      each.release();
    }
  });

  test("gets more arguments than there are registers, of every kind", () => {
    using allocator = new JitAllocator();
    const types = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64", "pointer"] as const;
    const parameters = [...types, ...types] as const;
    const values = [
      -128,
      255,
      -32768,
      65535,
      -(2 ** 31),
      2 ** 32 - 1,
      -(2n ** 63n),
      2n ** 64n - 1n,
      1.5,
      5e-324,
    ];
    const args = [...values, 2 ** 47 - 1, ...values, 1];
    let seen: readonly unknown[] = [];
    using callback = toPointer(
      (...came) => {
        seen = came;
      },
      { parameters, result: "void" },
    );
    const call = toFunction(jumpTo(allocator, callback), { parameters, result: "void" });
    assert.equal(wrong<(...all: readonly unknown[]) => unknown>(call)(...args), undefined);
    assert.deepEqual(seen, args);
  });

  test("a buffer comes as its address", () => {
    using allocator = new JitAllocator();
    const signature = { parameters: ["buffer"], result: "pointer" } as const;
    using callback = toPointer((address) => wrong<number>(address), signature);
    const address = toFunction(jumpTo(allocator, callback), signature)(new Float64Array(100));
    assert.ok(Number.isSafeInteger(address) && address > 0);
  });
});

describe("what a callback throws", { skip: needs("machineCode") }, () => {
  /** Whether what is thrown is this very value. */
  const isSame = (value: unknown) => (thrown: unknown) => Object.is(thrown, value);

  test("comes out of the call when the machine code, which got 0, has gone on and returned", () => {
    using allocator = new JitAllocator();
    const error = new Error("mine");
    let isThrowing = true;
    let seen: number | undefined;
    using noted = toPointer((value) => (seen = value), { parameters: ["i32"], result: "i32" });
    using callback = toPointer((a, b) => {
      if (isThrowing) throw error;
      return a + b;
    }, binary);
    // Calls the callback, and the second one with what the first gave.
    const both = toFunction(add(allocator, machineCode.callBoth(callback.address, noted.address)), binary);
    for (let round = 0; round < 1000; round++) {
      seen = undefined;
      assert.throws(() => both(1, 2), isSame(error));
      assert.equal(seen, 0);
    }
    isThrowing = false;
    assert.equal(both(1, 2), 3);
  });

  test("passes through all levels, unless one catches it", () => {
    using allocator = new JitAllocator();
    const error = new RangeError("at the bottom");
    let catchesAt = -1;
    let passed = 0;
    using callback = toPointer((level, depth): number => {
      if (level === depth) throw error;
      try {
        return call(level + 1, depth);
      } catch (thrown) {
        passed++;
        if (level !== catchesAt) throw thrown;
        return level;
      }
    }, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    for (let round = 0; round < 100; round++) {
      passed = 0;
      assert.throws(() => call(0, 50), isSame(error));
      assert.equal(passed, 50);
    }
    assert.match(error.stack ?? "", /callbacks\.test/);
    catchesAt = 20;
    assert.equal(call(0, 50), 20);
    assert.equal(call(0, 0 + 30), 20);
  });

  test("is the first of several errors below a call", () => {
    using allocator = new JitAllocator();
    const errors = { first: new Error("first"), second: new Error("second") };
    using first = toPointer(() => {
      throw errors.first;
    }, binary);
    using second = toPointer(() => {
      throw errors.second;
    }, binary);
    const both = toFunction(add(allocator, machineCode.callBoth(first.address, second.address)), binary);
    assert.throws(() => both(1, 2), isSame(errors.first));
    // What a callback calls and catches while an error waits is its own. A failure in it would not be the first error.
    const caught: unknown[] = [];
    const callSecond = toFunction(jumpTo(allocator, second), binary);
    using catching = toPointer((a, b) => {
      try {
        return callSecond(a, b);
      } catch (error) {
        return caught.push(error);
      }
    }, binary);
    const mixed = toFunction(add(allocator, machineCode.callBoth(first.address, catching.address)), binary);
    assert.throws(() => mixed(1, 2), isSame(errors.first));
    assert.deepEqual(caught, [errors.second]);
  });

  test("can be any value", () => {
    using allocator = new JitAllocator();
    let value: unknown;
    using callback = toPointer(() => {
      throw value;
    }, floats);
    const call = toFunction(jumpTo(allocator, callback), floats);
    for (value of [undefined, null, 0, NaN, "text", Symbol("any"), call]) {
      assert.throws(() => call(1, 2), isSame(value));
    }
  });

  test("is an error of its own where the result has not its type", () => {
    using allocator = new JitAllocator();
    let value: unknown;
    const results = {
      i8: 128,
      u32: -1,
      i32: 0.5,
      f64: "1",
      i64: 1,
      u64: -1n,
      pointer: -1,
      f32: undefined,
    } as const;
    for (const [result, bad] of Object.entries(results) as [keyof typeof results, unknown][]) {
      value = bad;
      using callback = toPointer(() => wrong(value), { parameters: [], result });
      const call = toFunction(jumpTo(allocator, callback), { parameters: [], result });
      const error = throwsJitError("ERR_INVALID_ARGUMENT", () => call());
      assert.match(
        error.message,
        new RegExp(`^Cannot return from a callback: the result \\(${result}\\) must be`),
      );
      value = result.endsWith("64") && result !== "f64" ? 1n : 1;
      assert.equal(call(), value);
    }
    value = 5;
    using nothing = toPointer(() => wrong(value), { parameters: [], result: "void" });
    const call: () => unknown = toFunction(jumpTo(allocator, nothing), { parameters: [], result: "void" });
    assert.equal(call(), undefined);
  });

  test("comes out also where calls have become as fast as they get", () => {
    using allocator = new JitAllocator();
    let left = MANY_CALLS;
    using callback = toPointer((a, b) => {
      if (left-- === 0) throw new Error("at last");
      return a + b;
    }, floats);
    const call = toFunction(jumpTo(allocator, callback), floats);
    const loop = (): number => {
      let sum = 0;
      for (;;) sum = call(sum, 1);
    };
    assert.throws(loop, { message: "at last" });
    left = 10 * MANY_CALLS;
    assert.throws(loop, { message: "at last" });
  });

  test("is the engine's own error where the stack is used up", () => {
    using allocator = new JitAllocator();
    using callback = toPointer((a, b): number => call(a, b) + 1, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    for (let round = 0; round < 3; round++) {
      assert.throws(
        () => call(1, 2),
        (error) => isStackOverflow(error),
      );
    }
    using harmless = toPointer((a, b) => a + b, binary);
    assert.equal(toFunction(jumpTo(allocator, harmless), binary)(1, 2), 3);
  });
});

describe("the end of a callback", { skip: needs("machineCode") }, () => {
  test("its code returns 0 from then on, and the next call throws", () => {
    using allocator = new JitAllocator();
    const callback = toPointer((a, b) => a + b, binary);
    const call = toFunction(add(allocator, machineCode.callAndAddOne(callback.address)), binary);
    const other = toFunction(add(allocator, machineCode.ADD), binary);
    assert.equal(call(1, 2), 4);
    assert.equal(callback.isReleased, false);
    callback.release();
    assert.equal(callback.isReleased, true);
    assert.equal(other(1, 2), 3);
    assert.equal(call(1, 2), 1);
    const error = throwsJitError("ERR_RELEASED", () => other(1, 2));
    assert.match(error.message, /the callback at 0x[0-9a-f_]+, which was released/);
    assert.equal(other(1, 2), 3);
  });

  test("comes once by release, and any number of times by using", () => {
    const callback = toPointer(() => 1, { parameters: [], result: "i32" });
    callback.release();
    throwsJitError("ERR_RELEASED", () => callback.release());
    callback[Symbol.dispose]();
    callback[Symbol.dispose]();
    assert.equal(callback.isReleased, true);
  });

  test("a callback may release itself, and still gives its result", () => {
    using allocator = new JitAllocator();
    const callback: NativeCallback = toPointer((a, b) => {
      callback.release();
      return a + b;
    }, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    assert.equal(call(1, 2), 3);
    assert.equal(call(1, 2), 0);
    throwsJitError("ERR_RELEASED", () => call(1, 2));
  });

  test("what a callback called after its release does not reach the next one", () => {
    using allocator = new JitAllocator();
    const callback = toPointer((a, b) => a + b, binary);
    const call = toFunction(jumpTo(allocator, callback), binary);
    callback.release();
    using other = toPointer((a, b) => a * b, binary);
    assert.notEqual(other.address, callback.address);
    assert.equal(call(3, 4), 0);
    throwsJitError("ERR_RELEASED", () => call(3, 4));
  });
});

describe("callbacks in great number", { skip: needs("machineCode") }, () => {
  /** Bytes in memory, once what is no longer reachable is collected as far as a program can make it. */
  const residentBytes = (): number => process.memoryUsage.rss();

  test("a million calls leave memory flat", () => {
    using allocator = new JitAllocator();
    using callback = toPointer((a, b) => a + b, floats);
    const call = toFunction(jumpTo(allocator, callback), floats);
    const loop = (count: number): number => {
      let sum = 0;
      for (let left = count; left > 0; left--) sum = call(sum, 1);
      return sum;
    };
    loop(1_000_000); // the heap grows until the collector knows the program
    const before = residentBytes();
    assert.equal(loop(1_000_000), 1_000_000);
    const grownMiB = (residentBytes() - before) / 2 ** 20;
    assert.ok(grownMiB < 16, `grew by ${grownMiB} MiB`);
  });

  test("making and releasing them leaves memory flat, and no limit is met", () => {
    using allocator = new JitAllocator();
    const cycle = (count: number): void => {
      for (let left = count; left > 0; left--) {
        using callback = toPointer((a, b) => a + b, binary);
        if (left % 100 === 0)
          assert.equal(toFunction(jumpTo(allocator, callback), binary)(left, 1), left + 1);
      }
    };
    cycle(30_000);
    const before = residentBytes();
    cycle(30_000);
    const grownMiB = (residentBytes() - before) / 2 ** 20;
    assert.ok(grownMiB < 16, `grew by ${grownMiB} MiB`);
  });

  test("koffi makes none in a callback but those made ahead", { skip: needs("koffi") }, () => {
    using allocator = new JitAllocator();
    const known = { parameters: ["i8"], result: "i8" } as const;
    const unknown = { parameters: ["i8", "i8"], result: "i8" } as const;
    toPointer((x) => x, known).release();
    const made: NativeCallback[] = [];
    const nothing = { parameters: [], result: "void" } as const;
    using callback = toPointer(() => {
      const error = throwsJitError("ERR_FEATURE_NOT_ENABLED", () => toPointer((x) => x, unknown));
      assert.match(error.message, /^Cannot make a callback while a callback runs: .*; make it before/);
      throwsJitError("ERR_FEATURE_NOT_ENABLED", () => {
        for (;;) made.push(toPointer((x) => x, known));
      });
    }, nothing);
    toFunction(jumpTo(allocator, callback), nothing)();
    assert.ok(made.length >= 16);
    for (const each of made) each.release();
  });

  test(
    "the limit of koffi is an error with a code, and those released make room",
    { skip: needs("koffi") },
    () => {
      const live: NativeCallback[] = [];
      const signature = { parameters: ["u16"], result: "u16" } as const;
      const error = throwsJitError("ERR_TOO_MANY_HANDLES", () => {
        for (;;) live.push(toPointer((value) => value, signature));
      });
      assert.match(error.message, /8192/);
      assert.ok(live.length > 7000, String(live.length));
      live.pop()?.release();
      const last = toPointer(() => 1n, { parameters: [], result: "u64" });
      throwsJitError("ERR_TOO_MANY_HANDLES", () => toPointer(() => 1n, { parameters: [], result: "u64" }));
      last.release();
      for (const callback of live) callback.release();
      using allocator = new JitAllocator();
      using again = toPointer((value) => value, signature);
      assert.equal(toFunction(jumpTo(allocator, again), signature)(77), 77);
    },
  );
});

test("what is no callback, and no signature", () => {
  for (const callback of [null, undefined, 1, {}, "f"])
    throwsJitError("ERR_INVALID_ARGUMENT", () => toPointer(wrong<() => number>(callback), binary));
  for (const signature of [
    null,
    {},
    { parameters: ["void"], result: "i32" },
    { parameters: [], result: "buffer" },
  ])
    throwsJitError("ERR_INVALID_ARGUMENT", () => toPointer(() => wrong(0), wrong<typeof binary>(signature)));
});
