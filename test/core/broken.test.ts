/** A core whose buffer somebody has written over: each walk ends, and names the invariant that it met broken. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findBlock } from "../../src/core/blocks.ts";
import { planBlock } from "../../src/core/plan.ts";
import { addBlock, indexAll } from "../../src/core/run-index.ts";
import { Core } from "../../src/core/core.ts";
import { firstNotFull, lastNotFull } from "../../src/core/full-words.ts";
import { Bins, Block, Header, Link, Pool, Pools, Unit } from "../../src/core/layout.ts";
import { readLedger } from "../../src/core/ledger.ts";
import { rebuild } from "../../src/core/rebuild.ts";
import { granulesOf, totalLiveCount } from "../../src/core/survey.ts";
import { verifyStructure } from "../../src/core/verify.ts";

const BLOCK_BYTES = 65_536;
const BASE = 2 ** 40;
/** The index of the one pool. */
const POOL: number = Pools.start;

/** A core with three blocks, of which something is free here and there, and the indices of these. */
function damagedCore(): { core: Core; words: Int32Array; blocks: readonly [number, number, number] } {
  const core = new Core({
    granularity: 64,
    poolsPerKind: 1,
    padding: false,
    immediateRelease: false,
    blockSize: BLOCK_BYTES,
    maxReservedSize: 64 * BLOCK_BYTES,
  });
  const blocks = [0, 1, 2].map((number) => {
    const rx = BASE + number * BLOCK_BYTES;
    const block = addBlock(core, 0, rx, rx, BLOCK_BYTES);
    const addresses = Array.from({ length: 40 }, () => {
      assert.ok(core.alloc(0, 20));
      return core.addressOf(core.block, core.granule);
    });
    for (const [index, address] of addresses.entries()) if (index % 3 === 0) core.release(address);
    return block;
  });
  verifyStructure(core.words, core.doubles);
  return { core, words: core.words, blocks: blocks as [number, number, number] };
}

/** The class of the longest list, which a release of 20 granules enters. */
const CLASS_OF_20 = 19;

interface Damage {
  readonly name: string;
  /** Of several, the first one comes where the assertions are in. */
  readonly invariant: number | readonly number[];
  readonly damage: (words: Int32Array, blocks: readonly [number, number, number], core: Core) => void;
  readonly act: (core: Core, blocks: readonly [number, number, number]) => unknown;
}

const verify = ({ words, doubles }: Core): void => verifyStructure(words, doubles);
const addOne = (core: Core): number => addBlock(core, 0, BASE - 2 ** 30, BASE - 2 ** 30, BLOCK_BYTES);

/** The block at the root of the tree points to itself, on both sides. */
const loopTree: Damage["damage"] = (words) => {
  const root = words[Header.treeRoot] ?? 0;
  words.fill(root, root + Block.left, root + Block.right + 1);
};

