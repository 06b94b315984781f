/** Names of code: they live as long as the allocation, however it ends. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime, toFunction, type Span } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import * as machineCode from "../support/native-code.ts";
import { needs } from "../support/requirements.ts";
import { someBytes } from "../support/rows.ts";
import { attachOn } from "../support/attach.ts";

function makeAllocator(): JitAllocator {
  return new JitAllocator({}, new SimulatedMemory());
}

/** Every way in which an allocation ends. */
const endings: Readonly<Record<string, (allocator: JitAllocator, span: Span) => void>> = {
  "through its span": (_allocator, span) => span.release(),
  "through the allocator": (allocator, span) => allocator.release(span),
  "by its address": (allocator, span) => allocator.release(span.rx),
  "through another span": (allocator, span) => allocator.query(span.rx).release(),
  "by a shrink to nothing": (_allocator, span) => span.shrink(0),
  "by a shrink of the address to nothing": (allocator, span) => allocator.shrink(span.rx, 0),
  "at the end of a using block": (_allocator, span) => span[Symbol.dispose](),
  "with a reset": (allocator) => allocator.reset(),
  "with a hard reset": (allocator) => allocator.reset("hard"),
};

describe("a name given with alloc", () => {
  test("is that of each address of the allocation, and of no other", () => {
    const allocator = makeAllocator();
    const [first, nameless, second] = [
      allocator.alloc(100, { name: "first" }),
      allocator.alloc(64),
      allocator.alloc(1, { name: "" }),
    ];
    assert.equal(allocator.nameOf(first.rx), "first");
    assert.equal(allocator.nameOf(first.rx + 127), "first");
    assert.equal(allocator.nameOf(nameless.rx), undefined);
    assert.equal(allocator.nameOf(second.rx), "", "an empty name is a name");
    for (const stranger of [first.rw, 1, -1, Number.NaN, wrong<number>("first"), wrong<number>(undefined)]) {
      assert.equal(allocator.nameOf(stranger), undefined);
    }
    assert.equal(new JitRuntime({ allocator }).nameOf(first.rx + 1), "first");
  });

  for (const isShared of [false, true]) {
    for (const [how, end] of Object.entries(endings)) {
      test(`ends ${how}${isShared ? ", in a shared allocator" : ""}: the next one at its address has none`, () => {
        const allocator = makeAllocator();
        if (isShared) allocator.share();
        const span = allocator.alloc(64, { name: "old" });
        const { rx } = span;
        assert.equal(allocator.nameOf(rx), "old");
        end(allocator, span);
        assert.equal(allocator.nameOf(rx), undefined, "while it is free");
        const spans = Array.from({ length: 4 }, () => allocator.alloc(64));
        // After a hard reset the simulated system maps the next block elsewhere.
        assert.equal(
          spans.some((one) => one.rx === rx),
          how !== "with a hard reset",
          "the address is in use again",
        );
        assert.equal(allocator.nameOf(rx), undefined, "when it is in use again");
      });
    }
  }

  test("ends with another thread's release", () => {
    const allocator = makeAllocator();
    const memory = new SimulatedMemory();
    const shared = new JitAllocator({}, memory);
    const other = attachOn(shared.share(), memory);
    const span = shared.alloc(64, { name: "old" });
    other.release(span.rx);
    assert.equal(shared.nameOf(span.rx), undefined);
    assert.equal(other.alloc(64).rx, span.rx, "the same place");
    assert.equal(shared.nameOf(span.rx), undefined);
    allocator.dispose();
  });

  test("stays when the allocator is shared, and when the allocation shrinks", () => {
    const allocator = makeAllocator();
    const span = allocator.alloc(256, { name: "kept" });
    allocator.share();
    span.shrink(64);
    assert.equal(allocator.nameOf(span.rx), "kept");
    assert.equal(allocator.nameOf(span.rx + 64), undefined, "what was cut off");
  });

  test("is one of many, most of which have ended", () => {
    const allocator = makeAllocator();
    const kept: Span[] = [];
    for (let index = 0; index < 5000; index++) {
      const span = allocator.alloc(64, { name: `n${index}` });
      if (index % 100 === 0) kept.push(span);
      else if (index % 2 === 0) allocator.release(span.rx);
      else span.release();
    }
    assert.deepEqual(
      kept.map(({ rx }) => allocator.nameOf(rx)),
      kept.map((_, index) => `n${index * 100}`),
    );
  });

  test("of two allocators with the same addresses are two names", () => {
    const [one, other] = [makeAllocator(), makeAllocator()];
    const [span, twin] = [one.alloc(64, { name: "one" }), other.alloc(64, { name: "other" })];
    assert.equal(span.rx, twin.rx, "each has a simulated machine of its own");
    assert.equal(one.nameOf(span.rx), "one");
    assert.equal(other.nameOf(twin.rx), "other");
  });

  test("must be a string, in an object, and is read once; a refusal changes nothing", () => {
    const allocator = makeAllocator();
    const before = allocator.statistics();
    for (const info of [null, 1, "name", { name: 1 }, { name: null }, { name: Symbol("s") }]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(64, wrong(info)));
    }
    assert.deepEqual(allocator.statistics(), before);
    let reads = 0;
    const span = allocator.alloc(64, {
      get name() {
        return wrong<string>(reads++ === 0 ? "once" : 1);
      },
    });
    assert.equal(allocator.nameOf(span.rx), "once");
    assert.equal(allocator.nameOf(allocator.alloc(64, {}).rx), undefined);
  });
});

