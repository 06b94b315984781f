/** Modules: addresses first, bytes later, all or nothing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, type JitAllocatorOptions, type SpanKind } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { observe, throwsJitError, wrong } from "../support/expectations.ts";
import { Fate, memoryOf } from "../support/mortal-thread.ts";
import { needs } from "../support/requirements.ts";
import { someBytes } from "../support/rows.ts";
import { attachOn } from "../support/attach.ts";

const KINDS: readonly SpanKind[] = ["code", "constants", "data"];
const FAR = 0x1234_5678_9ab0;

function make(options: JitAllocatorOptions = {}): [JitAllocator, SimulatedMemory] {
  const memory = new SimulatedMemory({ hasRanges: true });
  return [new JitAllocator(options, memory), memory];
}

/** What there is, but for the metadata: lists of free runs may have grown. */
function figures(allocator: JitAllocator): unknown {
  const { statistics, blocks } = observe(allocator);
  return { ...(statistics as object), overheadSize: 0, overheadRatio: 0, blocks };
}

describe("a module", () => {
  test("has its addresses first, and its bytes with the commit", () => {
    const [allocator, memory] = make();
    using builder = allocator.module();
    const parts = Array.from({ length: 30 }, (_, index) => {
      const add = KINDS[index % 3] ?? "code";
      return index % 2 === 0 ? builder[add](100 + index) : builder[add](someBytes(100 + index, index));
    });
    const veneer = builder.veneer(FAR);
    parts.forEach(({ bytes, size, rx }, index) => {
      assert.equal(size, 100 + index);
      assert.deepEqual(bytes, index % 2 === 0 ? new Uint8Array(size) : someBytes(size, index));
      assert.ok(memory.read(rx, size).every((byte) => byte === 0));
      bytes.set(someBytes(size, index));
    });
    const flushes = memory.calls.flushInstructionCache;
    const loaded = builder.commit();
    assert.ok(memory.calls.flushInstructionCache - flushes <= 1, "one flush");
    parts.forEach(({ rx, size }, index) => assert.deepEqual(memory.read(rx, size), someBytes(size, index)));
    assert.deepEqual(
      loaded.spans.map(({ rx, kind }) => [rx, kind]),
      parts.map(({ rx }, index) => [rx, KINDS[index % 3]]),
    );
    assert.equal(allocator.statistics().allocationCount, 31);
    throwsJitError("ERR_DISPOSED", () => builder.commit());
    throwsJitError("ERR_DISPOSED", () => builder.code(1));
    throwsJitError("ERR_DISPOSED", () => builder.veneer(1));
    builder[Symbol.dispose]();
    assert.ok(!loaded.isReleased, "the disposal of a builder that has committed does nothing");
    assert.equal(allocator.query(veneer).rx, veneer);
    loaded.release();
    assert.deepEqual(
      [loaded, ...loaded.spans].filter((each) => !each.isReleased),
      [],
    );
    assert.equal(allocator.statistics().allocationCount, 0);
    throwsJitError("ERR_RELEASED", () => loaded.release());
    loaded[Symbol.dispose]();
    allocator.verify();
  });

  test("names its spans", () => {
    const [allocator] = make();
    const builder = allocator.module();
    builder.code(64, { name: "entry" });
    throwsJitError("ERR_INVALID_ARGUMENT", () => builder.code(64, wrong({ name: 4 })));
    throwsJitError("ERR_INVALID_ARGUMENT", () => builder.code(64, wrong(null)));
    assert.equal(builder.commit().spans.length, 1);
  });

  test("without parts is one", () => {
    const [allocator] = make();
    const loaded = allocator.module().commit();
    assert.deepEqual(loaded.spans, []);
    assert.equal(loaded.isReleased, false);
    loaded.release();
    assert.equal(loaded.isReleased, true);
  });

  test("its veneers are counted with all others", () => {
    const [allocator] = make();
    const mine = allocator.veneer(FAR);
    const builder = allocator.module();
    assert.equal(builder.veneer(FAR), mine.rx);
    assert.equal(builder.veneer(FAR), mine.rx);
    const loaded = builder.commit();
    mine.release();
    assert.equal(allocator.query(loaded.spans[0]?.rx ?? mine.rx).rx, mine.rx);
    loaded.release();
    throwsJitError("ERR_NOT_ALLOCATED", () => allocator.query(mine.rx));
  });
});

