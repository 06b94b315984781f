/** The rehearsal calls every function that allocations, releases and shrinks call, unless these look for stack on the way. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { describe, test } from "node:test";
import type { JitAllocatorOptions } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";

const child = path.join(import.meta.dirname, "rehearsal-child.js");

/** What operations call behind a look of their own (`needMuchStack`, or the core's `needRoom`), by the functions that look. */
const BEHIND_LOOKS: Readonly<Record<string, readonly string[]>> = {
  "Core.#releaseLast": ["core/block.js clearGranules"],
  "NewRoom.make": [
    "core/holes.js takeFront",
    "core/run-index.js lengthOfEntry",
    "core/run-index.js blockOfPlace",
    "core/run-index.js granuleOfPlace",
  ],
  "BlockMemory.add and remove": ["core/block-tree.js rotate", "core/block-tree.js opposite"],
};
const behindLooks = new Set(Object.values(BEHIND_LOOKS).flat());

/** A getter, which no operation calls. */
const BEFORE_OPERATIONS = new Set(["engine/span.js get rx"]);

const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { useDualMapping: false, useRange: false },
  { useMultiplePools: true },
  { fillUnusedMemory: true },
  { immediateRelease: true },
];

describe(
  "the rehearsal",
  { skip: platform.runtime === "node" ? false : "it needs Node's inspector to count calls" },
  () => {
    for (const options of CONFIGURATIONS) {
      test(`has called whatever operations call: ${JSON.stringify(options)}`, () => {
        const { stdout, stderr } = spawnSync(process.execPath, [child, JSON.stringify(options)], {
          encoding: "utf8",
        });
        const late = (JSON.parse(stdout || stderr) as string[][]).map((place) => place.join(" "));
        assert.deepEqual(
          late.filter((place) => !behindLooks.has(place) && !BEFORE_OPERATIONS.has(place)),
          [],
        );
      });
    }
  },
);
