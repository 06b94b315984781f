/** Releases below a callback: what is released may be running, so it ends at once, and its memory waits. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  JitAllocator,
  toFunction,
  toPointer,
  VirtMem,
  type JitAllocatorOptions,
  type Span,
} from "../../src/index.ts";
import { beginCallback, endCallback, throwAfterCall } from "../../src/link/signals.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { below } from "../support/below.ts";
import { throwsJitError } from "../support/expectations.ts";
import * as machineCode from "../support/native-code.ts";
import { needs } from "../support/requirements.ts";

const nothing = { parameters: [], result: "i32" } as const;

/** What shows soonest that code was freed: free memory is filled with traps, empty blocks are unmapped. */
const harsh: JitAllocatorOptions = { fillUnusedMemory: true, immediateRelease: true };

/** Memory that is written over at once if it is handed out. */
function overwrite(allocator: JitAllocator): Span[] {
  return Array.from({ length: 2000 }, () => {
    const span = allocator.alloc(64);
    span.write(0, new Uint8Array(64).fill(0xcc));
    return span;
  });
}

/**
 * Runs code that calls back and returns one more than that gave. `act` is called below it with the span of that code.
 * Returns what the code returned.
 */
function runWith(allocator: JitAllocator, act: (running: Span) => number): number {
  const code = machineCode.callAndAddOne(0);
  const running = allocator.alloc(code.length);
  using callback = toPointer(() => act(running), nothing);
  running.write(0, machineCode.callAndAddOne(callback.address));
  return toFunction(running, nothing)();
}

