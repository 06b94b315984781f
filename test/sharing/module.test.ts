/** A thread that ends while it builds, commits or releases a module: others find all of it, or nothing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions, type JitModule, type SpanKind } from "../../src/index.ts";
import { ModuleBuilder } from "../../src/link/module.ts";
import { VeneerPool } from "../../src/link/veneers.ts";
import { Batches, Field, Members } from "../../src/sharing/layout.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { describeOptions } from "../support/config.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Fate, memoryOf, mortalThread, type MortalThread } from "../support/mortal-thread.ts";
import { someBytes } from "../support/rows.ts";

const KINDS: readonly SpanKind[] = ["code", "constants", "data"];
/** One goes into a block that is there, others need a block. */
const SIZES = [100, 70_000, 3000, 200] as const;

interface Stage {
  readonly machine: SimulatedMemory;
  readonly allocator: JitAllocator;
  readonly victim: MortalThread;
  readonly state: Int32Array;
}

function setStage(options: JitAllocatorOptions): Stage {
  const machine = new SimulatedMemory({ hasRanges: options.useRange === true });
  const memory = memoryOf(machine, new Fate(() => assert.fail("this thread does not die")));
  const allocator = new JitAllocator({ maxReservedSize: 2 ** 22, ...options }, memory);
  for (const kind of KINDS) allocator.alloc(640, { kind });
  const handle = allocator.share();
  const victim = mortalThread(handle, machine);
  return { machine, allocator, victim, state: new Int32Array(handle.state, 0, handle.state.byteLength >> 2) };
}

function build({ victim }: Stage): JitModule {
  const operations = (): MortalThread["engine"] => victim.engine;
  const builder = new ModuleBuilder(operations, new VeneerPool(operations), () => undefined);
  for (const [index, size] of SIZES.entries())
    builder[KINDS[index % 3] ?? "code"](size).bytes.set(someBytes(size, index));
  return builder.commit();
}

/** Lets the thread end at a moment. Returns false where it came to the end. */
function diesAt({ victim }: Stage, fatal: number, act: () => void): boolean {
  victim.fate.arm(fatal);
  try {
    act();
    return false;
  } catch (error) {
    if (!victim.fate.isDead) throw error;
    victim.undoAfterlife();
    return true;
  }
}

/** What the thread left, as another one finds it that adopts it: all parts of a module with their bytes, or none. */
function partsFound({ allocator, victim, state }: Stage, isKnown: boolean): number {
  const { memberId } = victim.engine;
  const repairs = state[Field.repairs];
  // Whether a thread is over is known from the start, or once its operation was repaired.
  const leave = (): number => (state[Members.start + memberId * Members.integers + Members.hasLeft] = 1);
  if (isKnown) leave();
  allocator.verify(); // repairs first
  const left = allocator.allocationsOf(memberId).length;
  const isRepaired = state[Field.repairs] !== repairs;
  if (isKnown && isRepaired) assert.ok(left === 0 || left === SIZES.length, `${left} parts after the repair`);
  leave();
  assert.equal(allocator.adopt(memberId), allocator.allocationsOf(1).length - KINDS.length);
  allocator.verify();
  const found = allocator
    .allocationsOf(1)
    .map((rx) => allocator.query(rx))
    .filter(({ size }) => size !== 640);
  for (const span of found) {
    const index = SIZES.findIndex((size) => span.size - size >= 0 && span.size - size < 64);
    assert.equal(span.kind, KINDS[index % 3]);
    assert.deepEqual(span.read(0, SIZES[index]), someBytes(SIZES[index] ?? 0, index));
  }
  return found.length;
}

function end({ machine, allocator }: Stage): void {
  const builder = allocator.module();
  for (const kind of KINDS) builder[kind](1000);
  builder.commit().release();
  allocator.dispose();
  assert.deepEqual(machine.mappings, []);
}

