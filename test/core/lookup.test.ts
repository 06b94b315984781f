/** The look-up of blocks by address, held against the tree and against a list of the blocks. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findBlock } from "../../src/core/blocks.ts";
import { Core } from "../../src/core/core.ts";
import { Header, Lookup } from "../../src/core/layout.ts";
import { placeInGap } from "../../src/core/gaps.ts";
import { lookUp, restoreLookUp, verifyLookUp } from "../../src/core/lookup.ts";
import { addBlock, removeBlock } from "../../src/core/run-index.ts";
import { layOutLookUp } from "../../src/core/state.ts";
import { verifyStructure } from "../../src/core/verify.ts";
import { Random } from "../support/random.ts";

const UNIT = 65_536;
const GiB = 2 ** 30;
const SEED = 20261211;
/** Such that the range crosses a multiple of 4 GiB, where the lower half of an address begins anew. */
const BASE = 2 ** 46 + 3 * GiB;

function newCore(): Core {
  return new Core({
    ...{ granularity: 64, padding: true, poolsPerKind: 1, immediateRelease: false },
    ...{ blockSize: UNIT, maxReservedSize: 4 * GiB },
  });
}

function isExact({ words }: Core): boolean {
  return words[Header.isExact] === 1;
}

describe("the look-up of blocks by address", () => {
  test(`in a range it names the block of every address (seed ${SEED})`, () => {
    const random = new Random(SEED);
    const core = newCore();
    const blocks = new Map<number, { readonly block: number; readonly size: number }>();
    let longest = 0;
    for (let round = 0; round < 400; round++) {
      const size = random.pick([1, 1, 4, 16, 64, 512]) * UNIT;
      const at = placeInGap(core.words, core.doubles, BASE, BASE + 2 * GiB, size, "lowest");
      if (at !== -1 && random.chance(round % 200 < 120 ? 0.9 : 0.2)) {
        blocks.set(at, { block: addBlock(core, 0, at, at + 4 * GiB, size), size });
      } else if (blocks.size > 0) {
        const rx = random.pick([...blocks.keys()]);
        removeBlock(core, blocks.get(rx)?.block ?? 0);
        blocks.delete(rx);
      }
      longest = Math.max(longest, (core.words[Header.lookupMask] ?? 0) + 1);
      if (round % 20 === 0) verifyLookUp(core.words, core.doubles);
      for (const [rx, { block, size: bytes }] of blocks)
        for (const address of [rx, rx + bytes - 1, rx + random.below(bytes)]) {
          assert.equal(lookUp(core.words, address), block);
          assert.equal(findBlock(core, address), block);
        }
      for (let probe = 0; probe < 8; probe++) {
        const address = BASE + random.below(2 * GiB);
        const known = [...blocks].find(([rx, { size: bytes }]) => address >= rx && address < rx + bytes);
        assert.equal(findBlock(core, address), known?.[1].block ?? 0);
      }
    }
    assert.ok(longest > Lookup.entries, "the table has grown");
    assert.ok(isExact(core));
  });

  test("its table has 0.1 % of what is reserved at the most, and goes with the last block", () => {
    const core = newCore();
    const first = addBlock(core, 0, BASE, BASE + 4 * GiB, UNIT);
    const before = core.overheadBytes;
    const far = addBlock(core, 0, BASE + GiB, BASE + 5 * GiB, UNIT);
    assert.equal(isExact(core), false, "a table for a gibibyte is not worth it for two small blocks");
    assert.ok(core.overheadBytes - before < 4096);
    for (const block of [first, far]) removeBlock(core, block);
    assert.equal(isExact(core), true);
    const large = addBlock(core, 0, BASE, BASE + 4 * GiB, GiB);
    assert.equal(core.words[Header.lookupMask], GiB / UNIT - 1);
    verifyStructure(core.words, core.doubles);
    removeBlock(core, large);
    assert.equal(core.words[Header.lookup], Lookup.start);
    verifyStructure(core.words, core.doubles);
  });

  test("a table that a longer one replaces is given back", () => {
    const core = newCore();
    let at = BASE;
    let before = 0;
    for (const size of [64, 256, 1024].map((MiB) => MiB * 2 ** 20)) {
      addBlock(core, 0, at, at + 4 * GiB, size);
      assert.ok(core.alloc(0, size / 64 - 1));
      at += size;
      const length = (core.words[Header.lookupMask] ?? 0) + 1;
      assert.ok(isExact(core) && length > before, "a longer one");
      before = length;
      verifyStructure(core.words, core.doubles); // each unit of the buffer has an owner
    }
  });

  test("blocks that share a frame are found by the tree", () => {
    const core = newCore();
    const low = addBlock(core, 0, BASE + 4096, BASE + GiB, UNIT);
    const high = addBlock(core, 0, BASE + 4096 + UNIT, BASE + 2 * GiB, UNIT);
    assert.equal(isExact(core), false);
    verifyLookUp(core.words, core.doubles);
    for (const [address, block] of [
      [BASE + 4095, 0],
      [BASE + 4096, low],
      [BASE + 4095 + UNIT, low],
      [BASE + 4096 + UNIT, high],
      [BASE + 4096 + 2 * UNIT, 0],
    ] as const)
      assert.equal(findBlock(core, address), block);
    removeBlock(core, low);
    assert.equal(findBlock(core, BASE + 4096), 0);
    assert.equal(findBlock(core, BASE + 4096 + UNIT), high);
  });

  test("a repair makes it exact again", () => {
    const core = newCore();
    const block = addBlock(core, 0, BASE, BASE + 4 * GiB, GiB);
    assert.ok(isExact(core));
    core.arena.give(core.words[Header.lookup] ?? 0, (GiB / UNIT) >> 6);
    layOutLookUp(core.words);
    core.words[Header.isExact] = 0;
    restoreLookUp(core);
    assert.ok(isExact(core));
    assert.equal(lookUp(core.words, BASE + GiB - 1), block);
    verifyLookUp(core.words, core.doubles);
  });

  for (const [name, entry, value] of [
    ["that misses a frame of a block", Lookup.start + ((BASE >>> 16) & 1023), 0],
    ["that names what is no block", Lookup.start + 5, 64],
  ] as const)
    test(`verify() sees a table ${name}`, () => {
      const core = newCore();
      addBlock(core, 0, BASE, BASE + 4 * GiB, UNIT);
      verifyStructure(core.words, core.doubles);
      core.words[entry] = value;
      assert.throws(() => verifyStructure(core.words, core.doubles), /invariant 21 is broken/);
    });
});