describe("below a callback", { skip: needs("machineCode") }, () => {
  const ways: readonly (readonly [string, (allocator: JitAllocator, running: Span) => void])[] = [
    ["release()", (_, running) => running.release()],
    ["the end of a using block", (_, running) => running[Symbol.dispose]()],
    ["a release by address", (allocator, running) => allocator.release(running.rx)],
    ["a release through another span", (allocator, running) => allocator.query(running.rx).release()],
    ["a shrink to nothing", (_, running) => running.shrink(0)],
    ["a soft reset", (allocator) => allocator.reset("soft")],
    ["a hard reset", (allocator) => allocator.reset("hard")],
  ];
  for (const [name, release] of ways) {
    for (const options of [{}, harsh]) {
      test(`${name} ends a span that runs, and frees it behind the call (${JSON.stringify(options)})`, () => {
        using allocator = new JitAllocator(options);
        const made: Span[] = [];
        let address = 0;
        const result = runWith(allocator, (running) => {
          address = running.rx;
          const token = running.token;
          release(allocator, running);
          assert.equal(running.isReleased, true);
          assert.equal(running.size, 0);
          throwsJitError("ERR_RELEASED", () => running.release());
          throwsJitError("ERR_RELEASED", () => running.read());
          throwsJitError("ERR_RELEASED", () => toFunction(running, nothing)());
          throwsJitError("ERR_RELEASED", () => allocator.spanOf(token));
          throwsJitError("ERR_NOT_ALLOCATED", () => allocator.release(address));
          throwsJitError("ERR_NOT_ALLOCATED", () => allocator.shrink(address, 1));
          throwsJitError("ERR_NOT_ALLOCATED", () => allocator.query(address));
          throwsJitError("ERR_NOT_ALLOCATED", () => allocator.query(address + 1));
          made.push(...overwrite(allocator));
          allocator.verify();
          return 41;
        });
        assert.equal(result, 42);
        assert.ok(made.every((span) => !span.isReleased && span.rx !== address));
        assert.equal(allocator.statistics().allocationCount, made.length);
        for (const span of made) span.release();
        assert.equal(allocator.statistics().allocationCount, 0);
        allocator.verify();
        // The memory is handed out again, and released as ever.
        const again = allocator.alloc(64);
        again.release();
        assert.equal(again.isReleased, true);
      });
    }
  }

  test("a module that runs ends at once, all of it, and is freed behind the call", () => {
    using allocator = new JitAllocator(harsh);
    using callback = toPointer(() => {
      loaded.release();
      assert.ok(loaded.isReleased && loaded.spans.every((span) => span.isReleased));
      throwsJitError("ERR_RELEASED", () => loaded.release());
      overwrite(allocator).forEach((span) => {
        span.release();
      });
      return 41;
    }, nothing);
    const builder = allocator.module();
    const entry = builder.code(machineCode.callAndAddOne(0).length);
    builder.data(8);
    builder.constants(Uint8Array.of(1));
    entry.bytes.set(machineCode.callAndAddOne(builder.veneer(callback.address)));
    const loaded = builder.commit();
    assert.equal(toFunction(allocator.query(entry.rx), nothing)(), 42);
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  });

  for (const options of [{}, harsh, { useRange: false }]) {
    test(`dispose ends everything at once, and the call returns (${JSON.stringify(options)})`, () => {
      const allocator = new JitAllocator(options);
      const other = allocator.alloc(64);
      const result = runWith(allocator, (running) => {
        allocator.dispose();
        allocator.dispose();
        assert.ok(running.isReleased && other.isReleased);
        throwsJitError("ERR_RELEASED", () => running.read());
        throwsJitError("ERR_DISPOSED", () => allocator.alloc(64));
        throwsJitError("ERR_DISPOSED", () => allocator.query(running.rx));
        throwsJitError("ERR_DISPOSED", () => allocator.release(other.rx));
        throwsJitError("ERR_DISPOSED", () => allocator.reset());
        // What another allocator maps meanwhile lies elsewhere.
        using another = new JitAllocator();
        overwrite(another);
        return 41;
      });
      assert.equal(result, 42);
      const { blockCount, reservedSize } = allocator.statistics();
      assert.deepEqual({ blockCount, reservedSize }, { blockCount: 0, reservedSize: 0 });
    });
  }

  test("a hard reset leaves no block that nobody uses", () => {
    using allocator = new JitAllocator();
    runWith(allocator, () => {
      allocator.reset("hard");
      return 0;
    });
    assert.equal(allocator.statistics().blockCount, 0);
    runWith(allocator, () => {
      allocator.reset("soft");
      return 0;
    });
    assert.equal(allocator.statistics().blockCount, 1);
  });

  test("the outermost call is waited for, also where it throws", () => {
    using allocator = new JitAllocator(harsh);
    const inner = allocator.alloc(16);
    inner.write(0, machineCode.returnConstant(7));
    const callInner = toFunction(inner, nothing);
    let waiting = -1;
    const failure = new Error("from the callback");
    assert.throws(
      () =>
        runWith(allocator, (running) => {
          running.release();
          // A call that begins and ends below the callback is not the one that matters.
          assert.equal(callInner(), 7);
          waiting = allocator.statistics().retiredSize;
          throw failure;
        }),
      failure,
    );
    assert.ok(waiting > 0);
    const { allocationCount, retiredSize } = allocator.statistics();
    assert.deepEqual({ allocationCount, retiredSize }, { allocationCount: 1, retiredSize: 0 });
  });

  test("a span released outside of callbacks is free at once, as ever", () => {
    using allocator = new JitAllocator();
    runWith(allocator, () => 0);
    const counted = allocator.statistics().allocationCount;
    const span = allocator.alloc(64);
    const { rx } = span;
    span.release();
    assert.equal(allocator.statistics().allocationCount, counted);
    assert.equal(allocator.alloc(64).rx, rx);
  });

  for (const isShared of [false, true]) {
    test(`a program that compiles below callbacks alone gets its memory back (shared: ${isShared})`, () => {
      using allocator = new JitAllocator({ maxReservedSize: 1 << 20 });
      if (isShared) allocator.share();
      let latest: Span | undefined;
      using callback = toPointer(() => {
        latest?.release();
        latest = allocator.alloc(50_000);
        return 0;
      }, nothing);
      const code = machineCode.callAndAddOne(callback.address);
      const span = allocator.alloc(code.length);
      span.write(0, code);
      const compile = toFunction(span, nothing);
      for (let i = 0; i < 50; i++) compile();
      assert.equal(latest?.isReleased, false);
      allocator.verify();
    });
  }

  test("a reset outside of callbacks does not free again what a call left behind", () => {
    using allocator = new JitAllocator();
    runWith(allocator, (running) => {
      running.release();
      return 0;
    });
    allocator.reset();
    const spans = overwrite(allocator);
    assert.equal(
      runWith(allocator, () => 1),
      2,
    );
    assert.ok(spans.every((span) => !span.isReleased));
    allocator.verify();
  });
});

