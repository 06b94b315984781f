/** Snapshots are as the JSON schema in the documentation says, and it takes nothing else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { JitAllocator, type HeapSnapshot } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";

const schemaFile = path.resolve(import.meta.dirname, "../../../docs/heap-snapshot.schema.json");
const validate = new Ajv2020().compile(JSON.parse(readFileSync(schemaFile, "utf8")) as object);

function asJson(snapshot: HeapSnapshot): unknown {
  return JSON.parse(JSON.stringify(snapshot));
}

function makeSnapshots(): readonly HeapSnapshot[] {
  return [false, true].flatMap((isShared) =>
    [{}, { disableInitialPadding: true, useRange: false }].flatMap((options) => {
      const allocator = new JitAllocator(options, new SimulatedMemory({ hasRanges: true }));
      if (isShared) allocator.share();
      const empty = allocator.snapshot();
      const spans = [allocator.alloc(100, { name: "f" }), allocator.alloc(64, { kind: "data" })];
      allocator.enter();
      spans[0]?.retire();
      allocator.alloc(64);
      const full = allocator.snapshot({ code: true });
      allocator.leave();
      allocator.dispose();
      return [empty, full, allocator.snapshot()];
    }),
  );
}

test("every snapshot is as the schema says", () => {
  for (const snapshot of makeSnapshots())
    assert.ok(validate(asJson(snapshot)), JSON.stringify([validate.errors, snapshot]));
});

test("nothing else is", () => {
  for (const snapshot of makeSnapshots().filter(({ spans }) => spans.length > 0)) {
    const [span] = snapshot.spans;
    const others = [
      { ...snapshot, schema: "jit-allocator/heap-snapshot@2" },
      { ...snapshot, other: 1 },
      { ...snapshot, spans: [{ ...span, other: 1 }] },
      { ...snapshot, spans: [{ ...span, retired: false }] },
      { ...snapshot, spans: [{ rx: span?.rx }] },
      { ...snapshot, blocks: [{ ...snapshot.blocks[0], kind: "stack" }] },
      { ...snapshot, takenAt: "today" },
      { ...snapshot, statistics: {} },
    ];
    for (const other of others) assert.ok(!validate(other), JSON.stringify(other));
  }
});
