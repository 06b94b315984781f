/** Veneers: one stub a target, counted, retargeted by one store, within reach of everything. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, toFunction, type JitAllocatorOptions } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { VeneerPool } from "../../src/link/veneers.ts";
import { Engine } from "../../src/engine/engine.ts";
import { resolveOptions } from "../../src/engine/options.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { changesNothing, refuses, throwsJitError, wrong } from "../support/expectations.ts";
import { Fate, memoryOf } from "../support/mortal-thread.ts";
import { callAndAddOne, returnConstant } from "../support/native-code.ts";
import { Random } from "../support/random.ts";
import { needs } from "../support/requirements.ts";
import { attachOn } from "../support/attach.ts";

const SEED = 20261128;
const FAR = 0x1234_5678_9ab0;

function make(options: JitAllocatorOptions = {}): [JitAllocator, SimulatedMemory] {
  const memory = new SimulatedMemory({ hasRanges: true });
  return [new JitAllocator(options, memory), memory];
}

/** The address in the cell of a stub. */
function cellAt(memory: SimulatedMemory, rx: number): number {
  return Number(new DataView(memory.read(rx, 16).buffer).getBigUint64(8, true));
}

describe("a veneer", () => {
  test("is one stub a target, which goes with the last of them", () => {
    const [allocator, memory] = make();
    const first = allocator.veneer(FAR);
    const second = allocator.veneer(FAR);
    const other = allocator.veneer(FAR + 1);
    assert.equal(first.rx, second.rx);
    assert.notEqual(first.rx, other.rx);
    assert.notEqual(first, second);
    assert.equal(allocator.statistics().allocationCount, 2);
    assert.equal(cellAt(memory, first.rx), FAR);
    assert.equal(cellAt(memory, other.rx), FAR + 1);
    first.release();
    assert.equal(second.isReleased, false);
    assert.equal(first.isReleased, true);
    assert.equal(allocator.statistics().allocationCount, 2);
    throwsJitError("ERR_RELEASED", () => first.release());
    throwsJitError("ERR_RELEASED", () => first.retarget(1));
    first[Symbol.dispose]();
    second[Symbol.dispose]();
    second[Symbol.dispose]();
    assert.equal(allocator.statistics().allocationCount, 1);
    assert.equal(allocator.veneer(FAR).target, FAR);
    allocator.verify();
  });

  test("retarget is one aligned store, for all veneers of the stub, and for those that follow", () => {
    const [allocator, memory] = make();
    const first = allocator.veneer(FAR);
    const second = allocator.veneer(FAR);
    const before = { ...memory.calls };
    first.retarget(FAR + 8);
    assert.equal(memory.calls.storeAtomically - before.storeAtomically, 1);
    assert.equal(memory.calls.copyIn, before.copyIn);
    assert.deepEqual([first.target, second.target], [FAR + 8, FAR + 8]);
    assert.equal(cellAt(memory, first.rx), FAR + 8);
    assert.equal(allocator.veneer(FAR + 8).rx, first.rx);
    assert.notEqual(allocator.veneer(FAR).rx, first.rx, "what had that target has it no more");
    // To a target that another stub has: both stay.
    const third = allocator.veneer(FAR + 16);
    third.retarget(FAR + 8);
    assert.equal(allocator.veneer(FAR + 8).rx, first.rx);
    for (const veneer of [first, second, third]) veneer.release();
    allocator.verify();
  });

  test("what is no address: ERR_INVALID_ARGUMENT, and nothing changes", () => {
    const [allocator] = make();
    const veneer = allocator.veneer(FAR);
    for (const value of [-1, 0.5, NaN, 2 ** 53, "4096", null, undefined, 1n]) {
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => allocator.veneer(wrong(value)));
      refuses(allocator, "ERR_INVALID_ARGUMENT", () => veneer.retarget(wrong(value)));
    }
    assert.equal(veneer.target, FAR);
  });

  test("a reset, a disposal and a release by its address end it", () => {
    const [allocator] = make();
    const byReset = allocator.veneer(FAR);
    allocator.reset();
    const byAddress = allocator.veneer(FAR);
    allocator.release(byAddress.rx);
    const byDisposal = allocator.veneer(FAR);
    allocator.dispose();
    for (const veneer of [byReset, byAddress, byDisposal]) {
      assert.equal(veneer.isReleased, true);
      throwsJitError("ERR_RELEASED", () => veneer.retarget(1));
      throwsJitError("ERR_RELEASED", () => veneer.release());
      veneer[Symbol.dispose]();
    }
    throwsJitError("ERR_DISPOSED", () => allocator.veneer(FAR));
  });

  test("a stub that cannot be written leaves nothing", () => {
    const memory = new SimulatedMemory({ refusesViews: true });
    const allocator = new JitAllocator({}, memory);
    allocator.alloc(64);
    for (const call of ["copyIn", "flushInstructionCache"] as const) {
      changesNothing(allocator, () => {
        memory.failAfter(call, 0, "ERR_PERMISSION");
        throwsJitError("ERR_PERMISSION", () => allocator.veneer(FAR));
      });
    }
    const veneer = allocator.veneer(FAR);
    memory.failAfter("storeAtomically", 0, "ERR_PERMISSION");
    throwsJitError("ERR_PERMISSION", () => veneer.retarget(1));
    assert.equal(veneer.target, FAR);
    assert.equal(allocator.veneer(FAR).rx, veneer.rx);
  });

  test("a processor that is not known: ERR_FEATURE_NOT_ENABLED", () => {
    const memory = new SimulatedMemory();
    const engine = new Engine(resolveOptions({}, memory), memory);
    const pool = new VeneerPool(() => engine, undefined, "other");
    throwsJitError("ERR_FEATURE_NOT_ENABLED", () => pool.take(FAR));
    assert.equal(engine.statistics().allocationCount, 0);
  });

  test("of a shared allocator: each thread has stubs of its own, which it leaves like other allocations", () => {
    const machine = new SimulatedMemory({ hasRanges: true });
    const memory = memoryOf(machine, new Fate(() => assert.fail("this thread does not die")));
    const allocator = new JitAllocator({}, memory);
    const early = allocator.veneer(FAR);
    const other = attachOn(allocator.share(), memory);
    const late = allocator.veneer(FAR);
    assert.equal(late.rx, early.rx);
    const theirs = other.veneer(FAR);
    assert.notEqual(theirs.rx, early.rx);
    early.retarget(FAR + 8);
    assert.equal(cellAt(machine, early.rx), FAR + 8);
    assert.equal(cellAt(machine, theirs.rx), FAR);
    other.detach();
    assert.deepEqual(allocator.allocationsOf(2), [theirs.rx]);
    assert.equal(allocator.releaseAllOf(2), 1);
    early.release();
    late.release();
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  });
});