for (const options of [
  {},
  { useRange: true },
  { fillUnusedMemory: true, immediateRelease: true },
  { useDualMapping: false, useMultiplePools: true },
] satisfies readonly JitAllocatorOptions[]) {
  describe(`a thread that ends anywhere: ${describeOptions(options)}`, () => {
    test("in the building or the commit of a module", () => {
      const outcomes = { all: 0, nothing: 0 };
      for (let fatal = 1; ; fatal++) {
        const stage = setStage(options);
        const isDead = diesAt(stage, fatal, () => build(stage));
        const count = partsFound(stage, fatal % 2 === 0);
        assert.ok(count === 0 || count === SIZES.length, `${count} parts after ${fatal} moments`);
        outcomes[count === 0 ? "nothing" : "all"]++;
        end(stage);
        if (!isDead) break;
      }
      assert.ok(outcomes.nothing > 50 && outcomes.all > 1, JSON.stringify(outcomes));
    });

    test("in the release of a module", () => {
      const outcomes = { all: 0, nothing: 0 };
      for (let fatal = 1; ; fatal++) {
        const stage = setStage(options);
        const loaded = build(stage);
        const isDead = diesAt(stage, fatal, () => loaded.release());
        const count = partsFound(stage, fatal % 2 === 0);
        assert.ok(count === 0 || count === SIZES.length, `${count} parts after ${fatal} moments`);
        outcomes[count === 0 ? "nothing" : "all"]++;
        end(stage);
        if (!isDead) break;
      }
      assert.ok(outcomes.nothing > 10 && outcomes.all > 1, JSON.stringify(outcomes));
    });
  });
}

describe("the generations of modules", () => {
  const make = (): Stage => setStage({ useRange: true });

  test("are of a batch of the module's own, which is used again when the module is gone", () => {
    const { allocator, state } = make();
    const taken = (): number => state[Field.nextBatch] ?? 0;
    const before = taken();
    for (let round = 0; round < 50; round++) {
      const builder = allocator.module();
      for (const kind of KINDS) builder[kind](64);
      builder.commit().release();
      allocator.verify();
    }
    assert.equal(taken() - before, 1);
    const kept = Array.from({ length: 5 }, () => {
      const builder = allocator.module();
      builder.code(64);
      return builder.commit();
    });
    assert.equal(taken() - before, 5);
    // 50 modules of 3 parts, and one of 1, were in the first batch.
    assert.equal(kept.length, 5);
    allocator.verify();
    assert.equal(
      allocator.members().reduce((sum, { allocationCount }) => sum + allocationCount, 0),
      8,
    );
  });

  test("are counted for the thread from the first part on, and released with what is its", () => {
    const { allocator } = make();
    const builder = allocator.module();
    const parts = [builder.code(64), builder.data(64)];
    const { memberId } = allocator;
    for (const { rx } of parts) assert.ok(allocator.allocationsOf(memberId).includes(rx));
    assert.equal(allocator.releaseAllOf(memberId), KINDS.length + 2);
    throwsJitError("ERR_RELEASED", () => builder.commit());
    allocator.verify();
  });

  test("end with a batch: one more part is ERR_TOO_LARGE", () => {
    const { allocator } = make();
    const builder = allocator.module();
    const most = 2 ** Batches.shift;
    for (let count = 0; count < most; count++) builder.data(1);
    throwsJitError("ERR_TOO_LARGE", () => builder.data(1));
    assert.equal(builder.commit().spans.length, most);
    allocator.verify();
  });

  test("a module that was begun before the allocator was shared goes on", () => {
    const allocator = new JitAllocator({}, new SimulatedMemory({ hasRanges: true }));
    const builder = allocator.module();
    builder.code(64);
    allocator.share();
    builder.data(64);
    const loaded = builder.commit();
    allocator.verify();
    loaded.release();
    assert.equal(allocator.statistics().allocationCount, 0);
    allocator.verify();
  });
});
