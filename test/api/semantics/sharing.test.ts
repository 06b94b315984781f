/** Sharing an allocator, in one thread: what the handle and the members are, and what is refused. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type SharedAllocator, type Span, type SpanToken } from "../../../src/index.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { Fate, memoryOf } from "../../support/mortal-thread.ts";
import { attachOn } from "../../support/attach.ts";

function make(): { allocator: JitAllocator; attach: (handle: SharedAllocator) => JitAllocator } {
  const memory = memoryOf(new SimulatedMemory(), new Fate(() => assert.fail("nobody dies")));
  return {
    allocator: new JitAllocator({}, memory),
    attach: (handle) => attachOn(handle, memory),
  };
}

/** Copies of a part of a buffer, of the whole one that cannot grow, and of one that may grow further. */
function copiesOf(buffer: SharedArrayBuffer): SharedArrayBuffer[] {
  const { byteLength, maxByteLength } = buffer;
  const part = buffer.slice(0, byteLength - 65_536);
  const shapes = [
    [part.byteLength, maxByteLength],
    [part.byteLength, part.byteLength],
    [byteLength, maxByteLength + 65_536],
    [byteLength + 65_536, maxByteLength + 65_536],
  ] as const;
  const copies = shapes.map(([length, most]) => {
    const copy = new SharedArrayBuffer(length, { maxByteLength: most });
    new Uint8Array(copy, 0, part.byteLength).set(new Uint8Array(part));
    return copy;
  });
  return [part, buffer.slice(0, 4), ...copies];
}

