/** Each call of the machine made to fail at each position, during each public operation. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitError, type Span } from "../../src/index.ts";
import {
  SimulatedMemory,
  type SimulatedMemoryOptions,
  type SimulatedOperation,
} from "../../src/vm/simulated.ts";
import { combine, type Configuration } from "../support/config.ts";
import { observe } from "../support/expectations.ts";
import { someBytes } from "../support/rows.ts";
import { FALLIBLE_OPERATIONS, RANGE_OPERATIONS } from "../support/operations.ts";

const KiB = 1024;

/** The configurations whose calls of the machine differ. */
const CONFIGURATIONS = combine({
  useDualMapping: [true, false],
  fillUnusedMemory: [false, true],
  immediateRelease: [false, true],
  useMultiplePools: [false, true],
});

/** No operation makes more calls than this; a loop that goes on past it never reaches the end of the operation. */
const MOST_CALLS = 1000;

/** A block is unmapped, viewed and flushed once; no scenario here has more than five. */
const MOST_TEARDOWN_CALLS = 6;

/** What the machine may answer, beside having no memory. */
const FAULT_CODES = ["ERR_OUT_OF_MEMORY", "ERR_PERMISSION", "ERR_TOO_MANY_HANDLES"] as const;

/** A view that cannot be opened now and then is done without; so every call is made to fail, that one too. */
const CALLS: readonly SimulatedOperation[] = [
  ...FALLIBLE_OPERATIONS,
  ...Object.values(RANGE_OPERATIONS),
  "openView",
];

/** Machines with views, and without, and one with ranges. */
const MACHINES = [{ refusesViews: false }, { refusesViews: true }, { hasRanges: true }] as const;

/** Which call of the machine fails, and how. */
interface Fault {
  readonly call: SimulatedOperation;
  /** How many calls of it go well before. */
  readonly position: number;
  readonly code: (typeof FAULT_CODES)[number];
}

/** An operation, and the state it starts from. */
interface Scenario {
  readonly name: string;
  /** Brings the allocator to where the operation begins, and returns the operation. */
  prepare(allocator: JitAllocator): () => unknown;
  /** It writes code: bytes that are written when the flush behind them fails are written. */
  readonly writes?: true;
}

/** Something live with code of its own in it, so that code lost or filled over is seen. */
function occupy(allocator: JitAllocator, size = 300): Span {
  const span = allocator.alloc(size);
  span.write(0, someBytes(span.size));
  return span;
}