describe("the names of a module's parts and of veneers", () => {
  for (const isShared of [false, true]) {
    test(`are found and end with them${isShared ? ", in a shared allocator" : ""}`, () => {
      const allocator = makeAllocator();
      if (isShared) allocator.share();
      const builder = allocator.module();
      const code = builder.code(64, { name: "entry" });
      const data = builder.data(8, { name: "counter" });
      assert.equal(allocator.nameOf(code.rx), undefined, "before the commit");
      const loaded = builder.commit();
      assert.equal(allocator.nameOf(code.rx + 63), "entry");
      assert.equal(allocator.nameOf(data.rx), "counter");
      const veneer = allocator.veneer(code.rx);
      const far = allocator.veneer(0x1234_5678);
      assert.equal(allocator.nameOf(veneer.rx), "veneer_to_entry");
      assert.equal(allocator.nameOf(far.rx), "veneer_to_0x12345678");
      far.retarget(0x1000);
      assert.equal(allocator.nameOf(far.rx), "veneer_to_0x1000");
      veneer.release();
      loaded.release();
      far.release();
      for (const rx of [code.rx, data.rx, veneer.rx, far.rx]) assert.equal(allocator.nameOf(rx), undefined);
    });
  }

  test("stay when the allocator is shared", () => {
    const allocator = makeAllocator();
    const veneer = allocator.veneer(0x1000);
    allocator.share();
    assert.equal(allocator.nameOf(veneer.rx), "veneer_to_0x1000");
    veneer.retarget(0x2000);
    assert.equal(allocator.nameOf(veneer.rx), "veneer_to_0x2000");
  });
});

describe("a name given with toFunction", { skip: needs("machineCode") }, () => {
  const signature = { parameters: ["i32", "i32"], result: "i32" } as const;

  test("is that of code without one", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64);
    span.write(0, machineCode.ADD);
    toFunction(span, signature, { name: "entry", offset: 32 });
    assert.equal(allocator.nameOf(span.rx), undefined, "an entry is not the whole");
    toFunction(span, signature, { name: "sum" });
    assert.equal(allocator.nameOf(span.rx), "sum");
    assert.equal(
      toFunction(allocator.query(span.rx), signature).name,
      "sum",
      "whatever span of it is called",
    );
    toFunction(span, signature, { name: "other" });
    assert.equal(allocator.nameOf(span.rx), "sum", "the first name stays");
  });

  test("is by default the one of alloc", () => {
    using allocator = new JitAllocator();
    const span = allocator.alloc(64, { name: "sum" });
    span.write(0, machineCode.ADD);
    assert.equal(toFunction(span, signature).name, "sum");
  });
});

describe("JitRuntime.codeOf", () => {
  test("has the name, the start and the code's own bytes", () => {
    const runtime = new JitRuntime({ allocator: makeAllocator() });
    const bytes = someBytes(100);
    const symbols = [{ name: "part", offset: 10, size: 20 }];
    const span = runtime.add(bytes, { name: "copied", symbols });
    for (const target of [span, span.rx, span.rx + 99, span.rx + 127, runtime.allocator.query(span.rx)]) {
      assert.deepEqual(runtime.codeOf(target), { name: "copied", rx: span.rx, bytes, symbols });
    }
    const emitted = runtime.add(200, (code) => {
      code.set(bytes);
      return 70;
    });
    assert.deepEqual(runtime.codeOf(emitted), {
      name: undefined,
      rx: emitted.rx,
      bytes: bytes.slice(0, 70),
      symbols: [],
    });
    const whole = runtime.add(70, (code) => void code.fill(7));
    assert.deepEqual(runtime.codeOf(whole)?.bytes, new Uint8Array(128).fill(7), "all that was emitted");
  });

  test("is as long as what is left after a shrink, and has what was written since", () => {
    const runtime = new JitRuntime({ allocator: makeAllocator() });
    const span = runtime.add(new Uint8Array(100), { name: "short" });
    span.shrink(64);
    span.write(0, new Uint8Array([1, 2]));
    assert.deepEqual([...(runtime.codeOf(span)?.bytes ?? [])].slice(0, 3), [1, 2, 0]);
    assert.equal(runtime.codeOf(span)?.bytes.length, 64);
  });

  test("is undefined for what has ended, and for what was not added", () => {
    const runtime = new JitRuntime({ allocator: makeAllocator() });
    const span = runtime.add(someBytes(64), { name: "gone" });
    runtime.allocator.release(span.rx);
    assert.equal(runtime.codeOf(span), undefined);
    assert.equal(runtime.codeOf(span.rx), undefined);
    const next = runtime.add(someBytes(64), { name: "next" });
    assert.equal(next.rx, span.rx, "the same place");
    assert.equal(runtime.codeOf(span), undefined, "the span of what was there before");
    assert.equal(runtime.codeOf(next.rx)?.name, "next");
    assert.equal(runtime.codeOf(runtime.allocator.alloc(64, { name: "other" })), undefined);
    for (const stranger of [1, -1, Number.NaN, null, "x", {}]) {
      assert.equal(runtime.codeOf(wrong(stranger)), undefined);
    }
    runtime.dispose();
    assert.equal(runtime.codeOf(next), undefined);
  });
});