describe("a module that comes to nothing leaves nothing", () => {
  const parts = [100, 70_000, 200, 300_000] as const;

  test("a throw before the commit, a part too large, no room", () => {
    for (const size of [0, -1, NaN, 0.5, 2 ** 31, 600 * 1024, "64", null, [1]]) {
      const [allocator] = make({ maxReservedSize: 1024 * 1024, immediateRelease: true });
      const span = allocator.alloc(64);
      const before = figures(allocator);
      assert.throws(() => {
        using builder = allocator.module();
        for (const part of parts) for (const kind of ["code", "data"] as const) builder[kind](part / 2);
        builder.veneer(FAR);
        builder.constants(wrong(size));
        assert.fail("there was room for this");
      }, /Cannot/);
      assert.deepEqual(figures(allocator), before);
      span.release();
    }
  });

  test("each call of the system that fails, at each position", () => {
    for (const refusesViews of [false, true]) {
      for (let successes = 0; ; successes++) {
        const memory = new SimulatedMemory({ hasRanges: true, refusesViews });
        const allocator = new JitAllocator({ immediateRelease: true, fillUnusedMemory: true }, memory);
        const span = allocator.alloc(64);
        const before = figures(allocator);
        memory.failAfter("any", successes, "ERR_PERMISSION");
        const build = (): number => {
          using builder = allocator.module();
          for (const [index, part] of parts.entries()) builder[KINDS[index % 3] ?? "code"](part);
          builder.veneer(FAR);
          return builder.commit().spans.length;
        };
        let isDone = false;
        try {
          isDone = build() === parts.length;
        } catch {
          // The fault may have been in the disposal too, and what it left is released by the next one.
        }
        const isOver = memory.clearFaults() > 0;
        if (!isDone) assert.deepEqual(figures(allocator), before, `after ${successes} calls`);
        span.release();
        allocator.reset("hard");
        allocator.dispose();
        assert.deepEqual(memory.mappings, []);
        if (isOver) break;
        assert.ok(successes < 500);
      }
    }
  });

  test("a part that was released before the commit", () => {
    const [allocator] = make();
    const builder = allocator.module();
    builder.code(64);
    allocator.release(builder.data(64).rx);
    throwsJitError("ERR_RELEASED", () => builder.commit());
    assert.equal(allocator.statistics().allocationCount, 0);
    throwsJitError("ERR_DISPOSED", () => builder.code(64));
    allocator.verify();
  });

  test("a reset, or the disposal of the allocator, ends the builder's parts", () => {
    const [allocator] = make();
    const builder = allocator.module();
    builder.code(64);
    allocator.reset();
    throwsJitError("ERR_RELEASED", () => builder.commit());
    const another = allocator.module();
    another.code(64);
    allocator.dispose();
    throwsJitError("ERR_DISPOSED", () => another.data(64));
    throwsJitError("ERR_DISPOSED", () => another.commit());
    another[Symbol.dispose]();
    throwsJitError("ERR_DISPOSED", () => allocator.module());
  });
});

describe("the release of a module", () => {
  test("takes all spans or none where the system refuses to unmap a block", () => {
    for (const immediateRelease of [false, true]) {
      const [allocator, memory] = make({ immediateRelease });
      const builder = allocator.module();
      for (const kind of KINDS) for (const size of [100, 90_000, 200_000]) builder[kind](size);
      const loaded = builder.commit();
      const before = figures(allocator);
      memory.failAfter("decommit", 0, "ERR_PERMISSION");
      throwsJitError("ERR_PERMISSION", () => loaded.release());
      assert.deepEqual(figures(allocator), before);
      assert.ok(loaded.spans.every((span) => !span.isReleased));
      loaded.release();
      assert.equal(allocator.statistics().allocationCount, 0);
      assert.equal(allocator.statistics().blockCount, immediateRelease ? 0 : 3);
      allocator.verify();
    }
  });

  test("keeps one empty block a pool, and no more", () => {
    const [allocator] = make();
    const builder = allocator.module();
    for (let count = 0; count < 20; count++) builder.code(60_000);
    const kept = allocator.alloc(64, { kind: "data" });
    builder.commit().release();
    assert.equal(allocator.blocks().filter(({ kind }) => kind === "code").length, 1);
    assert.equal(kept.isReleased, false);
    allocator.verify();
  });

  test("leaves spans alone that have ended already", () => {
    const [allocator] = make();
    const builder = allocator.module();
    for (const kind of KINDS) builder[kind](64);
    const loaded = builder.commit();
    const [first] = loaded.spans;
    first?.release();
    const again = allocator.alloc(64);
    assert.equal(again.rx, first?.rx);
    loaded.release();
    assert.equal(again.isReleased, false);
    assert.equal(allocator.statistics().allocationCount, 1);
  });

  test("works in a shared allocator, from each thread", () => {
    const machine = new SimulatedMemory({ hasRanges: true });
    const memory = memoryOf(machine, new Fate(() => assert.fail("this thread does not die")));
    const allocator = new JitAllocator({}, memory);
    const other = attachOn(allocator.share(), memory);
    for (const each of [allocator, other]) {
      const builder = each.module();
      const part = builder.data(someBytes(1000));
      const loaded = builder.commit();
      assert.deepEqual(allocator.query(part.rx).read(0, 1000), someBytes(1000));
      loaded.release();
    }
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  });
});

describe("a module that runs", { skip: needs("systemV") }, () => {
  test("its code reads constants and writes data relative to itself", () => {
    using allocator = new JitAllocator();
    const builder = allocator.module();
    const constants = builder.constants(Uint8Array.of(40, 0, 0, 0));
    const data = builder.data(8);
    const code = builder.code(64);
    const relative = (target: number, end: number): number[] => [
      ...new Uint8Array(Int32Array.of(target - (code.rx + end)).buffer),
    ];
    // mov eax, [rip + constants]; add eax, [rip + data]; inc dword [rip + data]; ret
    code.bytes.set([0x8b, 0x05, ...relative(constants.rx, 6)], 0);
    code.bytes.set([0x03, 0x05, ...relative(data.rx, 12)], 6);
    code.bytes.set([0xff, 0x05, ...relative(data.rx, 18), 0xc3], 12);
    const loaded = builder.commit();
    const [, counter, entry] = loaded.spans;
    assert.ok(counter && entry && platform.processor === "x64");
    const call = toFunction(entry, { parameters: [], result: "i32" });
    assert.deepEqual([call(), call(), call()], [40, 41, 42]);
    assert.equal(counter.read(0, 1)[0], 3);
    counter.write(0, Uint8Array.of(100));
    assert.equal(call(), 140);
    loaded.release();
    throwsJitError("ERR_RELEASED", () => call());
  });
});