const SCENARIOS: readonly Scenario[] = [
  { name: "alloc in the first block", prepare: (allocator) => () => allocator.alloc(100) },
  { name: "allocAddress in the first block", prepare: (allocator) => () => allocator.allocAddress(100) },
  {
    name: "alloc in a further block",
    prepare: (allocator) => {
      occupy(allocator);
      return () => allocator.alloc(64 * KiB);
    },
  },
  {
    name: "alloc of more than a block",
    prepare: (allocator) => () => allocator.alloc(300 * KiB),
  },
  {
    name: "release that unmaps (a second empty block)",
    prepare: (allocator) => {
      const first = occupy(allocator, 64 * KiB);
      const second = occupy(allocator, 128 * KiB);
      first.release();
      return () => second.release();
    },
  },
  {
    name: "release that unmaps the emptier of two",
    prepare: (allocator) => {
      const first = occupy(allocator, 64 * KiB);
      const second = occupy(allocator, 128 * KiB);
      second.release();
      return () => allocator.release(first.rx);
    },
  },
  {
    name: "release in a block that stays",
    prepare: (allocator) => {
      occupy(allocator);
      const span = occupy(allocator);
      return () => span.release();
    },
  },
  {
    name: "release of the last of a block",
    prepare: (allocator) => {
      const address = allocator.allocAddress(300);
      return () => allocator.release(address);
    },
  },
  {
    name: "shrink",
    prepare: (allocator) => {
      const span = occupy(allocator, 16 * KiB);
      return () => span.shrink(100);
    },
  },
  {
    name: "release of much, in a block that stays",
    prepare: (allocator) => {
      const span = occupy(allocator, 200 * KiB);
      occupy(allocator);
      return () => span.release();
    },
  },
  {
    name: "shrink by much",
    prepare: (allocator) => {
      const span = occupy(allocator, 200 * KiB);
      return () => span.shrink(100);
    },
  },
  {
    name: "shrink to 0",
    prepare: (allocator) => {
      const first = occupy(allocator, 64 * KiB);
      const second = occupy(allocator, 128 * KiB);
      first.release();
      return () => second.shrink(0);
    },
  },
  {
    name: "query",
    prepare: (allocator) => {
      const address = allocator.allocAddress(300);
      return () => allocator.query(address + 10);
    },
  },
  {
    name: "write",
    writes: true,
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => allocator.write(span, 10, someBytes(100));
    },
  },
  {
    name: "write to what allocAddress gave (no view was opened yet)",
    writes: true,
    prepare: (allocator) => {
      const span = allocator.query(allocator.allocAddress(300));
      return () => span.write(0, someBytes(100));
    },
  },
  {
    name: "write callback that shrinks",
    writes: true,
    prepare: (allocator) => {
      const span = allocator.alloc(16 * KiB);
      return () =>
        allocator.write(span, (code) => {
          code.set(someBytes(100));
          return 100;
        });
    },
  },
  {
    name: "read",
    prepare: (allocator) => {
      const span = allocator.query(allocator.allocAddress(300));
      return () => span.read();
    },
  },
  {
    name: "writeScope",
    writes: true,
    prepare: (allocator) => {
      const span = allocator.alloc(300);
      return () => {
        const scope = allocator.writeScope();
        scope.write(span, 0, someBytes(100));
        scope.flush();
      };
    },
  },
];

/** Scenarios that give many things back: what a failure in the middle has given back cannot be taken again. */
const TEARDOWNS: readonly Scenario[] = [
  { name: "reset soft", prepare: (allocator) => afterGrowth(allocator, () => allocator.reset("soft")) },
  { name: "reset hard", prepare: (allocator) => afterGrowth(allocator, () => allocator.reset("hard")) },
  { name: "dispose", prepare: (allocator) => afterGrowth(allocator, () => allocator[Symbol.dispose]()) },
];

/** Each of `count` positions at which a call may fail, on each machine. */
function upTo(
  count: number,
): (call: SimulatedOperation) => (readonly [SimulatedOperation, number, SimulatedMemoryOptions])[] {
  return (call) =>
    MACHINES.flatMap((machine) =>
      Array.from({ length: count }, (_, position) => [call, position, machine] as const),
    );
}

function afterGrowth(allocator: JitAllocator, operation: () => void): () => void {
  for (const size of [300, 64 * KiB, 128 * KiB, 200 * KiB]) {
    occupy(allocator);
    allocator.alloc(size);
  }
  return operation;
}

/** All there is to see, the memory of every live block included. */
function observeAll(allocator: JitAllocator, memory: SimulatedMemory, { writes }: Scenario): unknown {
  const state = observe(allocator);
  if (writes) return { state, mappings: memory.mappings };
  const bytes = allocator.blocks().map(({ rx, granularity, granules }) => {
    // Free memory may have been filled by half an operation; what is live may not have changed.
    const live: (readonly [number, Uint8Array])[] = [];
    for (const [index, granule] of granules.entries()) {
      if (granule !== 0) live.push([index, memory.read(rx + index * granularity, granularity)]);
    }
    return live;
  });
  return { state, bytes, mappings: memory.mappings };
}

