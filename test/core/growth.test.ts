/** What becomes of a release during which the buffer of the metadata grows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { admitSpans } from "../../src/core/blocks.ts";
import { Core } from "../../src/core/core.ts";
import { valueAt } from "../../src/core/generations.ts";
import { Header, Unit } from "../../src/core/layout.ts";
import { addBlock } from "../../src/core/run-index.ts";
import { Status } from "../../src/core/status.ts";

const BLOCK_BYTES = 65_536;
const GRANULES = BLOCK_BYTES / 64;

test("a release leaves its mark in the block's table, also where the buffer has grown to hold the table", () => {
  const core = new Core({
    ...{ granularity: 64, padding: false, poolsPerKind: 1, immediateRelease: false },
    ...{ blockSize: BLOCK_BYTES, maxReservedSize: 2 ** 30 },
  });
  core.needRoom();
  const block = addBlock(core, 0, 2 ** 40, 2 ** 41, BLOCK_BYTES);
  assert.ok(admitSpans(core, block));
  const header = (field: Header): number => core.words[field] ?? 0;
  const freeUnits = (): number =>
    (core.words.length >> Unit.shift) - header(Header.unitCount) - header(Header.promised);
  while (freeUnits() > 0) core.takeUnits(1, false);
  for (const count of [GRANULES - 3, 1]) assert.ok(core.alloc(0, count));
  const { granule } = core;
  assert.ok(core.alloc(0, 1)); // the run that the release leaves is not the tail
  const length = core.words.length;
  assert.equal(core.free(block, granule, false), Status.ok);
  assert.ok(core.words.length > length, "the buffer has grown");
  assert.notEqual(valueAt(core.words, block, granule), 0, "the mark");
});
