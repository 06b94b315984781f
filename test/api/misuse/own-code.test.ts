/**
 * Code of the caller's that runs in the middle of an operation: getters, traps and methods of the values that are passed,
 * and callbacks. Whatever it does, the operation writes where it may, or refuses.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, Span, toFunction } from "../../../src/index.ts";
import { systemMemory } from "../../../src/vm/select.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { refuses, throwsJitError, wrong } from "../../support/expectations.ts";
import { RecordingMemory } from "../../support/recording-memory.ts";
import { someBytes } from "../../support/rows.ts";

/** Both kinds of allocators, on real memory: what is wrong here ends the process. */
function onEach(title: string, body: (allocator: JitAllocator) => void): void {
  for (const isShared of [false, true]) {
    test(`${title}${isShared ? ", shared" : ""}`, () => {
      const allocator = new JitAllocator({}, systemMemory());
      try {
        if (isShared) allocator.share();
        body(allocator);
        allocator.verify();
      } finally {
        allocator.dispose();
      }
    });
  }
}

/** A Uint8Array that runs `act` when somebody asks what it is an instance of. */
function bytesThatAct(length: number, act: () => void): Uint8Array {
  const bytes = new Uint8Array(length).fill(0xee);
  const prototype = new Proxy(Uint8Array.prototype, {
    getPrototypeOf() {
      act();
      return Uint8Array.prototype;
    },
  });
  return Object.setPrototypeOf(bytes, prototype) as Uint8Array;
}

describe("a write callback", () => {
  const tricks: Readonly<Record<string, (code: Uint8Array, act: () => Uint8Array) => void>> = {
    "a subarray method": (code, act) => Object.assign(code, { subarray: act }),
    "a species": (code, act) => {
      const species = function (): Uint8Array {
        return act();
      };
      Object.assign(code, { constructor: { [Symbol.species]: species } });
    },
    "a length": (code) => Object.defineProperty(code, "length", { value: 128 }),
  };
  for (const [name, trick] of Object.entries(tricks)) {
    onEach(`cannot have more copied than its span by ${name} of its buffer`, (allocator) => {
      const span = allocator.alloc(64);
      const neighbour = allocator.alloc(64);
      neighbour.write(0, someBytes(64, 7));
      const longer = new Uint8Array(128).fill(0xee);
      allocator.write(span, (code) => {
        code.fill(0x11);
        trick(code, () => longer);
        return 40;
      });
      assert.deepEqual(span.read(0, 40), new Uint8Array(40).fill(0x11));
      assert.deepEqual(neighbour.read(), someBytes(64, 7));
    });

    onEach(`cannot have the memory unmapped by ${name} of its buffer`, (allocator) => {
      const span = allocator.alloc(64);
      allocator.write(span, (code) => {
        trick(code, () => {
          allocator.reset("hard");
          return code;
        });
      });
      assert.ok(!span.isReleased);
    });
  }

  test("may share the allocator: it is then one of several threads that write", () => {
    for (const act of [
      (allocator: JitAllocator, span: Span, fill: () => void) => allocator.write(span, fill),
      (allocator: JitAllocator, span: Span, fill: () => void) => allocator.writeScope().write(span, fill),
    ]) {
      const allocator = new JitAllocator();
      const span = allocator.alloc(64);
      throwsJitError("ERR_RELEASED", () =>
        act(allocator, span, () => JitAllocator.attach(allocator.share()).reset("hard")),
      );
      assert.equal(allocator.statistics().blockCount, 0, "the memory is not mapped any more");
      allocator.dispose();
    }
  });

  for (const policy of [undefined, "default", "flush"] as const) {
    test(`what it wrote is made safe to run, with the policy ${String(policy)}`, () => {
      const memory = new RecordingMemory();
      using allocator = new JitAllocator({}, memory);
      const span = allocator.alloc(64);
      allocator.write(span, (code) => void code.fill(1), policy);
      assert.deepEqual(memory.flushes, [{ address: span.rx, sizeBytes: 64 }]);
      memory.flushes.length = 0;
      allocator.writeScope(policy)[Symbol.dispose]();
      assert.deepEqual(memory.flushes, [], "nothing was written");
    });
  }

  test("may end the write scope it writes in: what it wrote is made safe to run all the same", () => {
    const memory = new RecordingMemory();
    using allocator = new JitAllocator({}, memory);
    const span = allocator.alloc(64);
    const scope = allocator.writeScope();
    scope.write(span, (code) => {
      code.fill(1);
      scope[Symbol.dispose]();
    });
    assert.deepEqual(memory.flushes, [{ address: span.rx, sizeBytes: 64 }]);
    throwsJitError("ERR_DISPOSED", () => scope.write(span, 0, Uint8Array.of(1)));
  });
});