describe("a call of the machine that fails", () => {
  for (const scenario of SCENARIOS) {
    test(`${scenario.name}: a typed error, everything as before, and it works the next time`, () => {
      let faults = 0;
      for (const { machine, configuration, call, code } of everyFault()) {
        for (
          let position = 0;
          runWithFault(scenario, configuration, machine, { call, position, code });
          position++
        ) {
          faults++;
          assert.ok(position < MOST_CALLS);
        }
      }
      if (scenario.name.startsWith("alloc"))
        assert.ok(faults > 0, "an operation that maps calls the machine");
    });
  }

  /** Each machine in each configuration, with each call that may fail there and each way in which it may. */
  function* everyFault(): Generator<
    Pick<Fault, "call" | "code"> & { machine: SimulatedMemoryOptions; configuration: Configuration }
  > {
    for (const machine of MACHINES)
      for (const configuration of CONFIGURATIONS)
        for (const call of CALLS)
          for (const code of FAULT_CODES) yield { machine, configuration, call, code };
  }

  /** Returns false where the operation makes no call at that position. */
  function runWithFault(
    scenario: Scenario,
    { name, options }: Configuration,
    machine: SimulatedMemoryOptions,
    { call, position, code }: Fault,
  ): boolean {
    const where = `${name}, ${JSON.stringify(machine)}, ${code} at ${call} ${position}`;
    const memory = new SimulatedMemory(machine);
    const allocator = new JitAllocator(options, memory);
    const operation = scenario.prepare(allocator);
    const before = observeAll(allocator, memory, scenario);
    memory.failAfter(call, position, code);
    let thrown: unknown;
    try {
      operation();
    } catch (error) {
      thrown = error;
    }
    const reached = memory.clearFaults() === 0;
    if (reached && thrown !== undefined) {
      assert.ok(thrown instanceof JitError, `${where}: ${String(thrown)}`);
      assert.equal(thrown.code, code, where);
      assert.equal(typeof thrown.syscall, "string", `${where}: the error says which call failed`);
      assert.equal(thrown.errno, 0, `${where}: and how`);
      assert.deepEqual(observeAll(allocator, memory, scenario), before, `${where}: everything as before`);
      operation();
    } else {
      // A fault that the operation could do without (a flush of what is free, say) may be survived.
      assert.equal(thrown, undefined, `${where}: ${String(thrown)}`);
    }
    allocator.verify();
    allocator[Symbol.dispose]();
    assert.deepEqual(memory.mappings, [], `${where}: every mapping is given back`);
    assert.deepEqual(memory.ranges?.all ?? [], [], `${where}: and every range`);
    assert.equal(memory.openViewCount, 0, `${where}: every view is closed`);
    return reached;
  }
});

describe("a block that takes the place of the empty blocks that are kept", () => {
  const options = { useMultiplePools: true, maxReservedSize: 4 * 64 * KiB };
  const PLACES = { useDualMapping: [true, false], fillUnusedMemory: [false, true] };
  /** All there is to see, but for where the empty blocks lie. */
  const observeSizes = (allocator: JitAllocator): unknown => ({
    ...allocator.statistics(),
    blocks: allocator
      .blocks()
      .map(({ rx, granularity, size, allocationCount }) => [
        granularity,
        size,
        allocationCount,
        allocationCount > 0 ? rx : "somewhere",
      ])
      .sort(),
  });

  /** 128 KiB with something live, and two empty blocks of 64 KiB, both of which a block of 128 KiB needs. */
  function prepare(allocator: JitAllocator): Span {
    const live = occupy(allocator, 128 * KiB - 64);
    for (const size of [128, 256]) allocator.alloc(size).release();
    assert.deepEqual(
      allocator.blocks().map(({ allocationCount }) => allocationCount),
      [1, 0, 0],
    );
    return live;
  }

  for (const { name, options: mapped } of combine(PLACES)) {
    for (const position of [0, 1]) {
      test(`${name}: where empty block ${position} cannot be unmapped, there are as many as before`, () => {
        const memory = new SimulatedMemory();
        const allocator = new JitAllocator({ ...options, ...mapped }, memory);
        const live = prepare(allocator);
        const code = live.read();
        const before = observeSizes(allocator);
        memory.failAfter(
          mapped.useDualMapping === true ? "releaseDualMapping" : "release",
          position,
          "ERR_PERMISSION",
        );
        assert.throws(
          () => allocator.alloc(100 * KiB),
          (error) => error instanceof JitError && error.code === "ERR_PERMISSION",
        );
        assert.equal(memory.clearFaults(), 0);
        assert.deepEqual(observeSizes(allocator), before);
        assert.deepEqual(live.read(), code);
        allocator.verify();
        allocator.alloc(100 * KiB);
        assert.equal(allocator.statistics().blockCount, 2);
        allocator[Symbol.dispose]();
        assert.deepEqual(memory.mappings, []);
        assert.equal(memory.openViewCount, 0);
      });
    }
  }
});

