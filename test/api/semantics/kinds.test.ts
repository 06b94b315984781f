/** Kinds of memory: how each can be accessed, where it lies, and what cannot be done with it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, type JitAllocatorOptions, type SpanKind } from "../../../src/index.ts";
import { platform } from "../../../src/base/platform.ts";
import { SimulatedMemory } from "../../../src/vm/simulated.ts";
import { combine } from "../../support/config.ts";
import { throwsJitError, wrong } from "../../support/expectations.ts";
import { Fate, memoryOf } from "../../support/mortal-thread.ts";
import { needs } from "../../support/requirements.ts";
import { someBytes } from "../../support/rows.ts";
import { attachOn } from "../../support/attach.ts";

const KINDS: readonly SpanKind[] = ["code", "constants", "data"];
const KiB = 1024;

/** Small blocks, so that there are several. */
const AXES = {
  useDualMapping: [true, false],
  useMultiplePools: [false, true],
  fillUnusedMemory: [false, true],
  useLargePages: [false, true],
} as const;

/** `r-x`, as /proc/self/maps has it, of what a simulated machine has at an address. */
function accessAt(memory: SimulatedMemory, address: number): string {
  const found = memory.mappings.find(({ rx, sizeBytes }) => rx <= address && address < rx + sizeBytes);
  const { read, write, execute } = found?.flags ?? {};
  return `${read === true ? "r" : "-"}${write === true ? "w" : "-"}${execute === true ? "x" : "-"}`;
}

describe("alloc of a kind", () => {
  for (const hasRanges of [true, false]) {
    for (const { name, options } of combine(AXES)) {
      test(`${name}, ${hasRanges ? "in a range" : "a mapping a block"}`, () => {
        const memory = new SimulatedMemory({ hasRanges });
        const allocator = new JitAllocator(options, memory);
        const spans = Array.from({ length: 60 }, (_, index) => {
          const kind = KINDS[index % 3] ?? "code";
          return allocator.alloc(1 + 997 * index, { kind });
        });
        spans.forEach((span, index) => {
          const kind = KINDS[index % 3];
          assert.equal(span.kind, kind);
          assert.equal(allocator.query(span.rx + span.size - 1).kind, kind);
          const isSeparate = kind !== "data" && allocator.hasOption("useDualMapping");
          assert.equal(span.rx !== span.rw, isSeparate);
          const bytes = someBytes(span.size, index);
          span.write(0, bytes);
          assert.deepEqual(span.read(), bytes);
          assert.deepEqual(memory.read(span.rx, span.size), bytes, "both views have it");
        });
        const { byKind } = allocator.statistics();
        for (const [index, kind] of KINDS.entries()) {
          const ours = spans.filter((_, number) => number % 3 === index);
          const blocks = allocator.blocks().filter((block) => block.kind === kind);
          assert.equal(byKind[kind].allocationCount, 20);
          assert.equal(byKind[kind].blockCount, blocks.length);
          assert.equal(
            byKind[kind].reservedSize,
            blocks.reduce((sum, { size }) => sum + size, 0),
          );
          for (const { rx } of ours)
            assert.ok(
              blocks.some((block) => block.rx <= rx && rx < block.rx + block.size),
              "a block is of one kind",
            );
        }
        allocator.verify();
        for (const span of spans) span.release();
        allocator.verify();
        const left = new Set(allocator.blocks().map(({ kind, granularity }) => `${kind} ${granularity}`));
        assert.equal(left.size, allocator.blocks().length, "one empty block of each pool is kept");
        allocator.dispose();
        assert.deepEqual(memory.mappings, []);
        assert.deepEqual(memory.ranges?.all ?? [], []);
      });
    }
  }

  test("the access of each kind at its address", () => {
    for (const hasRanges of [true, false]) {
      const memory = new SimulatedMemory({ hasRanges });
      const allocator = new JitAllocator({}, memory);
      const [code, constants, data] = KINDS.map((kind) => accessAt(memory, allocator.alloc(64, { kind }).rx));
      // Without ranges the simulated machine says of code what was asked for: both views together.
      assert.deepEqual([code?.at(-1), constants, data], ["x", "r--", "rw-"]);
    }
  });

  test("with one view, constants and data are writable and never executable", () => {
    for (const hasRanges of [true, false]) {
      const memory = new SimulatedMemory({ hasRanges });
      const allocator = new JitAllocator({ useDualMapping: false }, memory);
      for (const kind of ["constants", "data"] as const)
        assert.equal(accessAt(memory, allocator.alloc(64, { kind }).rx), "rw-");
    }
  });

  test("a kind or an info that is none: ERR_INVALID_ARGUMENT, and nothing is allocated", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    for (const info of [null, "data", 4, { kind: "text" }, { kind: null }, { kind: 1 }, { name: 4 }])
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(64, wrong(info)));
    for (const size of [0, -1, 0.5, NaN])
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(size, { kind: "data" }));
    throwsJitError("ERR_TOO_LARGE", () => allocator.alloc(2 ** 31, { kind: "data" }));
    assert.equal(allocator.statistics().allocationCount, 0);
    assert.equal(allocator.alloc(64, {}).kind, "code");
    allocator.dispose();
    throwsJitError("ERR_DISPOSED", () => allocator.alloc(64, { kind: "data" }));
  });

  test("toFunction of what is not code: ERR_INVALID_ARGUMENT", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory());
    for (const kind of ["constants", "data"] as const) {
      const span = allocator.alloc(64, { kind });
      throwsJitError("ERR_INVALID_ARGUMENT", () => toFunction(span, { parameters: [], result: "void" }));
    }
  });

  test("the instruction cache is flushed for code alone", () => {
    const memory = new SimulatedMemory();
    const allocator = new JitAllocator({ fillUnusedMemory: true }, memory);
    for (const kind of ["constants", "data"] as const) allocator.alloc(64, { kind }).write(0, someBytes(64));
    assert.equal(memory.calls.flushInstructionCache, 0);
  });
});

