/** What the callables of one signature share: a native function, a stub and its cell. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Caller } from "../../../src/api/caller.ts";
import { JitError } from "../../../src/base/errors.ts";
import { platform } from "../../../src/base/platform.ts";
import { cellValue, Stubs, type StubMemory } from "../../../src/engine/stubs.ts";
import { spanAccess } from "../../../src/engine/span.ts";
import type { NativeFunction } from "../../../src/ffi/contract.ts";
import { systemFfi } from "../../../src/ffi/select.ts";
import { systemMemory } from "../../../src/vm/select.ts";
import { JitAllocator, toFunction, type ParameterType, type Span } from "../../../src/index.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import * as machineCode from "../../support/native-code.ts";
import { INTEGER_EXTREMES } from "../../support/extremes.ts";
import { accessOf } from "../../support/process-state.ts";
import { Random } from "../../support/random.ts";
import { needs } from "../../support/requirements.ts";

const skip = needs("machineCode");

function add(allocator: JitAllocator, code: Uint8Array): Span {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
}

/** Calls the stub's native function with `rx` in the cell. */
function callThrough(stubs: Stubs, rx: number): unknown {
  const stub = stubs.take();
  assert.ok(stub);
  const { call } = systemFfi().callable(stub.address, { parameters: [], result: "i32" });
  stub.cell[0] = cellValue(rx);
  return call();
}

