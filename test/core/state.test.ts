/** A buffer that is given away, and what is left behind. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Core } from "../../src/core/core.ts";
import { addBlock, removeBlock } from "../../src/core/run-index.ts";
import type { CoreOptions } from "../../src/core/state.ts";
import { Status } from "../../src/core/status.ts";
import { verifyStructure } from "../../src/core/verify.ts";

const MiB = 2 ** 20;
const BASE = 2 ** 40;
const OPTIONS: CoreOptions = {
  ...{ granularity: 64, padding: true, poolsPerKind: 3, immediateRelease: false },
  ...{ blockSize: 65_536, maxReservedSize: 512 * MiB },
};

/** A core that has had blocks and allocations, and has none any more. */
function usedCore(): Core {
  const core = new Core(OPTIONS);
  const blocks = [0, 1, 2].map((pool) =>
    addBlock(core, pool, BASE + pool * 64 * MiB, 2 * BASE + pool * 64 * MiB, 64 * MiB),
  );
  const addresses: number[] = [];
  while (addresses.length < 9000) {
    assert.ok(core.alloc(addresses.length % 3, 1 + (addresses.length % 9)));
    addresses.push(core.addressOf(core.block, core.granule));
  }
  for (const address of addresses.filter((_, index) => index % 2 === 0)) core.release(address);
  core.limitReserved(256 * MiB);
  for (const block of blocks) removeBlock(core, block);
  return core;
}

describe("a core that gives its buffer away", () => {
  test("gives all of it, cleared, to one with the same limit", () => {
    const core = usedCore();
    const { buffer } = core;
    const given = core.giveBuffer(OPTIONS);
    assert.equal(given, buffer);
    assert.ok(new Int32Array(given).every((word) => word === 0));
    const next = new Core(OPTIONS, undefined, given);
    assert.equal(next.buffer, buffer);
    assert.deepEqual(
      next.words.subarray(0, next.overheadBytes / 4),
      new Core(OPTIONS).words.subarray(0, next.overheadBytes / 4),
    );
    assert.notEqual(new Core({ ...OPTIONS, maxReservedSize: 64 * MiB }, undefined, given).buffer, buffer);
  });

  test("is one without blocks from then on, whatever the next one does", () => {
    const core = usedCore();
    const next = new Core(OPTIONS, undefined, core.giveBuffer(OPTIONS));
    addBlock(next, 0, BASE, 2 * BASE, 64 * MiB);
    assert.ok(next.alloc(0, 5));
    const address = next.addressOf(next.block, next.granule);
    assert.equal(core.release(address), Status.unknownAddress);
    assert.equal(core.locate(address), Status.unknownAddress);
    assert.equal(core.alloc(0, 1), false);
    assert.deepEqual([core.blockCount, core.reservedBytes, core.firstBlock()], [0, 0, 0]);
    assert.equal(core.maxReservedBytes, 256 * MiB, "what was in force still is");
    assert.equal(addBlock(core, 0, BASE, 2 * BASE, 64 * MiB), 0, "it cannot grow");
    for (const each of [core, next]) verifyStructure(each.words, each.doubles);
  });
});