describe("where kinds lie in a range", () => {
  const withRange = (options: JitAllocatorOptions = {}): [JitAllocator, SimulatedMemory] => {
    const memory = new SimulatedMemory({ hasRanges: true });
    return [new JitAllocator({ immediateRelease: true, ...options }, memory), memory];
  };

  test("apart from each other, and within reach", () => {
    const [allocator] = withRange();
    for (let round = 0; round < 40; round++) for (const kind of KINDS) allocator.alloc(100 * KiB, { kind });
    const order = allocator.blocks().map(({ kind }) => kind);
    const changes = order.filter((kind, index) => index > 0 && kind !== order[index - 1]);
    assert.deepEqual(changes, ["constants", "data"], "three stretches, one of each kind");
    const addresses = allocator.blocks().flatMap(({ rx, size }) => [rx, rx + size - 64]);
    for (const from of addresses)
      for (const to of addresses) if (platform.processor === "x64") assert.ok(allocator.reaches(from, to));
    allocator.verify();
  });

  test("what was data is data's until the range is given back", () => {
    const [allocator] = withRange({ maxReservedSize: 1024 * KiB });
    const size = 60 * KiB;
    const data = Array.from({ length: 8 }, () => allocator.alloc(size, { kind: "data" }));
    const lowest = Math.min(...data.map(({ rx }) => rx));
    for (const span of data) span.release();
    const code = Array.from({ length: 16 }, () => allocator.alloc(size));
    assert.ok(code.every(({ rx }) => rx < lowest));
    allocator.verify();
    for (const span of code) span.release();
    // The simulated machine throws where a stretch of data becomes anything else.
    for (const kind of ["constants", "data", "code"] as const) {
      const spans = Array.from({ length: 16 }, () => allocator.alloc(size, { kind }));
      allocator.verify();
      for (const span of spans) span.release();
    }
    allocator.dispose();
    const again = allocator.range;
    assert.equal(again, undefined);
  });

  test("trim gives back the pages of every kind, which read as zero then", () => {
    const [allocator, memory] = withRange();
    for (const kind of KINDS) {
      const spans = Array.from({ length: 12 }, () => allocator.alloc(4096, { kind }));
      for (const span of spans) span.write(0, someBytes(4096, 3));
      spans.forEach((span, index) => {
        if (index % 4 !== 0) span.release();
      });
      assert.ok(allocator.trim() > 0);
      const [first, second] = spans;
      assert.deepEqual(first?.read(), someBytes(4096, 3));
      const between = memory.read((second?.rx ?? 0) + 4096, 4096);
      assert.ok(
        between.every((byte) => byte === 0),
        kind,
      );
    }
    allocator.verify();
  });

  test("a block that the system refuses leaves nothing", () => {
    for (const kind of KINDS) {
      const [allocator, memory] = withRange();
      const spans = KINDS.map((each) => allocator.alloc(64, { kind: each }));
      const before = allocator.statistics();
      memory.failAfter("commit", 0);
      throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(200 * KiB, { kind }));
      assert.deepEqual(
        { ...allocator.statistics(), overheadSize: 0, overheadRatio: 0 },
        {
          ...before,
          ...{ overheadSize: 0, overheadRatio: 0 },
        },
      );
      allocator.verify();
      allocator.alloc(200 * KiB, { kind });
      for (const span of spans) span.release();
      allocator.dispose();
    }
  });

  test("constants whose executable view cannot be closed leave nothing, without a range", () => {
    const memory = new SimulatedMemory();
    const allocator = new JitAllocator({}, memory);
    memory.failAfter("protect", 0, "ERR_PERMISSION");
    throwsJitError("ERR_PERMISSION", () => allocator.alloc(64, { kind: "constants" }));
    assert.deepEqual(memory.mappings, []);
    allocator.verify();
    allocator.alloc(64, { kind: "constants" });
  });

  test("an attached thread sees kinds, and takes turns with the first", () => {
    for (const hasRanges of [true, false]) {
      const machine = new SimulatedMemory({ hasRanges });
      const memory = memoryOf(machine, new Fate(() => assert.fail("this thread does not die")));
      const allocator = new JitAllocator({}, memory);
      const early = KINDS.map((kind) => allocator.alloc(64, { kind }));
      const other = attachOn(allocator.share(), memory);
      for (let round = 0; round < 12; round++) {
        for (const kind of KINDS) {
          const span = (round % 2 === 0 ? other : allocator).alloc(30 * KiB, { kind });
          assert.equal(allocator.spanOf(span.token).kind, kind);
          assert.equal(other.query(span.rx).kind, kind);
          span.write(0, someBytes(100, round));
          assert.deepEqual(other.query(span.rx).read(0, 100), someBytes(100, round));
        }
      }
      assert.deepEqual(
        early.map(({ rx }) => other.query(rx).kind),
        KINDS,
      );
      assert.deepEqual(other.statistics().byKind, allocator.statistics().byKind);
      allocator.verify();
      other.verify();
      allocator.reset("hard");
      other.alloc(64, { kind: "data" });
      allocator.dispose();
      assert.deepEqual(machine.mappings, []);
    }
  });
});