describe("behind the call", () => {
  const waiting = (allocator: JitAllocator): number => allocator.statistics().retiredSize;

  test("what a callback releases waits for the call, and not for the end of the callback", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const [first, second] = [allocator.alloc(64), allocator.alloc(64)];
    below(() => {
      first.release();
    });
    below(() => {
      assert.equal(waiting(allocator), 64, "the same call runs");
      second.release();
      below(throwAfterCall);
      assert.equal(waiting(allocator), 128, "a call below it has returned");
    });
    throwAfterCall();
    below(() => {
      assert.equal(waiting(allocator), 0, "another call runs");
    });
    allocator.dispose();
  });

  test("what is released between enter and leave waits for leave, and for no call", () => {
    const allocator = new JitAllocator({ maxReservedSize: 1 << 20 }, new SimulatedMemory());
    let latest: Span | undefined;
    for (let i = 0; i < 50; i++) {
      allocator.enter();
      latest?.release();
      below(throwAfterCall);
      throwAfterCall();
      assert.equal(waiting(allocator), i === 0 ? 0 : 50_048);
      latest = allocator.alloc(50_000);
      allocator.leave();
    }
    allocator.dispose();
  });

  test("a program that leaves below a callback is outside when the call has returned", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    const [first, second] = [allocator.alloc(64), allocator.alloc(64)];
    allocator.enter();
    first.release();
    below(() => {
      allocator.leave();
      assert.equal(waiting(allocator), 64);
    });
    below(() => {
      assert.equal(waiting(allocator), 64);
      allocator.enter();
      allocator.leave();
      second.release();
      assert.equal(waiting(allocator), 128);
    });
    throwAfterCall();
    below(() => {
      assert.equal(waiting(allocator), 0);
    });
    allocator.dispose();
  });

  test("trim frees what waited", () => {
    using allocator = new JitAllocator({ fillUnusedMemory: true });
    const span = allocator.alloc(1 << 20);
    span.write(0, new Uint8Array(1 << 20).fill(1));
    allocator.alloc(64);
    allocator.enter();
    const { rx } = span;
    span.release();
    allocator.leave();
    assert.deepEqual(VirtMem.read(rx, 2), Uint8Array.of(1, 1));
    allocator.trim();
    assert.notDeepEqual(VirtMem.read(rx, 2), Uint8Array.of(1, 1), "filled, or given back");
  });

  test("a disposal below a callback leaves a structure that verify finds whole", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory({ hasRanges: true }));
    const spans = [allocator.alloc(64), allocator.alloc(100_000)];
    below(() => {
      allocator.dispose();
      allocator.verify();
      assert.ok(spans.every((span) => span.isReleased));
    });
    allocator.verify();
    assert.equal(allocator.statistics().blockCount, 0);
  });

  test("a disposal that waits is finished below another call", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    const allocator = new JitAllocator({}, memory);
    allocator.alloc(64);
    below(() => {
      allocator.dispose();
    });
    throwAfterCall();
    below(() => {
      assert.equal(allocator.statistics().blockCount, 0);
    });
    assert.deepEqual(memory.ranges?.all, []);
  });

  test("a hard reset keeps the reserve as long as a block is in use", () => {
    const reserveForMustSucceed = 1 << 20;
    const allocator = new JitAllocator({ reserveForMustSucceed }, new SimulatedMemory());
    allocator.alloc(64);
    below(() => {
      allocator.reset("hard");
      allocator.alloc(64);
    });
    const pools = allocator.statistics({ detail: true }).byPool.filter(({ blockCount }) => blockCount > 0);
    assert.deepEqual(pools.map(({ isReserve }) => isReserve).sort(), [false, true]);
    below(() => {
      allocator.reset("hard");
    });
    assert.equal(allocator.statistics().blockCount, 0);
    allocator.verify();
    allocator.dispose();
  });

  test("a reset outside is the last word", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    allocator.alloc(64);
    below(() => {
      allocator.reset("hard");
    });
    allocator.reset("soft");
    assert.equal(allocator.statistics().blockCount, 1);
    allocator.dispose();
  });

  test("what the system refuses to unmap stays, and goes behind a later call; nothing else is disturbed", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    const allocator = new JitAllocator({ immediateRelease: true }, memory);
    const span = allocator.alloc(64);
    const other = allocator.alloc(100_000);
    const outer = beginCallback();
    span.release();
    assert.ok(span.isReleased && !other.isReleased);
    assert.equal(allocator.statistics().blockCount, 2);
    endCallback(outer);
    memory.failAfter("decommit", 0, "ERR_PERMISSION");
    assert.equal(allocator.statistics().blockCount, 2);
    allocator.verify();
    assert.equal(allocator.statistics().blockCount, 1);
    assert.equal(other.isReleased, false);
    allocator.verify();
    allocator.dispose();
  });

  test("a disposal gives the range back as well, behind the call", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    const allocator = new JitAllocator({}, memory);
    allocator.alloc(64);
    const outer = beginCallback();
    allocator.dispose();
    assert.equal(memory.ranges?.all.length, 1);
    endCallback(outer);
    assert.equal(allocator.statistics().blockCount, 0); // the next operation finishes the disposal
    assert.deepEqual(memory.ranges.all, []);
  });

  test("a block that a hard reset cannot unmap goes behind a later call", () => {
    const memory = new SimulatedMemory({ hasRanges: true });
    const allocator = new JitAllocator({}, memory);
    allocator.alloc(64);
    const outer = beginCallback();
    allocator.reset("hard");
    endCallback(outer);
    memory.failAfter("decommit", 0, "ERR_PERMISSION");
    assert.equal(allocator.statistics().blockCount, 1);
    assert.equal(allocator.statistics().blockCount, 0);
    allocator.verify();
    allocator.dispose();
  });
});
