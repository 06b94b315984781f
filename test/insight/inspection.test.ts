/** What a console shows of spans, allocators and runtimes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { formatAddress } from "../../src/base/errors.ts";
import { formatBytes } from "../../src/base/inspect.ts";
import { JitAllocator, JitRuntime, Span } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";

function makeAllocator(): JitAllocator {
  return new JitAllocator({}, new SimulatedMemory());
}

describe("a span in a console", () => {
  test("has its name, its address and its size, and is live or released", () => {
    const allocator = makeAllocator();
    const span = allocator.alloc(64, { name: "add" });
    const rx = formatAddress(span.rx);
    assert.equal(inspect(span), `Span "add" rx ${rx} 64 bytes, live`);
    assert.equal(inspect(allocator.query(span.rx)), inspect(span));
    assert.equal(inspect({ code: [span] }), `{ code: [ Span "add" rx ${rx} 64 bytes, live ] }`);
    span.release();
    assert.equal(inspect(span), `Span rx ${rx}, released`);
    const next = allocator.alloc(1000);
    assert.equal(inspect(next), `Span rx ${rx} 1,024 bytes, live`);
  });

  test("has its kind where that is not code, and a name that is shown as a string", () => {
    const table = makeAllocator().alloc(64, { kind: "constants", name: 'a "table"\n' });
    assert.equal(
      inspect(table),
      `Span "a \\"table\\"\\n" rx ${formatAddress(table.rx)} 64 bytes of constants, live`,
    );
  });

  test("is not needed for the prototype to be shown", () => {
    assert.match(inspect(Span.prototype), /Span/);
    assert.match(inspect(JitAllocator.prototype), /JitAllocator/);
    assert.match(inspect(JitRuntime.prototype), /JitRuntime/);
  });
});

describe("an allocator in a console", () => {
  for (const isShared of [false, true]) {
    test(`has its counts and its five largest allocations${isShared ? ", shared" : ""}`, () => {
      const allocator = makeAllocator();
      if (isShared) allocator.share();
      const spans = [64, 4096, 256, 128, 70_000, 512].map((size, index) =>
        allocator.alloc(size, index === 1 ? { name: "loop" } : { kind: index === 2 ? "data" : "code" }),
      );
      const [first = "", ...lines] = inspect(allocator).split("\n");
      const { usedSize, reservedSize, blockCount } = allocator.statistics();
      assert.ok(blockCount > 1);
      assert.equal(
        first.replace(/\d+:/, "N:").replaceAll(",", ""),
        `JitAllocator N: 6 allocations ${usedSize} of ${reservedSize} bytes in ${blockCount} blocks`,
      );
      const sorted = spans.filter((span) => span.size > 64).sort((one, other) => other.size - one.size);
      assert.deepEqual(
        lines,
        sorted.map(
          (span) =>
            `  ${span === spans[1] ? '"loop" ' : ""}rx ${formatAddress(span.rx)} ${formatBytes(span.size)}`,
        ),
      );
    });
  }

  test("lists no padding, and nothing where there is nothing", () => {
    const allocator = makeAllocator();
    assert.match(inspect(allocator), /^JitAllocator \d+: 0 allocations, 0 of 0 bytes in 0 blocks$/);
    const span = allocator.alloc(64);
    assert.equal(inspect(allocator).split("\n").length, 2);
    span.release();
    assert.equal(inspect(allocator).split("\n").length, 1);
  });

  test("finds the largest of many", () => {
    const allocator = makeAllocator();
    const spans = Array.from({ length: 500 }, (_, index) => allocator.alloc(64 * (1 + ((index * 7) % 500))));
    const lines = inspect(allocator).split("\n").slice(1);
    const sorted = spans.sort((one, other) => other.size - one.size).slice(0, 5);
    assert.deepEqual(
      lines,
      sorted.map((span) => `  rx ${formatAddress(span.rx)} ${formatBytes(span.size)}`),
    );
  });

  test("says that it is over", () => {
    const allocator = makeAllocator();
    allocator.dispose();
    assert.match(inspect(allocator), /^JitAllocator \d+: .*disposed/);
    const memory = new SimulatedMemory();
    const shared = new JitAllocator({}, memory);
    const attached = attachOn(shared.share(), memory);
    attached.detach();
    assert.match(inspect(attached), /^JitAllocator \d+: .*detached/);
  });
});

describe("a runtime in a console", () => {
  test("has its counts and those of its allocator", () => {
    const allocator = makeAllocator();
    const runtime = new JitRuntime({ allocator });
    runtime.add(new Uint8Array(64), { name: "kept" });
    runtime.add(new Uint8Array(64)).release();
    assert.match(
      inspect(runtime),
      /^JitRuntime \d+ of 1 on JitAllocator \d+: 1 allocation, .*\n {2}"kept" rx /,
    );
    runtime.dispose();
    assert.match(inspect(runtime), /^JitRuntime \d+, disposed$/);
  });
});