describe("a call of the machine that fails while much is given back", () => {
  for (const scenario of TEARDOWNS) {
    test(`${scenario.name}: a typed error or none, nothing inconsistent, and the next time it is done`, () => {
      let faults = 0;
      for (const { name, options } of CONFIGURATIONS) {
        for (const [call, position, machine] of CALLS.flatMap(upTo(MOST_TEARDOWN_CALLS))) {
          const where = `${name}, ${JSON.stringify(machine)}, ${call} ${position}`;
          const memory = new SimulatedMemory(machine);
          const allocator = new JitAllocator(options, memory);
          const operation = scenario.prepare(allocator);
          memory.failAfter(call, position, "ERR_PERMISSION");
          try {
            operation();
          } catch (error) {
            assert.ok(error instanceof JitError, `${where}: ${String(error)}`);
            assert.equal(error.code, "ERR_PERMISSION", where);
            allocator.verify();
          }
          const reached = memory.clearFaults() === 0;
          operation();
          if (scenario.name === "reset hard") assert.equal(allocator.statistics().blockCount, 0, where);
          if (scenario.name !== "dispose") assert.equal(allocator.statistics().allocationCount, 0, where);
          allocator[Symbol.dispose]();
          assert.deepEqual(memory.mappings, [], `${where}: every mapping is given back in the end`);
          assert.equal(memory.openViewCount, 0, where);
          if (reached) faults++;
        }
      }
      assert.ok(faults > 0);
    });
  }
});

describe("the machine runs out of memory", () => {
  test("alloc: ERR_OUT_OF_MEMORY names the system; release makes room", () => {
    for (const { name, options } of CONFIGURATIONS) {
      const memory = new SimulatedMemory({ totalBytes: 256 * KiB });
      const allocator = new JitAllocator(options, memory);
      const first = allocator.alloc(100 * KiB);
      const before = observe(allocator);
      assert.throws(
        () => allocator.alloc(200 * KiB),
        (error) =>
          error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY" && error.syscall === "mmap",
        name,
      );
      assert.deepEqual(observe(allocator), before);
      first.release();
      allocator.reset("hard");
      allocator.alloc(200 * KiB);
      allocator[Symbol.dispose]();
    }
  });

  test("the constructor maps nothing, so that it cannot run out", () => {
    const memory = new SimulatedMemory({ totalBytes: 0 });
    const allocator = new JitAllocator({}, memory);
    assert.throws(
      () => allocator.alloc(1),
      (error) => error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY",
    );
    allocator[Symbol.dispose]();
  });

  test("a hardened machine: dual mapping works, W+X is refused as the system refuses it", () => {
    const memory = new SimulatedMemory({ hardened: true });
    const dual = new JitAllocator({}, memory);
    dual.alloc(64).write(0, someBytes(8));
    dual[Symbol.dispose]();
    const single = new JitAllocator({ useDualMapping: false }, memory);
    assert.throws(
      () => single.alloc(64),
      (error) => error instanceof JitError && error.code === "ERR_PERMISSION",
    );
    assert.equal(single.statistics().blockCount, 0);
    single[Symbol.dispose]();
  });
});
