/** What a runtime knows of the code it published. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitRuntime } from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { someBytes } from "../../support/rows.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";

function makeRuntime(): JitRuntime {
  return new JitRuntime({ allocator: new JitAllocator({}, new SimulatedMemory()) });
}

describe("JitRuntime.nameOf", () => {
  test("any address of the code has its name; its neighbours have theirs", () => {
    const runtime = makeRuntime();
    const first = runtime.add(someBytes(100), { name: "first" });
    const second = runtime.add(200, () => 150, { name: "second" });
    const nameless = runtime.add(someBytes(10));
    assert.equal(runtime.nameOf(first.rx), "first");
    assert.equal(runtime.nameOf(first.rx + first.size - 1), "first");
    assert.equal(runtime.nameOf(second.rx + 149), "second");
    assert.equal(runtime.nameOf(nameless.rx), undefined);
  });

  test("what the runtime did not publish has no name", () => {
    const runtime = makeRuntime();
    const code = runtime.add(someBytes(64), { name: "code" });
    const other = runtime.allocator.alloc(64);
    assert.equal(runtime.nameOf(other.rx), undefined, "allocated behind its back");
    assert.equal(runtime.nameOf(code.rw), undefined, "an rw address");
    assert.equal(runtime.nameOf(1), undefined, "no block holds it");
    assert.equal(runtime.nameOf(Number.NaN), undefined, "no address at all");
  });

  test("a name goes with its code, whoever released it, and is not the next one's", () => {
    for (const release of ["runtime", "span", "address", "allocator"] as const) {
      const runtime = makeRuntime();
      runtime.add(someBytes(64), { name: "stays" });
      const code = runtime.add(someBytes(64), { name: "gone" });
      if (release === "runtime") runtime.release(code);
      else if (release === "address") runtime.release(code.rx);
      else if (release === "span") code.release();
      else runtime.allocator.release(code);
      assert.equal(runtime.nameOf(code.rx), undefined, `${release}: free`);
      const next = runtime.allocator.alloc(64);
      assert.equal(next.rx, code.rx, "the same place");
      assert.equal(runtime.nameOf(next.rx), undefined, `${release}: handed out again`);
      assert.equal(runtime.nameOf(runtime.add(someBytes(64), { name: "new" }).rx), "new");
    }
  });

  test("what has ended is forgotten after a while, and the rest is found by its address", () => {
    const runtime = makeRuntime();
    // A runtime on an allocator that is not its own ends what it knows of, one by one.
    let endings = 0;
    const live = [];
    for (let round = 0; round < 2000; round++) {
      const span = runtime.add(someBytes(64), { name: `${round}` });
      Object.defineProperty(span, Symbol.dispose, { value: () => endings++ });
      if (round % 20 === 0) live.push([span, `${round}`] as const);
      else span.release();
      if (round % 500 !== 0) continue;
      for (const [{ rx }, name] of live) {
        assert.equal(runtime.codeOf(rx + 1)?.name, name);
        assert.deepEqual(runtime.codeOf(rx)?.bytes, someBytes(64));
      }
    }
    runtime.dispose();
    assert.ok(endings >= live.length && endings < 512, `${endings} were known, and ${live.length} live`);
  });

  test("code at an address that other code had before is found, and its end too", () => {
    const runtime = makeRuntime();
    const first = runtime.add(someBytes(64), { name: "first" });
    assert.equal(runtime.codeOf(first.rx)?.name, "first");
    first.release();
    assert.equal(runtime.codeOf(first.rx), undefined);
    const second = runtime.add(someBytes(32), { name: "second" });
    assert.equal(second.rx, first.rx, "the same place");
    assert.equal(runtime.codeOf(second.rx)?.name, "second");
    second.release();
    assert.equal(runtime.allocator.alloc(64).rx, first.rx, "the same place");
    assert.equal(runtime.codeOf(first.rx), undefined);
  });

  test("after the runtime's end nothing has a name", () => {
    const runtime = makeRuntime();
    const code = runtime.add(someBytes(64), { name: "code" });
    runtime[Symbol.dispose]();
    assert.equal(runtime.nameOf(code.rx), undefined);
    assert.ok(code.isReleased);
  });
});

describe("the options of JitRuntime", () => {
  test("an allocator and options for another one: refused, with the names of the options", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const error = throwsJitError(
      "ERR_INVALID_ARGUMENT",
      () => new JitRuntime({ allocator, granularity: 128 }),
    );
    assert.match(error.message, /granularity/);
    assert.equal(new JitRuntime({ allocator }).allocator, allocator);
  });

  test("what is no allocator, and no options", () => {
    for (const allocator of [null, 1, "allocator", {}, Object.create(null)]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => new JitRuntime({ allocator: wrong(allocator) }));
    }
    for (const options of [null, 1, "options"]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => new JitRuntime(wrong(options)));
    }
  });
});
