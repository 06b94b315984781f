/** What a thread releases while it is in the middle of machine code itself, below a callback. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, toPointer, type JitAllocatorOptions, type Span } from "../../src/index.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Caller } from "../../src/api/caller.ts";
import * as machineCode from "../support/native-code.ts";
import { needs } from "../support/requirements.ts";

const none = { parameters: [], result: "i32" } as const;

function add(allocator: JitAllocator, code: Uint8Array): Span {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
}

/**
 * Calls code that calls back, does `act` there with the span of that code, and overwrites all memory that is free with zeros;
 * the code then still returns one more than the callback does.
 */
function below(
  options: JitAllocatorOptions,
  act: (allocator: JitAllocator, running: Span) => void,
): JitAllocator {
  const allocator = new JitAllocator({ maxReservedSize: 65_536, useRange: false, ...options });
  using callback = toPointer(() => {
    act(allocator, span);
    for (const other of fillWithZeros(allocator)) other.release();
    return 41;
  }, none);
  const span: Span = add(allocator, machineCode.callAndAddOne(callback.address));
  const call = toFunction(span, none);
  assert.equal(call(), 42, "the code ran to its end");
  throwsJitError("ERR_RELEASED", call);
  return allocator;
}

function fillWithZeros(allocator: JitAllocator): Span[] {
  const spans: Span[] = [];
  try {
    for (;;) {
      const span = allocator.alloc(64);
      span.write(0, new Uint8Array(64));
      spans.push(span);
    }
  } catch (error) {
    assert.ok(["ERR_OUT_OF_MEMORY", "ERR_DISPOSED"].includes(String((error as { code?: unknown }).code)));
  }
  return spans;
}

const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { fillUnusedMemory: true, immediateRelease: true },
];

