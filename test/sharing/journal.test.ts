/**
 * The operations that map and unmap, where the system does not tell what is mapped: what a thread leaves that dies at any
 * moment is found by the journal alone.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator } from "../../src/index.ts";
import { Journal as Place } from "../../src/sharing/layout.ts";
import { Call, Journal } from "../../src/vm/journal.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { everyMoment, everyRepair, OPERATIONS, type Operation } from "../support/deaths.ts";
import { Fate, memoryOf } from "../support/mortal-thread.ts";

const BLOCK = 65_536;
/** The stage has two blocks; the third has no room for the next one and what surrounds it. */
const MOST_BYTES = 3 * BLOCK;

const MAPPING = [
  "alloc in a new block",
  "release of the last in a block, which is unmapped",
  "soft reset",
  "hard reset",
  "dispose",
];

function operationsThatMap(): Operation[] {
  const found = OPERATIONS.filter(({ name }) => MAPPING.includes(name));
  assert.equal(found.length, MAPPING.length);
  return found;
}

describe("a thread that dies at any moment of mapping or unmapping loses nothing, by the journal alone", () => {
  for (const operation of operationsThatMap()) {
    for (const options of [
      {},
      { disableInitialPadding: true, useDualMapping: false },
      { useRange: true },
      { useRange: true, useDualMapping: false },
    ]) {
      test(`${operation.name}, ${JSON.stringify(options)}`, () => {
        const { done, undone } = everyMoment(options, operation, "journal");
        assert.ok(done + undone > 0, "it has a moment to die at");
      });
    }

    test(`${operation.name}, and its repair`, () => assert.ok(everyRepair(operation, "journal") > 10));
  }

  test("a new block in place of an empty one: two blocks are on their way at once", () => {
    let replaced = 0;
    const { done, undone } = everyMoment(
      {},
      {
        name: "alloc where an empty block has to make room",
        options: { maxReservedSize: MOST_BYTES },
        run: ({ victim, lonely, machine }) => {
          victim.engine.release(lonely);
          const before = machine.mappings;
          victim.engine.alloc(BLOCK);
          replaced += before.filter(({ rx }) =>
            machine.mappings.every((mapping) => mapping.rx !== rx),
          ).length;
        },
        // Two operations.
        done: (before, { lonely }, found) => {
          const kept = [...before].filter(([address]) => address !== lonely);
          const added = [...found].filter(([address]) => !kept.some(([other]) => other === address));
          return new Map([...kept, ...added.slice(0, 1).map(([address]) => [address, BLOCK] as const)]);
        },
      },
      "journal",
    );
    assert.ok(done > 0 && undone > 0);
    assert.equal(replaced, 1);
  });
});

describe("invariant 19", () => {
  function start(): { allocator: JitAllocator; journal: Journal } {
    const fate = new Fate(() => assert.fail("nobody dies"));
    const allocator = new JitAllocator({}, memoryOf(new SimulatedMemory(), fate, "journal"));
    const { state } = allocator.share();
    const journal = new Journal({
      words: new Int32Array(state, 0, state.byteLength >> 2),
      doubles: new Float64Array(state, 0, state.byteLength >> 3),
      start: Place.start,
      integers: Place.integers,
    });
    allocator.alloc(64);
    allocator.verify();
    return { allocator, journal };
  }

  test("a descriptor that is left open is found", () => {
    const { allocator, journal } = start();
    journal.begin({ call: Call.open, failure: -1, isWide: false }, 0, 0, true).set([7, 0]);
    assert.throws(() => allocator.verify(), /invariant 19 is broken/);
  });

  test("a block that is leaving is found, and one that is held", () => {
    const { allocator, journal } = start();
    const [block] = allocator.blocks();
    assert.ok(block);
    journal.take([], block.rx);
    assert.throws(() => allocator.verify(), /invariant 19 is broken/);
    journal.drop([]);
    allocator.verify();
    journal.take([{ address: block.rw, sizeBytes: block.size }], 0);
    assert.throws(() => allocator.verify(), /invariant 19 is broken/);
  });
});
