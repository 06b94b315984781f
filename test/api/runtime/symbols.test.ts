/** The symbols that code is added with. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { codeSymbols } from "../../../src/insight/code-names.ts";
import { JitAllocator, JitRuntime, type CodeSymbol } from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { someBytes } from "../../support/rows.ts";

describe("symbols of code", () => {
  function makeRuntime(): JitRuntime {
    return new JitRuntime({ allocator: new JitAllocator({}, new SimulatedMemory()) });
  }
  const symbols = [
    { name: "second", offset: 40, size: 60 },
    { name: "first", offset: 0, size: 40 },
    { name: "end", offset: 100, size: 0 },
  ];

  test("are kept with the span, as a copy", () => {
    const runtime = makeRuntime();
    const given: CodeSymbol[] = symbols.map((symbol) => ({ ...symbol }));
    const span = runtime.add(someBytes(100), { name: "both", symbols: given });
    const emitted = runtime.add(200, () => 100, { symbols: given });
    for (const symbol of given) symbol.offset = 1000;
    given.length = 0;
    assert.deepEqual(codeSymbols(span), symbols);
    assert.deepEqual(codeSymbols(emitted), symbols);
    assert.equal(runtime.nameOf(span.rx), "both");
    assert.deepEqual(codeSymbols(runtime.add(someBytes(10))), []);
    assert.deepEqual(codeSymbols(runtime.add(someBytes(10), { symbols: [] })), []);
  });

  test("go with the span", () => {
    const runtime = makeRuntime();
    const span = runtime.add(someBytes(100), { symbols });
    span.release();
    assert.deepEqual(codeSymbols(span), []);
    const next = runtime.add(someBytes(100));
    assert.equal(next.rx, span.rx, "the same place");
    assert.deepEqual(codeSymbols(next), []);
  });

  test("what is none is refused, and nothing is allocated", () => {
    const runtime = makeRuntime();
    const right = { name: "right", offset: 0, size: 10 };
    const bad: unknown[] = [null, 1, "text", {}, [null], [1], [[]], [{}]];
    for (const name of [1, null, undefined, {}]) bad.push([{ ...right, name }]);
    for (const value of [-1, 0.5, NaN, 2 ** 53, "1", 1n, null, undefined])
      bad.push([{ ...right, offset: value }], [right, { ...right, size: value }]);
    bad.push([{ ...right, offset: 100 }], [{ ...right, size: 101 }], [{ ...right, offset: 91 }]);
    for (const each of bad)
      throwsJitError("ERR_INVALID_ARGUMENT", () => runtime.add(someBytes(100), { symbols: wrong(each) }));
    // The code turned out to be shorter than what was asked for.
    throwsJitError("ERR_INVALID_ARGUMENT", () => runtime.add(1000, () => 64, { symbols }));
    assert.equal(runtime.allocator.statistics().allocationCount, 0);
    runtime.allocator.verify();
  });
});