describe("traps and getters", () => {
  onEach("those of bytes are not asked", (allocator) => {
    const span = allocator.alloc(64);
    for (const length of [0, 8, 64]) {
      span.write(
        0,
        bytesThatAct(length, () => allocator.dispose()),
      );
      using runtime = new JitRuntime({ allocator });
      throwsJitError("ERR_INVALID_ARGUMENT", () =>
        runtime.add(bytesThatAct(0, () => assert.fail("it was asked"))),
      );
    }
    assert.ok(!span.isReleased);
    const stale = allocator.alloc(64);
    stale.release();
    throwsJitError("ERR_RELEASED", () =>
      stale.write(
        0,
        bytesThatAct(8, () => assert.fail("it was asked")),
      ),
    );
  });

  onEach("what only looks like a span, or like bytes, is refused, and not asked", (allocator) => {
    const span = allocator.alloc(64);
    const asked = (): never => assert.fail("it was asked");
    const traps = { getPrototypeOf: asked, get: asked, has: asked, getOwnPropertyDescriptor: asked };
    const scope = allocator.writeScope();
    const runtime = new JitRuntime({ allocator });
    for (const target of [Object.create(Span.prototype), new Proxy(span, traps), new Proxy({}, traps)]) {
      const code = wrong<Span>(target);
      for (const act of [
        () => allocator.release(code),
        () => allocator.shrink(code, 1),
        () => allocator.write(code, 0, Uint8Array.of(1)),
        () => allocator.write(code, () => assert.fail("it was called")),
        () => scope.write(code, 0, Uint8Array.of(1)),
        () => runtime.release(code),
        () => toFunction(code, { parameters: [], result: "void" }),
      ]) {
        refuses(allocator, "ERR_INVALID_ARGUMENT", act, String(act));
      }
    }
    for (const bytes of [
      new Proxy(new Uint8Array(4), {}),
      Object.create(Uint8Array.prototype),
      new Int8Array(4),
    ]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(0, wrong(bytes)));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => runtime.add(wrong<Uint8Array>(bytes)));
    }
    assert.ok(!span.isReleased);
  });

  onEach("a span is what it is, whatever properties it is given", (allocator) => {
    const span = allocator.alloc(64);
    const other = allocator.alloc(64);
    Object.defineProperties(span, {
      rx: { value: other.rx },
      size: { value: 4096 },
      isReleased: { value: false },
    });
    allocator.writeScope().write(span, 0, Uint8Array.of(0xc3)); // ret
    const run = toFunction(span, { parameters: [], result: "void" });
    allocator.release(span);
    throwsJitError("ERR_RELEASED", () => run());
    throwsJitError("ERR_RELEASED", () => toFunction(span, { parameters: [], result: "void" }));
    assert.ok(!other.isReleased);
  });

  test("a token that shares the allocator while it is read is looked up in the shared one", () => {
    using allocator = new JitAllocator({}, new SimulatedMemory());
    const span = allocator.alloc(64);
    const { rx, generation } = span.token;
    const token = {
      get rx() {
        allocator.share();
        return rx;
      },
      generation,
    };
    const found = allocator.spanOf(token);
    assert.ok(found.rx === rx && !found.isReleased);
    allocator.verify();
  });

  test("a signature has as many parameters as are looked at", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const parameters = Object.assign(["i32" as const], {
      *[Symbol.iterator]() {
        for (let i = 0; i < 1000; i++) yield "i32" as const;
      },
    });
    assert.equal(toFunction(span, { parameters, result: "i32" }).length, 1);
  });
});

