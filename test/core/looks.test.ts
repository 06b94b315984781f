/** How often a release looks at the use of its block. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Core } from "../../src/core/core.ts";
import { Block } from "../../src/core/layout.ts";
import { addBlock } from "../../src/core/run-index.ts";
import { Status } from "../../src/core/status.ts";
import { disarmTrim, spaceLooks } from "../../src/core/thrift.ts";

const BLOCK = 0;

/** The header of a block, and its live allocations. */
function blockWith(live: number): Int32Array {
  const words = new Int32Array(64);
  words[BLOCK + Block.live] = live;
  return words;
}

const looks = (words: Int32Array, live: number): boolean =>
  (live & (words[BLOCK + Block.lookMask] ?? 0)) === 0;

describe("looks at the use of a block", () => {
  test("the first release in a new block looks", () => {
    assert.ok(looks(blockWith(1234), 1234));
  });

  test("from any count down, the next look comes after at most an eighth of it, or 16", () => {
    for (let live = 1; live < 5000; live++) {
      const words = blockWith(live);
      spaceLooks(words, BLOCK);
      let next = live;
      while (!looks(words, next)) next -= 1;
      assert.ok(live - next <= Math.max(16, live >>> 3), `${live} to ${next}`);
    }
  });

  test("a count that was looked at is not looked at again", () => {
    for (let live = 1; live < 5000; live++) {
      const words = blockWith(live);
      spaceLooks(words, BLOCK);
      assert.equal(looks(words, live), false, `${live}`);
    }
  });

  test("all the way down there are at most 16 looks for each halving, and 16 at the end", () => {
    let count = 0;
    const words = blockWith(2 ** 20);
    for (let live = 2 ** 20; live > 0; live--) {
      if (!looks(words, live)) continue;
      count += 1;
      words[BLOCK + Block.live] = live;
      spaceLooks(words, BLOCK);
    }
    assert.ok(count <= 20 * 16, `${count}`);
  });

  test("a release that comes alone does not make the next one at the same count look again", () => {
    const core = new Core({
      ...{ granularity: 64, padding: true, poolsPerKind: 1, immediateRelease: false },
      ...{ blockSize: 65_536, maxReservedSize: 2 ** 30 },
    });
    core.needRoom();
    const block = addBlock(core, 0, 2 ** 40, 2 ** 41, 65_536);
    const allocAndRelease = (): void => {
      assert.ok(core.alloc(0, 1));
      assert.equal(core.free(block, core.granule, false), Status.ok);
    };
    assert.ok(core.alloc(0, 1));
    allocAndRelease();
    assert.equal(looks(core.words.subarray(block), 1), false);
  });

  test("the last allocation always looks, also where nothing can be given back", () => {
    for (const live of [1, 7, 16, 4096]) {
      const words = blockWith(live);
      spaceLooks(words, BLOCK);
      assert.ok(looks(words, 0));
      disarmTrim(words, BLOCK);
      spaceLooks(words, BLOCK);
      assert.ok(looks(words, 0));
      assert.equal(looks(words, live), false);
    }
  });
});
