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

  test("what has ended is forgotten when its name is asked for, be its place free or handed out again", () => {
    for (const isReused of [false, true]) {
      const runtime = makeRuntime();
      // A runtime on an allocator that is not its own ends what it knows of, one by one.
      let endings = 0;
      const [met, unmet] = ["met", "unmet"].map((name) => {
        const span = runtime.add(someBytes(64), { name });
        Object.defineProperty(span, Symbol.dispose, { value: () => endings++ });
        return span;
      });
      assert.ok(met && unmet);
      met.release();
      unmet.release();
      if (isReused) assert.equal(runtime.allocator.alloc(128).rx, met.rx, "the same place");
      assert.equal(runtime.nameOf(met.rx), undefined);
      runtime.dispose();
      assert.equal(endings, 1, "the one that was not asked for");
    }
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