describe("any span and any veneer reach each other", () => {
  test(`whatever comes and goes (seed ${SEED})`, { skip: platform.processor !== "x64" }, () => {
    const random = new Random(SEED);
    const [allocator] = make({ immediateRelease: true });
    const live: { readonly rx: number; release(): void; readonly last: number }[] = [];
    let lowest = Infinity;
    let highest = 0;
    for (let round = 0; round < 4000; round++) {
      const isGrowing = round % 800 < 500;
      if (random.chance(isGrowing ? 0.75 : 0.25)) {
        const kind = random.pick(["code", "code", "constants", "data", "veneer"] as const);
        if (allocator.statistics().reservedSize > 1.5 * 2 ** 30) continue;
        const size = random.pick([64, 5000, 100_000, 20_000_000]);
        const made = kind === "veneer" ? allocator.veneer(random.next()) : allocator.alloc(size, { kind });
        const last = made.rx + (kind === "veneer" ? 0 : size - 5);
        live.push({ rx: made.rx, last, release: () => made.release() });
      } else if (live.length > 0) {
        live.splice(random.below(live.length), 1)[0]?.release();
      }
      if (live.length === 0) continue;
      const from = random.pick(live);
      const to = random.pick(live);
      assert.ok(allocator.reaches(from.rx, to.last) && allocator.reaches(from.last, to.rx));
      for (const { rx, last } of [from, to]) {
        lowest = Math.min(lowest, rx);
        highest = Math.max(highest, last);
      }
    }
    assert.ok(allocator.reaches(lowest, highest) && allocator.reaches(highest, lowest));
    assert.ok(highest - lowest > 2 ** 30, "it was a long way");
    allocator.verify();
  });
});

describe("veneers that run", { skip: needs("machineCode") }, () => {
  const returnsOf = (allocator: JitAllocator, value: number): number => {
    const span = allocator.alloc(64);
    span.write(0, returnConstant(value));
    return span.rx;
  };

  for (const options of [{}, { useRange: false }, { useDualMapping: false }]) {
    test(`get to the target, and to the next one: ${JSON.stringify(options)}`, () => {
      using allocator = new JitAllocator(options);
      using elsewhere = new JitAllocator();
      const [seven, nine] = [returnsOf(elsewhere, 7), returnsOf(allocator, 9)];
      const veneer = allocator.veneer(seven);
      const caller = allocator.alloc(64);
      caller.write(0, callAndAddOne(veneer.rx));
      const call = toFunction(caller, { parameters: [], result: "i32" });
      assert.equal(call(), 8);
      veneer.retarget(nine);
      assert.equal(call(), 10);
      allocator.share();
      veneer.retarget(seven);
      assert.equal(call(), 8);
    });
  }
});