describe("what a program has changed for itself", () => {
  onEach("a span of a token does not lead to what spans are made with", (allocator) => {
    const span = allocator.spanOf(allocator.alloc(64).token);
    const prototype = Object.getPrototypeOf(span) as { readonly constructor: unknown };
    assert.equal(prototype.constructor, Span);
    const makeAnother = prototype.constructor as new (...values: unknown[]) => Span;
    assert.throws(() => new makeAnother(Symbol("span"), {}, 0), TypeError);
  });

  test("a read gives a copy, whatever the species of a Uint8Array", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const bytes = someBytes(64, 3);
    span.write(0, bytes);
    const given: unknown[] = [];
    Object.defineProperty(Uint8Array, Symbol.species, {
      configurable: true,
      get(this: new (...values: unknown[]) => unknown) {
        return function (...values: unknown[]) {
          given.push(...values);
          return new Uint8Array(64);
        };
      },
    });
    try {
      assert.deepEqual([...span.read()], [...bytes]);
    } finally {
      Reflect.deleteProperty(Uint8Array, Symbol.species);
    }
    assert.deepEqual(given, []);
  });

  test("what all objects inherit is no option", () => {
    Object.assign(Object.prototype, { useDualMapping: false, granularity: 256 });
    try {
      using allocator = new JitAllocator({}, new SimulatedMemory());
      assert.deepEqual([allocator.options.useDualMapping, allocator.granularity], [true, 64]);
    } finally {
      Reflect.deleteProperty(Object.prototype, "useDualMapping");
      Reflect.deleteProperty(Object.prototype, "granularity");
    }
  });

  test("allocators have names of their own, whatever Math.random says", () => {
    const { random } = Math;
    Math.random = () => 0.25;
    try {
      const names = Array.from({ length: 100 }, () => new JitAllocator().share().tagName);
      assert.equal(new Set(names).size, 100);
    } finally {
      Math.random = random;
    }
  });

  test("attach() can be given to map(), which passes it a number as well", () => {
    using allocator = new JitAllocator();
    const attached = [allocator.share()].map(JitAllocator.attach);
    for (const one of attached) one.detach();
    assert.equal(attached.length, 1);
  });
});

describe("bytes without memory", () => {
  onEach("are refused by a write, before and after others", (allocator) => {
    const span = allocator.alloc(64);
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const resizable = new ArrayBuffer(16, { maxByteLength: 16 });
    const beyond = new Uint8Array(resizable, 8, 8);
    resizable.resize(4);
    for (let round = 0; round < 2; round++) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(0, detached));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => span.write(0, beyond));
      span.write(0, new Uint8Array(resizable));
      span.write(64, new Uint8Array());
    }
  });

  test("are refused as arguments of a function, whatever properties they are given", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    const run = toFunction(span, { parameters: ["buffer"], result: "void" });
    const detached = new Uint8Array(8);
    const view = new DataView(detached.buffer);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const resizable = new ArrayBuffer(16, { maxByteLength: 16 });
    const beyond = new Uint8Array(resizable, 8, 8);
    const viewBeyond = new DataView(resizable, 8, 8);
    resizable.resize(4);
    for (const value of [detached, view, beyond, viewBeyond]) {
      Reflect.set(value, "0", 1);
      throwsJitError("ERR_INVALID_ARGUMENT", () => run(value));
    }
  });
});
