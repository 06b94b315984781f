/** What operations call has been called before the first of them: a first call needs much stack (src/base/stack.ts). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { JitAllocatorOptions } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";
import { needs } from "../support/requirements.ts";

/** What needs no rehearsal, by file or by function, and why. */
const EXEMPT: Readonly<Record<string, string>> = {
  "engine/span.js: get token": "called before anything has changed",
  "engine/span-identity.js: readToken": "called before anything has changed",
  "engine/write-scope.js: writeByCallback": "called before anything has changed",
  "engine/write-scope.js: checkPolicy": "called before anything has changed",
  "engine/block-memory.js: flush": "called when everything is written",
  "engine/filling.js: fillTaken": "asks for as much stack itself",
  "engine/block-trims.js: #trim": "asks for as much stack itself; what it throws stays inside",
  "engine/block-trims.js: ": "called by #trim",
  "engine/block-trims.js: mayHaveMemory": "what it throws stays inside",
  "core/pages.js": "called by #trim",
  "engine/block-range.js": "called by #trim, or for a new block, which asks for as much stack itself",
  "engine/ready-stretch.js": "called for a new block",
  "engine/reach.js": "called for a new block",
  "core/gaps.js": "called for a new block",
  "core/state.js: limitReserved": "called for a new block",
  "core/block-tree.js: rotate": "called for a new block or one that goes",
  "core/block-tree.js: opposite": "called for a new block or one that goes",
};

function isExempt(name: string): boolean {
  const [file = ""] = name.split(": ");
  return name in EXEMPT || file in EXEMPT;
}

const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { fillUnusedMemory: true },
  { useMultiplePools: true },
  { useDualMapping: false, immediateRelease: true },
];

describe(
  "the rehearsal",
  { skip: needs("v8") || (platform.runtime === "node" ? false : "it counts calls by Node's inspector") },
  () => {
    const child = fileURLToPath(new URL("rehearsal-child.js", import.meta.url));
    for (const options of CONFIGURATIONS) {
      test(`has called what random operations call: ${JSON.stringify(options)}`, () => {
        const { stdout, stderr } = spawnSync(process.execPath, [child, JSON.stringify(options)], {
          encoding: "utf8",
          env: { ...process.env, NODE_V8_COVERAGE: "" },
        });
        assert.equal(stderr, "");
        const { known, missed } = JSON.parse(stdout) as { known: number; missed: string[] };
        assert.ok(known > 80, `only ${known} functions were seen at all`);
        assert.deepEqual(
          missed.filter((name) => !isExempt(name)),
          [],
        );
      });
    }
  },
);