describe("below a callback", { skip: needs("machineCode") }, () => {
  for (const options of CONFIGURATIONS) {
    for (const isShared of [false, true]) {
      const title = `${isShared ? "shared" : "unshared"}, ${JSON.stringify(options)}`;
      const run = (act: (allocator: JitAllocator, running: Span) => void): JitAllocator =>
        below(options, (allocator, running) => {
          if (isShared) allocator.share();
          act(allocator, running);
        });

      test(`a release of what runs ends it at once, and keeps its memory until the call has returned; ${title}`, () => {
        const acts: ((allocator: JitAllocator, running: Span) => void)[] = [
          (_, running) => running.release(),
          (_, running) => running.retire(),
          (_, running) => running.shrink(0),
          (_, running) => running[Symbol.dispose](),
          (allocator, running) => allocator.release(running.rx),
          (allocator, running) => allocator.retire(running),
          (allocator, running) => allocator.query(running.rx).release(),
          (allocator, running) => {
            const { token } = running;
            allocator.spanOf(token).release();
            throwsJitError("ERR_RELEASED", () => allocator.spanOf(token));
          },
        ];
        for (const act of acts) {
          const allocator = run((own, running) => {
            const other = own.query(running.rx);
            act(own, running);
            assert.ok(running.isReleased && other.isReleased);
            assert.equal(own.statistics().retiredSize, 64);
            throwsJitError("ERR_NOT_ALLOCATED", () => own.release(running.rx));
            throwsJitError("ERR_NOT_ALLOCATED", () => own.query(running.rx));
            throwsJitError("ERR_NOT_ALLOCATED", () => own.queryAddress(running.rx));
            own.verify();
          });
          assert.equal(allocator.statistics().retiredSize, 0);
          assert.equal(allocator.statistics().allocationCount, 0);
          allocator.verify();
          allocator.dispose();
        }
      });

      test(`reset and dispose too; ${title}`, () => {
        for (const policy of ["soft", "hard"] as const) {
          const allocator = run((own, running) => {
            const [token] = [running.token];
            const another = own.alloc(100);
            own.reset(policy);
            assert.ok(running.isReleased && another.isReleased);
            throwsJitError("ERR_RELEASED", () => own.spanOf(token));
            assert.equal(own.statistics().allocationCount, 0);
            own.verify();
          });
          assert.equal(allocator.statistics().retiredSize, 0);
          allocator.verify();
          allocator.reset("hard");
          assert.equal(allocator.statistics().reservedSize, 0);
          allocator.dispose();
        }
        const allocator = run((own, running) => {
          own.dispose();
          assert.ok(running.isReleased);
          throwsJitError("ERR_DISPOSED", () => own.alloc(64));
        });
        throwsJitError("ERR_DISPOSED", () => allocator.alloc(64));
        assert.equal(allocator.statistics().reservedSize, 0, "that operation has unmapped it");
        allocator.dispose();
      });
    }

    test(`what waits when the allocator is shared, waits there; ${JSON.stringify(options)}`, () => {
      const allocator = below(options, (own, running) => {
        running.release();
        own.share();
        assert.equal(own.statistics().retiredSize, 64);
        own.verify();
      });
      assert.equal(allocator.statistics().retiredSize, 0);
      allocator.verify();
      allocator.dispose();
    });
  }

  test("a module goes whole, and what was released outside of code is free at once", () => {
    using allocator = new JitAllocator();
    let sizes: number[] = [];
    using callback = toPointer(() => {
      loaded.release();
      sizes = [allocator.statistics().retiredSize, allocator.statistics().allocationCount];
      return 1;
    }, none);
    const builder = allocator.module();
    builder.code(machineCode.callAndAddOne(callback.address));
    builder.data(64);
    const loaded = builder.commit();
    const [code] = loaded.spans;
    assert.ok(code);
    assert.equal(toFunction(code, none)(), 2);
    assert.deepEqual(sizes, [128, 0]);
    assert.equal(allocator.statistics().usedSize > 0, true);
    assert.equal(allocator.statistics().retiredSize, 0);
    const rx = allocator.allocAddress(64);
    allocator.release(rx);
    assert.equal(allocator.allocAddress(64), rx);
  });

  test("enter and leave hold what is released in between", () => {
    using allocator = new JitAllocator();
    const [first, second] = [allocator.allocAddress(64), allocator.alloc(64)];
    allocator.enter();
    allocator.release(first);
    second.release();
    assert.equal(allocator.statistics().retiredSize, 128);
    assert.notEqual(allocator.allocAddress(64), first);
    allocator.leave();
    assert.equal(allocator.statistics().retiredSize, 0);
    allocator.verify();
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.leave());
  });
});

describe("a call of code that other threads may release", { skip: needs("machineCode") }, () => {
  test("enters before it looks whether the code is live, and leaves when it has returned", () => {
    using allocator = new JitAllocator();
    const span = add(allocator, machineCode.returnConstant(7));
    const seen: string[] = [];
    const door = { enter: () => void seen.push("enter"), leave: () => void seen.push("leave") };
    const checkLive = (): number => {
      seen.push("check");
      if (seen.length > 4) throw new Error("ended");
      return NaN;
    };
    const caller = new Caller(none, checkLive, () => door);
    const call = caller.functionOf(span, { releaseCount: NaN }, span.rx);
    assert.equal(call(), 7);
    assert.throws(call, /ended/);
    assert.deepEqual(seen, ["enter", "check", "leave", "enter", "check", "leave"]);
  });

  test("leaves also where it throws, or a callback below it does", () => {
    using allocator = new JitAllocator();
    allocator.share();
    const failure = new Error("on purpose");
    using callback = toPointer(() => {
      throw failure;
    }, none);
    const span = add(allocator, machineCode.callAndAddOne(callback.address));
    const call = toFunction(span, none);
    assert.throws(call, failure);
    const rx = allocator.allocAddress(64);
    allocator.release(rx);
    assert.equal(allocator.statistics().retiredSize, 0);
    span.release();
    throwsJitError("ERR_RELEASED", call);
    allocator.release(allocator.allocAddress(64));
    assert.equal(allocator.statistics().retiredSize, 0, "this thread is outside");
  });
});
