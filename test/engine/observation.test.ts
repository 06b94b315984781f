/** Whoever observes an allocator is told of each end once, whichever way it comes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type Span } from "../../src/index.ts";
import type { Address } from "../../src/ffi/contract.ts";
import { spanAccess } from "../../src/engine/span.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";

/** Observes the allocator of a span, and returns what is told from then on. */
function observe(span: Span): (Address | undefined)[] {
  const told: (Address | undefined)[] = [];
  spanAccess.block(span).owner.observe({ ended: (rx) => told.push(rx) });
  return told;
}

/** Each way to end one allocation. */
const endings: Readonly<Record<string, (allocator: JitAllocator, span: Span) => void>> = {
  "its span is released": (_allocator, span) => span.release(),
  "the allocator releases its span": (allocator, span) => allocator.release(span),
  "its address is released": (allocator, span) => allocator.release(span.rx),
  "it is shrunk to nothing": (_allocator, span) => span.shrink(0),
  "its address is shrunk to nothing": (allocator, span) => allocator.shrink(span.rx, 0),
  "its using block ends": (_allocator, span) => span[Symbol.dispose](),
};

for (const sharing of ["not shared", "shared", "shared when it is observed already"]) {
  describe(`an observer of an allocator, ${sharing}`, () => {
    function makeAllocator(): { allocator: JitAllocator; told: (Address | undefined)[] } {
      const allocator = new JitAllocator({}, new SimulatedMemory());
      if (sharing === "shared") allocator.share();
      const told = observe(allocator.alloc(64));
      if (sharing === "shared when it is observed already") allocator.share();
      return { allocator, told };
    }

    for (const [how, end] of Object.entries(endings)) {
      test(`is told when ${how}`, () => {
        const { allocator, told } = makeAllocator();
        const spans = Array.from({ length: 40 }, () => allocator.alloc(64));
        for (const span of spans) end(allocator, span);
        assert.deepEqual(
          told,
          spans.map(({ rx }) => rx),
        );
      });
    }

    test("is told of the spans of a module, of a reset and of the disposal", () => {
      const { allocator, told } = makeAllocator();
      const builder = allocator.module();
      const parts = [builder.code(64), builder.data(64)];
      const loaded = builder.commit();
      loaded.release();
      assert.deepEqual(
        told.splice(0),
        parts.map(({ rx }) => rx),
      );
      allocator.reset();
      allocator.dispose();
      assert.deepEqual(told, [undefined, undefined]);
    });

    test("is told nothing of what ends nothing", () => {
      const { allocator, told } = makeAllocator();
      const span = allocator.alloc(256);
      span.shrink(64);
      span.release();
      told.length = 0;
      throwsJitError("ERR_RELEASED", () => span.release());
      throwsJitError("ERR_NOT_ALLOCATED", () => allocator.release(span.rx));
      throwsJitError("ERR_RELEASED", () => span.shrink(0));
      span[Symbol.dispose]();
      assert.deepEqual(told, []);
    });

    test("is one of several", () => {
      const { allocator, told } = makeAllocator();
      const span = allocator.alloc(64);
      const other = observe(span);
      const { rx } = span;
      span.release();
      assert.deepEqual([told, other], [[rx], [rx]]);
    });
  });
}

test("an observer is told when all that a thread has made is released", () => {
  const allocator = new JitAllocator({}, new SimulatedMemory());
  allocator.share();
  const told = observe(allocator.alloc(64));
  allocator.releaseAllOf(allocator.memberId);
  assert.deepEqual(told, [undefined]);
});
