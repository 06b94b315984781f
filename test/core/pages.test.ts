/** The pages in which nothing is live, compared with the granules one by one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Core } from "../../src/core/core.ts";
import { eachFreeRun } from "../../src/core/pages.ts";
import { addBlock } from "../../src/core/run-index.ts";
import { granulesOf } from "../../src/core/survey.ts";
import { Random } from "../support/random.ts";

const BLOCK_BYTES = 65_536;
const SEED = 20261127;

/** The runs of pages whose granules are all free, but for padding. */
function runsByGranule(granules: Uint8Array, granulesPerPage: number, padding: number): [number, number][] {
  const runs: [number, number][] = [];
  for (let page = 0; page * granulesPerPage < granules.length; page++) {
    const start = Math.max(page * granulesPerPage, padding);
    const isFree = granules.subarray(start, (page + 1) * granulesPerPage).every((granule) => granule === 0);
    const last = runs.at(-1);
    if (!isFree) continue;
    if (last?.[1] === page) last[1] = page + 1;
    else runs.push([page, page + 1]);
  }
  return runs;
}

describe("the pages of a block in which nothing is live", () => {
  for (const granularity of [64, 128, 256])
    for (const padding of [true, false])
      for (const pageBytes of [4096, 16_384, 65_536]) {
        const name = `granules of ${granularity}, ${padding ? "with" : "without"} padding, pages of ${pageBytes}`;
        test(`${name} (seed ${SEED})`, () => {
          const random = new Random(SEED);
          const core = new Core({
            ...{ granularity, padding, poolsPerKind: 1, immediateRelease: false },
            ...{ blockSize: BLOCK_BYTES, maxReservedSize: 64 * BLOCK_BYTES },
          });
          const block = addBlock(core, 0, 2 ** 40, 2 ** 41, 4 * BLOCK_BYTES);
          const live: number[] = [];
          let seen = 0;
          for (let round = 0; round < 3000; round++) {
            const isGrowing = round % 600 < 300;
            if (random.chance(isGrowing ? 0.8 : 0.3)) {
              if (core.alloc(0, random.chance(0.1) ? random.between(1, 200) : random.between(1, 12)))
                live.push(core.addressOf(core.block, core.granule));
            } else if (live.length > 0) {
              const [address = 0] = live.splice(random.below(live.length), 1);
              core.release(address);
            }
            if (round % 20 !== 0) continue;
            const runs: [number, number][] = [];
            eachFreeRun(core.words, block, pageBytes, (first, end) => runs.push([first, end]));
            const granules = granulesOf(core.words, block);
            assert.deepEqual(runs, runsByGranule(granules, pageBytes / granularity, padding ? 1 : 0));
            seen += runs.length;
          }
          assert.ok(seen > 0, "there were free pages");
        });
      }
});