describe("sharing", () => {
  test("changes nothing for those who have it", () => {
    const { allocator, attach } = make();
    const span = allocator.alloc(100);
    span.write(0, Uint8Array.of(1, 2, 3));
    const address = allocator.allocAddress(3000);
    const scope = allocator.writeScope();
    const before = { ...allocator.statistics(), overheadSize: 0, overheadRatio: 0 };
    assert.equal(allocator.memberId, 0);
    assert.deepEqual(allocator.members(), []);
    const overhead = allocator.statistics().overheadSize;
    const handle = structuredClone(allocator.share());
    const sharedOverhead = allocator.statistics().overheadSize;
    assert.ok(sharedOverhead > overhead && sharedOverhead < overhead + 2 ** 17, "some of it for the threads");
    assert.deepEqual({ ...allocator.statistics(), overheadSize: 0, overheadRatio: 0 }, before);
    assert.ok(!span.isReleased && span.size === 128);
    scope.write(span, 3, Uint8Array.of(4));
    scope.flush();
    const other = attach(handle);
    assert.deepEqual([...other.query(span.rx).read(0, 4)], [1, 2, 3, 4]);
    assert.deepEqual([allocator.memberId, other.memberId], [1, 2]);
    assert.equal(other.query(address + 5).size, 3008);
    assert.deepEqual(other.options, allocator.options);
    assert.deepEqual(allocator.blocks(), other.blocks());
    other.release(span.rx);
    throwsJitError("ERR_RELEASED", () => span.release());
    span[Symbol.dispose]();
    allocator.verify();
    allocator.dispose();
  });

  test("a span that ended before is released, and not another allocator's", () => {
    for (const end of [
      (allocator: JitAllocator) => allocator.reset("hard"),
      (allocator: JitAllocator) => allocator.reset("soft"),
      (allocator: JitAllocator, span: Span) => allocator.release(span.rx),
      (allocator: JitAllocator, span: Span) => allocator.release(span),
    ]) {
      const { allocator } = make();
      const span = allocator.alloc(64);
      end(allocator, span);
      allocator.share();
      for (const use of [
        () => span.write(0, Uint8Array.of(1)),
        () => span.read(),
        () => span.release(),
        () => span.shrink(1),
        () => allocator.release(span),
      ]) {
        throwsJitError("ERR_RELEASED", use);
      }
      assert.ok(span.isReleased && span.size === 0);
      allocator.dispose();
    }
  });

  test("the end of a using block detaches who attached, and disposes for who made it", () => {
    const { allocator, attach } = make();
    const handle = allocator.share();
    const other = attach(handle);
    const span = other.alloc(64);
    other[Symbol.dispose]();
    other.detach();
    assert.ok(span.isReleased, "for this thread");
    for (const use of [() => other.alloc(64), () => other.writeScope(), () => other.share()]) {
      assert.match(throwsJitError("ERR_DISPOSED", use).message, /detached/);
    }
    assert.equal(allocator.statistics().allocationCount, 1);
    assert.deepEqual(allocator.allocationsOf(2), [span.rx]);
    assert.equal(allocator.releaseAllOf(2), 1);
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator[Symbol.dispose]();
    throwsJitError("ERR_DISPOSED", () => attach(handle));
  });

  test("numbers of threads that are done are given again, but those of what is still allocated as long as can be", () => {
    const { allocator, attach } = make();
    const handle = allocator.share();
    const keeper = attach(handle);
    const kept = keeper.allocAddress(64);
    keeper.detach();
    for (let round = 0; round < 2100; round++) {
      const other = attach(handle);
      assert.notEqual(other.memberId, keeper.memberId);
      other.release(other.allocAddress(64));
      other.detach();
    }
    assert.deepEqual(allocator.allocationsOf(keeper.memberId), [kept]);
    allocator.verify();
    const open = Array.from({ length: 1021 }, () => attach(handle));
    assert.deepEqual(allocator.allocationsOf(keeper.memberId), [kept]);
    open.push(attach(handle));
    assert.deepEqual([allocator.allocationsOf(keeper.memberId), allocator.allocationsOf(0)], [[], [kept]]);
    throwsJitError("ERR_OUT_OF_MEMORY", () => attach(handle));
    assert.equal(new Set(open.map(({ memberId }) => memberId)).size, 1022, "no number is given twice");
    allocator.dispose();
  });

  test("a handle must be one that share() gave", () => {
    const { allocator, attach } = make();
    allocator.allocAddress(2 ** 24); // so that the buffer has grown
    const handle = allocator.share();
    const bad: unknown[] = [undefined, null, 1, "jit-allocator", {}, [], allocator];
    for (const key of Object.keys(handle)) bad.push({ ...handle, [key]: undefined });
    bad.push(
      { ...handle, buffer: new SharedArrayBuffer(1 << 16) },
      { ...handle, buffer: handle.state, state: handle.buffer },
      { ...handle, state: new SharedArrayBuffer(8) },
      { ...handle, tagName: "../x" },
      { ...handle, options: { ...handle.options, granularity: 128 } },
      { ...handle, options: { ...handle.options, useMultiplePools: true } },
    );
    const other = new JitAllocator({}, new SimulatedMemory());
    const another = other.share();
    bad.push(
      { ...handle, tagName: another.tagName },
      { ...handle, state: another.state },
      { ...handle, buffer: another.buffer },
      { ...handle, options: { ...handle.options, useDualMapping: false } },
      { ...handle, options: { ...handle.options, fillUnusedMemory: true } },
      ...["buffer", "state"].flatMap((name) =>
        copiesOf(handle[name as "buffer"]).map((copy) => ({ ...handle, [name]: copy })),
      ),
      { ...handle, buffer: Object.create(SharedArrayBuffer.prototype) as unknown },
      { ...handle, state: new Proxy(handle.state, {}) },
    );
    for (const value of bad) throwsJitError("ERR_INVALID_ARGUMENT", () => attach(wrong(value)));
    assert.equal(allocator.members().length, 1, "none of them became a member");
    assert.equal(other.members().length, 1);
    other.dispose();
    allocator.dispose();
  });

  test("tokens and members must be right ones", () => {
    const { allocator } = make();
    const span = allocator.alloc(64);
    assert.equal(allocator.spanOf(span.token).rx, span.rx, "also where nobody shares it");
    const bad: unknown[] = [
      undefined,
      null,
      5,
      {},
      { rx: span.rx },
      { rx: -1, generation: 1 },
      { rx: "a", generation: 2 },
    ];
    const look = (value: unknown): void =>
      void throwsJitError(["ERR_INVALID_ARGUMENT", "ERR_RELEASED"], () =>
        allocator.spanOf(wrong<SpanToken>(value)),
      );
    bad.forEach(look);
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.detach());
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.allocationsOf(0));
    allocator.share();
    bad.forEach(look);
    for (const id of [-1, 2, 1024, 1.5, NaN, "1", null]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.releaseAllOf(wrong(id)));
    }
    assert.ok(!span.isReleased);
    allocator.dispose();
  });

  test("what may become huge is shared like the rest, and no more is kept of it than can be", () => {
    const memory = memoryOf(new SimulatedMemory(), new Fate(() => assert.fail("nobody dies")));
    for (const useMultiplePools of [false, true]) {
      const allocator = new JitAllocator(
        { useRange: false, maxReservedSize: 2 ** 45, useMultiplePools },
        memory,
      );
      const handle = allocator.share();
      assert.ok(handle.state.byteLength < 64 * 2 ** 20);
      attachOn(handle, memory).alloc(64);
      allocator.dispose();
    }
  });

  test("where the system has no room for it, nothing has changed", () => {
    const { allocator } = make();
    const span = allocator.alloc(64);
    const own = Object.getOwnPropertyDescriptor(globalThis, "SharedArrayBuffer");
    assert.ok(own);
    const refuse = function (): never {
      throw new RangeError("Array buffer allocation failed");
    };
    Object.defineProperty(globalThis, "SharedArrayBuffer", { ...own, value: refuse });
    try {
      const error = throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.share());
      assert.match(error.message, /Cannot share an allocator: .* maxReservedSize/);
    } finally {
      Object.defineProperty(globalThis, "SharedArrayBuffer", own);
    }
    assert.equal(allocator.memberId, 0);
    span.release();
    allocator.share();
    allocator.dispose();
  });

  test("blocks that have grown to large pages of 512 MiB are attached to", () => {
    const memory = memoryOf(
      new SimulatedMemory({ pageSize: 65536, largePageSize: 2 ** 29 }),
      new Fate(() => assert.fail("nobody dies")),
    );
    const allocator = new JitAllocator({ alignBlockSizeToLargePage: true }, memory);
    const other = attachOn(allocator.share(), memory);
    assert.equal(other.blockSize, 2 ** 29);
    assert.deepEqual(other.options, allocator.options);
    throwsJitError("ERR_INVALID_ARGUMENT", () => new JitAllocator({ blockSize: 2 ** 29 }, memory));
    allocator.dispose();
  });

  test("the buffer of one that was shared is never used again, that of another is", () => {
    const bufferOf = (allocator: JitAllocator): SharedArrayBuffer => {
      const { buffer } = allocator.share();
      allocator.dispose();
      return buffer;
    };
    new JitAllocator({}, new SimulatedMemory()).dispose();
    const [first, second] = [make(), make()].map(({ allocator }) => bufferOf(allocator));
    assert.notEqual(first, second);
    const { allocator, attach } = make();
    const handle = allocator.share();
    attach(handle).dispose(); // by the thread that has attached
    allocator.dispose();
    assert.notEqual(bufferOf(make().allocator), handle.buffer);
  });
});