const DAMAGES: readonly Damage[] = [
  {
    name: "a tree that goes round, where a block is looked up",
    invariant: 2,
    damage: loopTree,
    act: (core) => findBlock(core, 1),
  },
  {
    name: "the same, where the first block is asked for",
    invariant: 2,
    damage: loopTree,
    act: (core) => core.firstBlock(),
  },
  { name: "the same, where a block is added", invariant: 2, damage: loopTree, act: addOne },
  { name: "the same, where all is verified", invariant: 2, damage: loopTree, act: verify },
  {
    name: "a walk of the tree that goes back",
    invariant: 3,
    damage: (words, [, second, third]) => {
      words.fill(0, second + Block.left, second + Block.right + 1);
      words.fill(0, third + Block.left, third + Block.right + 1);
      words[second + Block.parent] = third;
      words[third + Block.left] = second;
      words[third + Block.parent] = second;
      words[second + Block.right] = third;
      words[Header.treeRoot] = second;
    },
    act: ({ words, doubles }) => totalLiveCount(words, doubles),
  },
  {
    name: "a ring of blocks that does not lead back",
    invariant: 4,
    damage: (words, [first]) => (words[first + Block.inPool + Link.next] = first + Block.inPool),
    act: (core) => planBlock(core, 0, 1, false),
  },
  {
    name: "a ring of blocks that leaves the buffer",
    invariant: 4,
    damage: (words) => (words[POOL + Pool.blocks + Link.next] = 0x7fff_fff0),
    act: (core) => indexAll(core),
  },
  {
    name: "a ring of free chunks that goes round",
    invariant: 6,
    damage: (words) => (words[Bins.start + Link.next] = POOL),
    act: verify,
  },
  {
    name: "a ring of dirty blocks that goes round",
    invariant: 11,
    damage: (words, [first]) => (words[POOL + Pool.dirtyBlocks + Link.next] = first + Block.inDirty),
    act: (core) => core.alloc(0, 20),
  },
  {
    name: "a dirty block without dirty words",
    invariant: 11,
    damage: (words, [first], core) => {
      for (let address = BASE + 64 * 20; address < BASE + 64 * 800; address += 64 * 60) core.release(address);
      assert.notEqual(words[first + Block.inDirty + Link.next], 0);
      words[first + Block.full] = 0x7fff_ffff;
    },
    act: (core) => core.alloc(0, 20),
  },
  {
    name: "too many pools",
    invariant: 1,
    damage: (words) => (words[Header.poolCount] = 2 ** 30),
    act: verify,
  },
  {
    name: "too many pools, where their lists are made anew",
    invariant: 1,
    damage: (words) => (words[Header.poolCount] = 2 ** 30),
    act: (core) => indexAll(core),
  },
  {
    name: "frames of no size",
    invariant: 1,
    damage: (words) => (words[Header.frameShift] = -0x8000_0000),
    act: addOne,
  },
  {
    name: "an owner table of no length",
    invariant: 5,
    damage: (words) => words.fill(0, Header.ownersCapacity, Header.unitCount),
    act: (core) => addBlock(core, 0, BASE - 2 ** 30, BASE - 2 ** 30, 32 * BLOCK_BYTES),
  },
  {
    name: "a negative count of units",
    invariant: 5,
    damage: (words) => (words[Header.unitCount] = -1),
    act: verify,
  },
  {
    name: "an allocation without an end",
    invariant: 7,
    damage: (words, [, , third]) => words.fill(0, words[third + Block.records] ?? 0),
    act: (core, [, , third]) => core.lengthAt(third, 5),
  },
  {
    name: "an allocation without a beginning",
    invariant: 7,
    damage: (words, [first]) => {
      const records = words[first + Block.records] ?? 0;
      words.fill(0, records - 2, records + 2);
    },
    act: (core) => core.locate(BASE + 64 * 5),
  },
  ...[
    { field: Block.capacity, value: 0x7fff_ffff },
    { field: Block.tail, value: 0x7fff_ffff },
    { field: Block.tail, value: -1 },
    { field: Block.records, value: 0x7fff_ff00 },
  ].map(({ field, value }) => ({
    name: `a block of which field ${field} is ${value}`,
    invariant: 9,
    damage: (words: Int32Array, [first]: readonly [number, number, number]) => (words[first + field] = value),
    act: (core: Core, [first]: readonly [number, number, number]) => {
      assert.throws(() => indexAll(core), /^Error: invariant 9 is broken/);
      return granulesOf(core.words, first);
    },
  })),
  {
    name: "a list that goes round",
    invariant: [5, 12],
    damage: (words) => {
      const top = words[POOL + Pool.classTops + CLASS_OF_20] ?? 0;
      assert.ok(top > 0);
      words[top & -Unit.integers] = top;
    },
    act: (core) => {
      assert.throws(() => verify(core), /^Error: invariant 12 is broken/);
      indexAll(core);
    },
  },
  {
    name: "a list of nothing that goes round, where a hole is looked for",
    invariant: 12,
    damage: (words) => {
      const top = words[POOL + Pool.classTops + CLASS_OF_20] ?? 0;
      const chunk = top & -Unit.integers;
      words.fill(0, chunk + 1, chunk + Unit.integers);
      words[chunk] = chunk + Unit.integers - 1;
      words[POOL + Pool.spareChunks] = chunk + Unit.integers - 1;
    },
    act: (core) => {
      for (let times = 0; times < 200; times++) core.alloc(0, 20);
    },
  },
  {
    name: "more chunks than there is room for",
    invariant: 12,
    damage: (words) => (words[POOL + Pool.chunkCount] = 0x7fff_ffff),
    act: (core) => indexAll(core),
  },
  {
    name: "full bits that are not in the buffer",
    invariant: 13,
    damage: (words, [first]) => {
      const records = words[first + Block.records] ?? 0;
      for (let record = records; record < records + 64; record += 2) words[record] = -1;
      words[first + Block.full] = 0x7fff_0000;
    },
    act: ({ words }, [first]) => {
      assert.throws(() => lastNotFull(words, first, 31), /^Error: invariant 13 is broken/);
      return firstNotFull(words, first, 0);
    },
  },
];

describe("what somebody has written over", () => {
  for (const { name, invariant, damage, act } of DAMAGES) {
    test(name, () => {
      const { core, words, blocks } = damagedCore();
      damage(words, blocks, core);
      assert.throws(
        () => act(core, blocks),
        new RegExp(`^Error: invariant (${[invariant].flat().join("|")}) is broken`),
      );
    });
  }

  test("spare chunks that go round", () => {
    const core = new Core({
      ...{ granularity: 64, poolsPerKind: 1, padding: false, immediateRelease: false },
      ...{ blockSize: BLOCK_BYTES, maxReservedSize: 64 * BLOCK_BYTES },
    });
    addBlock(core, 0, BASE, BASE, BLOCK_BYTES); // nothing is free in it that would have to be listed
    const chunk = 100 * Unit.integers;
    core.words[chunk] = chunk;
    core.words[POOL + Pool.spareChunks] = chunk;
    assert.throws(() => indexAll(core), /^Error: invariant (5|12) is broken/);
  });

  test("a ledger that is none", () => {
    const words = new Int32Array(64);
    const read = (generations: number, capacity: number): void =>
      readLedger(words, generations, 0, capacity, () => undefined);
    read(32, 32);
    for (const [generations, capacity] of [
      [32, 33],
      [0, 32],
      [NaN, 32],
      [32, Infinity],
    ] as const) {
      assert.throws(() => read(generations, capacity), /^Error: invariant 17 is broken/);
    }
    words[32] = -1;
    words[33] = 33;
    assert.throws(() => read(32, 32), /^Error: invariant 17 is broken/);
  });

  test("blocks that leave no room for the owner table", () => {
    const { core } = damagedCore();
    const known = {
      pool: 0,
      rx: BASE,
      rw: BASE,
      sizeBytes: BLOCK_BYTES,
      block: 2 ** 26,
      generations: 2 ** 25,
    };
    assert.throws(() => rebuild(core.words, core.doubles, [known]), /^Error: invariant 5 is broken/);
  });
});