describe("what the system says of kinds", { skip: needs("linux") }, () => {
  const accessOf = (address: number): string => {
    for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
      const [, start = "", end = "", access = ""] = /^(\w+)-(\w+) (\S{3})/.exec(line) ?? [];
      if (Number.parseInt(start, 16) <= address && address < Number.parseInt(end, 16)) return access;
    }
    return "none";
  };

  for (const options of [{}, { useRange: false }, { useDualMapping: false }, { useLargePages: true }]) {
    test(JSON.stringify(options), () => {
      using allocator = new JitAllocator(options);
      const isDual = allocator.hasOption("useDualMapping");
      const [code, constants, data] = KINDS.map((kind) => allocator.alloc(200 * KiB, { kind }));
      assert.ok(code && constants && data);
      assert.deepEqual(
        [code, constants, data].map(({ rx }) => accessOf(rx)),
        isDual ? ["r-x", "r--", "rw-"] : ["rwx", "rw-", "rw-"],
      );
      assert.deepEqual(
        [code, constants, data].map(({ rw }) => accessOf(rw)),
        isDual ? ["rw-", "rw-", "rw-"] : ["rwx", "rw-", "rw-"],
      );
      for (const [index, span] of [code, constants, data].entries()) {
        span.write(1000, someBytes(5000, index));
        assert.deepEqual(span.read(1000, 5000), someBytes(5000, index));
      }
      allocator.verify();
      const { rx } = data;
      data.release();
      allocator.reset("hard");
      assert.ok(["---", "none"].includes(accessOf(rx)));
      const again = allocator.alloc(200 * KiB, { kind: "data" });
      assert.ok(again.read().every((byte) => byte === 0));
    });
  }

  test("memory of data comes back", () => {
    using allocator = new JitAllocator();
    const resident = (): number => allocator.statistics().residentSize;
    const spans = Array.from({ length: 500 }, () => allocator.alloc(4096, { kind: "data" }));
    for (const span of spans) span.write(0, someBytes(4096));
    assert.ok(resident() >= 500 * 4096);
    spans.forEach((span, index) => {
      if (index % 50 !== 0) span.release();
    });
    allocator.trim();
    assert.ok(resident() < 40 * 4096, String(resident()));
    assert.deepEqual(spans[0]?.read(), someBytes(4096));
  });
});