describe("callables of one signature", { skip }, () => {
  test("each runs its own code, in whatever order they are called", () => {
    using allocator = new JitAllocator();
    const random = new Random(1);
    const calls = Array.from({ length: 300 }, (_, value) =>
      toFunction(add(allocator, machineCode.returnConstant(value)), { parameters: [], result: "i32" }),
    );
    for (let round = 0; round < 20_000; round++) {
      const index = random.below(calls.length);
      assert.equal(calls[index]?.(), index);
    }
  });

  test("a call that is refused leaves the next one to whom it belongs", () => {
    using allocator = new JitAllocator();
    const [first, second] = [0, 1].map((index) =>
      toFunction(add(allocator, machineCode.returnParameter(["i32", "i32"], index)), {
        parameters: ["i32", "i32"],
        result: "i32",
      }),
    );
    assert.ok(first && second);
    for (let round = 0; round < 100; round++) {
      assert.equal(first(1, 2), 1);
      throwsJitError("ERR_INVALID_ARGUMENT", () => second(1, wrong("2")));
      assert.equal(first(1, 2), 1);
      assert.equal(second(1, 2), 2);
    }
  });

  test("the end of one does not end the others, and its code is never run through them", () => {
    using allocator = new JitAllocator();
    const spans = Array.from({ length: 50 }, (_, value) => add(allocator, machineCode.returnConstant(value)));
    const calls = spans.map((span) => toFunction(span, { parameters: [], result: "i32" }));
    for (const [ended, span] of spans.entries()) {
      assert.equal(calls[ended]?.(), ended);
      span.release();
      throwsJitError("ERR_RELEASED", () => calls[ended]?.());
      for (let index = ended + 1; index < calls.length; index++) assert.equal(calls[index]?.(), index);
    }
  });

  test("more signatures than are kept: what was made before goes on", () => {
    using allocator = new JitAllocator();
    const types = ["i32", "u32", "f64"] as const satisfies readonly ParameterType[];
    const calls: ((...args: number[]) => unknown)[] = [];
    for (let number = 0; number < 3 ** 7; number += 3) {
      const parameters = Array.from({ length: 7 }, (_, index) => types[Math.floor(number / 3 ** index) % 3]);
      const place = calls.length % 7;
      const span = add(allocator, machineCode.returnParameter(wrong<ParameterType[]>(parameters), place));
      calls.push(
        wrong(toFunction(span, { parameters: wrong<[]>(parameters), result: wrong(parameters[place]) })),
      );
    }
    assert.equal(calls.length, 729);
    for (const [index, call] of calls.entries())
      assert.equal(call(10, 11, 12, 13, 14, 15, 16), 10 + (index % 7));
  });

  test("nothing of the caller's runs between the check and the code, whatever buffer it passes", () => {
    using allocator = new JitAllocator();
    const signature = { parameters: ["buffer"], result: "u8" } as const;
    const swap = toFunction(add(allocator, machineCode.SWAP_BYTE), signature);
    const doomed = add(allocator, machineCode.returnConstant(7));
    const other = toFunction(doomed, signature);
    let trapCount = 0;
    /** Calls another callable of the signature, which stores into the cell. */
    const disturb = (): undefined => {
      trapCount++;
      other(new Uint8Array(1));
    };
    const traps = Object.fromEntries(
      Object.getOwnPropertyNames(Reflect).map((name) => [
        name,
        (...args: unknown[]) => {
          disturb();
          return (Reflect[name as "get"] as (...all: unknown[]) => unknown)(...args);
        },
      ]),
    );
    const makers = [
      () => new Uint8Array([5]),
      () => new DataView(Uint8Array.of(5).buffer),
      () => Uint8Array.of(5).buffer,
      () => Buffer.from([5]),
    ];
    for (const make of makers) {
      const buffer = make();
      for (const name of ["buffer", "byteOffset", "byteLength", "length", "ptr", "constructor", "valueOf"])
        Object.defineProperty(buffer, name, { get: disturb });
      Object.defineProperty(buffer, Symbol.toPrimitive, { get: disturb });
      Object.defineProperty(buffer, Symbol.toStringTag, { get: disturb });
      Object.setPrototypeOf(buffer, new Proxy(Object.getPrototypeOf(buffer) as object, traps));
      trapCount = 0;
      assert.equal(swap(buffer), 5);
      assert.equal(trapCount, 0);
    }
  });

  test("numbers of each type go in unchanged, also when the calls have become fast", () => {
    using allocator = new JitAllocator();
    const values = {
      ...INTEGER_EXTREMES,
      pointer: [0, 2 ** 47 - 1, 2 ** 53 - 1],
      usize: [1, 2 ** 53 - 1],
      f64: [0.1, -1e300],
    } as const;
    const types = Object.keys(values) as (keyof typeof values)[];
    for (const [start, result] of types.entries()) {
      for (let count = 1; count <= 7; count++) {
        // Of one type, and of several.
        for (const step of [0, 1]) {
          const parameters = Array.from(
            { length: count },
            (_, index) => types[(start + step * (index + 8 * count + 1)) % types.length] ?? "i32",
          );
          parameters[count - 1] = result;
          const span = add(allocator, machineCode.returnParameter(parameters, count - 1));
          const call = toFunction(span, { parameters: wrong<[]>(parameters), result }) as NativeFunction;
          const first = parameters.map((type) => values[type][0]);
          const middle = parameters.slice(1, -1).map((type) => values[type][1]);
          for (let round = 0; round < 9000; round++) call(...first);
          for (const value of values[result]) {
            const args = count === 1 ? [value] : [first[0], ...middle, value];
            assert.equal(call(...args), value, `${parameters.join()} ${String(value)}`);
          }
          for (const value of [NaN, "1", 2 ** 60 + 0.5, undefined]) {
            if (result === "f64" && typeof value === "number") continue;
            throwsJitError("ERR_INVALID_ARGUMENT", () => call(...first.slice(0, -1), value));
          }
        }
      }
    }
  });

  test("results of each type come back, also when the calls have become fast", () => {
    using allocator = new JitAllocator();
    const span = add(allocator, machineCode.returnParameter(["pointer"], 0));
    const given = 2 ** 53 - 2;
    const results = {
      i8: -2,
      u8: 254,
      i32: -2,
      u32: 2 ** 32 - 2,
      i64: BigInt(given),
      u64: BigInt(given),
      pointer: given,
      usize: given,
      void: undefined,
    } as const;
    for (const result of Object.keys(results) as (keyof typeof results)[]) {
      const call = toFunction(span, { parameters: ["pointer"], result });
      for (let round = 0; round < 9000; round++) call(given);
      assert.equal(call(given), results[result], result);
      assert.equal(typeof call(1), typeof results[result], result);
    }
  });

  test("a stub takes integers as doubles", { skip: needs("systemV") }, () => {
    using allocator = new JitAllocator();
    const stubs = new Stubs(systemMemory(), systemFfi(), platform.processor);
    const given = [-1, 2 ** 31 - 1, -(2 ** 31), 2 ** 32 - 1, 2 ** 53 - 1, -0];
    for (let count = 1; count <= 6; count++) {
      for (let index = 0; index < count; index++) {
        const stub = stubs.take();
        const address = stub?.takingDoubles(count);
        assert.ok(stub && address);
        const pointers = Array.from({ length: count }, () => "pointer" as const);
        stub.cell[0] = cellValue(add(allocator, machineCode.returnParameter(pointers, index)).rx);
        const { call } = systemFfi().callable(address, {
          parameters: pointers.map(() => "f64"),
          result: "pointer",
        });
        assert.equal(call(...given.slice(0, count)), (given[index] ?? NaN) + 0);
      }
    }
    assert.equal(stubs.take()?.takingDoubles(7), undefined);
  });

  test("where no stub can be made, each has a native function of its own", () => {
    using allocator = new JitAllocator();
    const caller = new Caller(
      { parameters: ["i32", "i32"], result: "i32" },
      () => 0,
      () => undefined,
      () => undefined,
    );
    const calls = [0, 1].map((index) => {
      const span = add(allocator, machineCode.returnParameter(["i32", "i32"], index));
      return caller.functionOf(span, spanAccess.block(span).owner, span.rx);
    });
    for (let round = 0; round < 1000; round++)
      assert.deepEqual(
        calls.map((call) => call(round, -1)),
        [round, -1],
      );
  });
});

