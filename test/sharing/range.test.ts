/** The range of a shared allocator: what its threads know of it, and what a thread leaves that dies while it makes it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions } from "../../src/index.ts";
import { Field } from "../../src/sharing/layout.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Fate, memoryOf, mortalThread, type Finding, type MortalThread } from "../support/mortal-thread.ts";
import { attachOn } from "../support/attach.ts";

function start(options: JitAllocatorOptions, finding: Finding = "names") {
  const machine = new SimulatedMemory({ hasRanges: true });
  const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies here")), finding);
  const allocator = new JitAllocator({ maxReservedSize: 2 ** 20, ...options }, memory);
  return { machine, memory, allocator };
}

/** Returns whether the thread came to the end of what it does. */
function survives(victim: MortalThread, act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (!victim.fate.isDead) throw error;
    victim.undoAfterlife();
    return false;
  }
}

function blockStarts(allocator: JitAllocator): number[] {
  return allocator.blocks().map(({ rx }) => rx);
}

describe("a range that threads share", () => {
  test("is the one that the first thread had", () => {
    const { memory, allocator } = start({});
    allocator.alloc(64);
    const { range } = allocator;
    const other = attachOn(allocator.share(), memory);
    assert.ok(range);
    assert.deepEqual(other.range, range);
    const span = other.alloc(100_000);
    assert.ok(span.rx >= range.start && span.rx < range.start + range.size);
    allocator.dispose();
  });

  test("is every thread's, whichever reserves it", () => {
    const { machine, memory, allocator } = start({});
    const other = attachOn(allocator.share(), memory);
    assert.equal(allocator.range, undefined);
    other.alloc(64);
    assert.ok(allocator.range);
    assert.deepEqual(allocator.range, other.range);
    allocator.alloc(100_000);
    assert.equal(machine.ranges?.all.length, 1);
    other.dispose();
    assert.deepEqual(machine.ranges.all, []);
    assert.deepEqual(machine.mappings, []);
  });

  for (const finding of ["names", "journal"] as const) {
    for (const options of [{}, { useDualMapping: false }, { fillUnusedMemory: true }, { sealed: true }]) {
      test(`a thread that dies while it reserves it loses nothing, by ${finding}, ${JSON.stringify(options)}`, () => {
        let deaths = 0;
        for (let fatal = 1, isWhole = false; !isWhole; fatal++) {
          const { machine, allocator } = start(options, finding);
          const victim = mortalThread(allocator.share(), machine, undefined, finding);
          victim.fate.arm(fatal);
          isWhole = survives(victim, () => victim.engine.alloc(64));
          if (!isWhole) deaths++;
          allocator.alloc(100_000).write(0, Uint8Array.of(1, 2, 3));
          allocator.verify();
          assert.equal(machine.ranges?.all.length, 1, `moment ${fatal}`);
          const places = allocator.hasOption("sealed") ? [allocator.range?.start] : blockStarts(allocator);
          assert.deepEqual(
            machine.mappings.map(({ rx }) => rx),
            places,
          );
          allocator.dispose();
          assert.deepEqual(machine.ranges.all, [], `moment ${fatal}`);
          assert.deepEqual(machine.mappings, []);
        }
        assert.ok(deaths > 10, String(deaths));
      });
    }
  }

  test("a stretch that one thread left unclean is wiped before another uses it", () => {
    const { machine, memory, allocator } = start({ immediateRelease: true });
    const other = attachOn(allocator.share(), memory);
    const span = allocator.alloc(1000);
    machine.failAfter("empty", 0);
    span.release();
    assert.equal(machine.clearFaults(), 0);
    assert.deepEqual(machine.mappings, []);
    // The simulated machine throws where an unclean stretch is committed as it is.
    other.alloc(1000);
    other.dispose();
  });

  test("what one thread could not seal, the next one that maps a block seals first", () => {
    const { machine, memory, allocator } = start({ sealed: true });
    const other = attachOn(allocator.share(), memory);
    allocator.alloc(64);
    machine.failAfter("seal", 0, "ERR_OUT_OF_MEMORY");
    throwsJitError("ERR_OUT_OF_MEMORY", () => allocator.alloc(100_000));
    assert.equal(machine.clearFaults(), 0);
    allocator.verify();
    const sealed = machine.calls.seal;
    other.alloc(200_000);
    assert.equal(machine.calls.seal, sealed + 2, "what was begun, and the rest");
    other.verify();
    other.dispose();
    assert.deepEqual(machine.mappings, []);
  });

  for (const field of [Field.sealed, Field.sealing]) {
    test(`invariant 20: a record of what is sealed that was written over is noticed (field ${field})`, () => {
      const { allocator } = start({ sealed: true });
      const doubles = new Float64Array(allocator.share().state);
      allocator.alloc(64);
      const before = Number(doubles[field >> 1]);
      for (const wrong of [before + 4096, 0.5, NaN, -before, 2 ** 40]) {
        doubles[field >> 1] = wrong;
        assert.throws(() => allocator.alloc(100_000), /invariant 20/, String(wrong));
      }
      doubles[field >> 1] = before;
      allocator.alloc(100_000);
      allocator.dispose();
    });
  }

  test("invariant 20: a record that was written over is noticed, and nothing is done to what it names", () => {
    const { machine, allocator } = start({});
    const words = new Int32Array(allocator.share().state);
    allocator.alloc(64);
    const before = machine.mappings;
    words.set([Number(words[Field.range]) + 4096], Field.range);
    assert.throws(() => allocator.range, /invariant 20/);
    assert.throws(() => allocator.alloc(100_000), /invariant 20/);
    assert.deepEqual(machine.mappings, before);
    words.set([Number(words[Field.range]) - 4096], Field.range);
    allocator.dispose();
  });
});