describe("stubs", { skip }, () => {
  const real: StubMemory = systemMemory();
  const { processor } = platform;

  /** This machine's memory; `refuse` throws in place of one of its functions. */
  function memoryThatRefuses(name: keyof StubMemory, refuse: () => never): StubMemory {
    return {
      info: () => real.info(),
      alloc: (sizeBytes, flags) => real.alloc(sizeBytes, flags),
      protect: (address, sizeBytes, flags) => real.protect(address, sizeBytes, flags),
      release: (address, sizeBytes) => real.release(address, sizeBytes),
      allocDualMapping: (sizeBytes, flags) => real.allocDualMapping(sizeBytes, flags),
      releaseDualMapping: (mapping, sizeBytes) => real.releaseDualMapping(mapping, sizeBytes),
      copyIn: (address, bytes, length) => real.copyIn(address, bytes, length),
      flushInstructionCache: (address, sizeBytes) => real.flushInstructionCache(address, sizeBytes),
      [name]: refuse,
    };
  }

  function refusing(code: "ERR_PERMISSION" | "ERR_OUT_OF_MEMORY"): () => never {
    return () => {
      throw new JitError(code, "Cannot: the test refuses");
    };
  }

  test("the cell decides which code runs", () => {
    using allocator = new JitAllocator();
    const stubs = new Stubs(real, systemFfi(), processor);
    for (const value of [1, 2, 3])
      assert.equal(callThrough(stubs, add(allocator, machineCode.returnConstant(value)).rx), value);
  });

  test("a cell keeps every address exactly, and stays a normal number", () => {
    const words = new BigUint64Array(1);
    const doubles = new Float64Array(words.buffer);
    for (const address of [0, 1, 0x1000, 0x7f12_0040_1010, 2 ** 47 - 1, 2 ** 48 - 4, 2 ** 52 - 1]) {
      doubles[0] = cellValue(address);
      assert.equal(Number(BigInt.asUintN(52, words[0] ?? 0n)), address);
      assert.ok(doubles[0] >= 1);
    }
  });

  test(
    "their page is readable and executable, their cells are never executable",
    { skip: needs("linux") },
    () => {
      const stubs = new Stubs(real, systemFfi(), processor);
      const taken = Array.from({ length: 300 }, () => {
        const stub = stubs.take();
        assert.ok(stub);
        return stub;
      });
      assert.equal(new Set(taken.map(({ address }) => address)).size, 300);
      for (const { address, cell } of [taken[0], taken[299]].filter((stub) => stub !== undefined)) {
        assert.equal(accessOf(address), "r-xp");
        assert.match(accessOf(systemFfi().addressOf(cell.buffer as ArrayBuffer)) ?? "", /^rw-/);
      }
    },
  );

  test("where what was written may not become executable, a page has two views", () => {
    using allocator = new JitAllocator();
    const stubs = new Stubs(memoryThatRefuses("protect", refusing("ERR_PERMISSION")), systemFfi(), processor);
    assert.equal(callThrough(stubs, add(allocator, machineCode.returnConstant(5)).rx), 5);
  });

  test("there is none where memory may not be executable, or on another processor; then it is not tried again", () => {
    let tries = 0;
    const refuse = (): never => {
      tries++;
      return refusing("ERR_PERMISSION")();
    };
    const stubs = new Stubs(memoryThatRefuses("alloc", refuse), systemFfi(), processor);
    for (let round = 0; round < 3; round++) assert.equal(stubs.take(), undefined);
    assert.equal(tries, 1);
    assert.equal(new Stubs(real, systemFfi(), "other").take(), undefined);
  });

  for (const step of ["alloc", "copyIn", "flushInstructionCache"] as const) {
    test(`no room at ${step}: nothing is left, and it is tried again`, () => {
      let isFull = true;
      const held: number[] = [];
      const full = memoryThatRefuses(step, refusing("ERR_OUT_OF_MEMORY"));
      const memory: StubMemory = {
        ...full,
        alloc: (sizeBytes, flags) => {
          const address = (isFull ? full : real).alloc(sizeBytes, flags);
          held.push(address);
          return address;
        },
        copyIn: (...args) => (isFull ? full : real).copyIn(...args),
        flushInstructionCache: (...args) => (isFull ? full : real).flushInstructionCache(...args),
        release: (address, sizeBytes) => {
          held.splice(held.indexOf(address), 1);
          real.release(address, sizeBytes);
        },
        allocDualMapping: refusing("ERR_OUT_OF_MEMORY"),
      };
      const stubs = new Stubs(memory, systemFfi(), processor);
      assert.equal(stubs.take(), undefined);
      assert.deepEqual(held, []);
      isFull = false;
      assert.ok(stubs.take());
      assert.equal(held.length, 1);
    });
  }

  test("an interface that refuses the cells' address: none, and nothing mapped", () => {
    const ffi = { addressOf: refusing("ERR_PERMISSION") };
    const memory = memoryThatRefuses("alloc", () => assert.fail("nothing is to be mapped"));
    assert.equal(new Stubs(memory, ffi, processor).take(), undefined);
  });
});
