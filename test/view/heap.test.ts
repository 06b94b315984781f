/** The heap that a page shows is, at any moment and whichever way one comes there, what the trace makes of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readTrace } from "../../src/cli/trace.ts";
import { NotesReader } from "../../src/cli/trace-notes.ts";
import { pageOfTrace, placeByNotes } from "../../src/cli/view-trace.ts";
import { pageOfSnapshot } from "../../src/view/snapshot-page.ts";
import { tagOf, formatSize } from "../../viewer/colours.ts";
import { FREE, Heap, PADDING, UNMAPPED } from "../../viewer/heap.ts";
import { Layout } from "../../viewer/layout.ts";
import { matcherOf } from "../../viewer/search.ts";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { Random } from "../support/random.ts";

const BASE = 0x7f00_0000_0000;

/** A random trace with addresses, and which id has each granule after each operation; 0 = none. */
function randomTrace(seed: number, operations: number): { text: string; states: number[][] } {
  const random = new Random(seed);
  const granules = new Array<number>(256).fill(0);
  const lines = ['# options {"granularity":64,"blockSize":4096}'];
  const states = [[...granules]];
  const live = new Map<number, { start: number; length: number }>();
  for (let id = 1; states.length <= operations; id++) {
    const ids = [...live.keys()];
    const choice = random.between(0, 3);
    const chosen = ids[random.between(0, Math.max(0, ids.length - 1))];
    const known = chosen === undefined ? undefined : live.get(chosen);
    if (chosen !== undefined && known !== undefined && choice <= 1) {
      const length = choice === 0 ? 0 : random.between(1, known.length);
      granules.fill(0, known.start + length, known.start + known.length);
      lines.push(choice === 0 ? `f ${chosen}` : `s ${chosen} ${length * 64}`);
      if (choice === 0) live.delete(chosen);
      else known.length = length;
    } else {
      const length = random.between(1, 12);
      const start = random.between(0, granules.length - length);
      if (granules.slice(start, start + length).some((owner) => owner !== 0)) continue;
      granules.fill(id, start, start + length);
      live.set(id, { start, length });
      lines.push(`a ${id} ${length * 64 - random.between(0, 63)}`);
      lines.push(`# at ${id} 0x${(BASE + start * 64).toString(16)} code f${id}`);
    }
    states.push([...granules]);
  }
  return { text: `${lines.join("\n")}\n`, states };
}

function heapOf(text: string): Heap {
  const bytes = new TextEncoder().encode(text);
  const reader = new NotesReader();
  const trace = readTrace("x.trace", bytes, (...comment) => reader.read(...comment));
  const notes = reader.notesOn(trace);
  const data = pageOfTrace("x", trace, notes, placeByNotes(trace, notes), false);
  return new Heap(data, new Layout(data.header, 2));
}

test("it shows each moment of a trace, whatever was shown before", () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.nat({ max: 60 }), { minLength: 1 }), (seed, moments) => {
      const { text, states } = randomTrace(seed, 60);
      const heap = heapOf(text);
      for (const moment of moments) {
        heap.moveTo(moment);
        const expected = states[moment] ?? [];
        const shown = expected.map((_, granule) => {
          const place = heap.layout.placeOfAddress(BASE + granule * 64);
          const piece = place === undefined ? -1 : heap.pieceAt(place);
          return piece < 0 ? 0 : Number(heap.nameOf(piece).slice(1));
        });
        assert.deepEqual(shown, expected, `after ${moment} operations`);
        const ids = new Set(expected.filter((id) => id !== 0));
        const { live, liveBytes, reservedBytes } = heap.counts();
        assert.equal(live, ids.size);
        assert.equal(liveBytes, 64 * expected.filter((id) => id !== 0).length);
        const freeBytes = heap.freeClasses().reduce((sum, { bytes }) => sum + bytes, 0);
        assert.equal(freeBytes, reservedBytes - liveBytes);
      }
    }),
    { numRuns: 40 },
  );
});

test("the series end where the trace ends, and have what was live in between", () => {
  const { text, states } = randomTrace(7, 50);
  const { at, live } = heapOf(text).series(1000);
  assert.deepEqual(at, [...states.keys()]);
  assert.deepEqual(
    live,
    states.map((granules) => 64 * granules.filter((id) => id !== 0).length),
  );
});

describe("a snapshot", () => {
  const allocator = new JitAllocator({}, new SimulatedMemory());
  const named = allocator.alloc(100, { name: "tier:Add" });
  const other = allocator.alloc(64);
  const data = pageOfSnapshot("test", allocator.snapshot());
  const heap = new Heap(data, new Layout(data.header, 1));

  test("shows allocations, padding and what is free", () => {
    assert.deepEqual(
      [...heap.livePieces()].map((piece) => [heap.addressOf(piece), heap.sizeOf(piece), heap.nameOf(piece)]),
      [
        [named.rx, 128, "tier:Add"],
        [other.rx, 64, ""],
      ],
    );
    const at = (address: number): number | undefined =>
      heap.owners[heap.layout.placeOfAddress(address) ?? -1];
    assert.equal(at(named.rx - 64), PADDING);
    assert.equal(at(other.rx + 64), FREE);
    assert.equal(heap.layout.placeOfAddress(0x1000), undefined);
    assert.ok(!heap.owners.includes(UNMAPPED));
  });

  test("is searched by parts of names, and by addresses", () => {
    const found = (text: string): number[] => {
      const matches = matcherOf(heap, text);
      assert.ok(matches);
      return [...heap.livePieces()].filter(matches).map((piece) => heap.addressOf(piece));
    };
    assert.deepEqual(found("aDD"), [named.rx]);
    assert.deepEqual(found("sub"), []);
    assert.deepEqual(found(`0x${(named.rx + 65).toString(16)}`), [named.rx]);
    assert.deepEqual(found("0x1000"), []);
    assert.equal(matcherOf(heap, "  "), undefined);
  });
});

test("it counts what shares a cell, of snapshots and of traces, and knows addresses and sizes of each", () => {
  const blocks = Array.from({ length: 48 }, (_, index) => BASE + index * 2 ** 26);
  const starts = blocks.flatMap((rx) => Array.from({ length: 50 }, (_, index) => rx + 64 * index));
  const lines = starts.flatMap((rx, id) => [`a ${id} 60`, `# at ${id} 0x${rx.toString(16)} code f${id}`]);
  for (let id = 1; id < starts.length; id += 2) lines.push(`f ${id}`);
  const options = '# options {"granularity":64,"blockSize":67108864}';
  const ofTrace = heapOf(`${options}\n${lines.join("\n")}\n`);
  ofTrace.moveTo(starts.length);
  const { process, takenAt, schema, statistics } = new JitAllocator({}, new SimulatedMemory()).snapshot();
  const block = {
    size: 2 ** 26,
    kind: "code",
    granularity: 64,
    usedSize: 3200,
    allocationCount: 50,
  } as const;
  const data = pageOfSnapshot("large", {
    ...{ process, takenAt, schema, statistics },
    blocks: blocks.map((rx) => ({ ...block, rx, rw: rx })),
    spans: starts.map((rx, id) => ({ rx, size: 64, block: Math.floor(id / 50), name: `f${id}` })),
  });
  assert.ok(data.header.notes.some((note) => note.includes("256 bytes")));
  const ofSnapshot = new Heap(data, new Layout(data.header, 2));
  for (const heap of [ofTrace, ofSnapshot]) {
    assert.equal(heap.header.cellSize, 256);
    const { live, liveBytes, reservedBytes } = heap.counts();
    assert.deepEqual([live, liveBytes, reservedBytes], [2400, 2400 * 64, 48 * 2 ** 26]);
    assert.deepEqual(
      [...heap.livePieces()].map((piece) => heap.addressOf(piece)),
      starts,
    );
    const piece = heap.pieceFrom(starts[77] ?? 0);
    assert.deepEqual([heap.nameOf(piece), heap.sizeOf(piece)], ["f77", 64]);
    assert.equal(heap.pieceFrom((starts[77] ?? 0) + 1), -1);
    const matches = matcherOf(heap, `0x${((starts[77] ?? 0) + 63).toString(16)}`);
    assert.ok(matches);
    assert.deepEqual([...heap.livePieces()].filter(matches), [piece]);
    const free = heap.freeClasses().filter(({ runs }) => runs > 0);
    assert.deepEqual(free, [{ shortest: 2 ** 25, runs: 48, bytes: 48 * (2 ** 26 - 3200) }]);
  }
  ofTrace.moveTo(starts.length + 1);
  assert.deepEqual([ofTrace.counts().live, ofTrace.counts().liveBytes], [2399, 2399 * 64]);
  assert.equal(ofTrace.nameOf(ofTrace.pieceAt(ofTrace.layout.placeOfAddress(starts[1] ?? 0) ?? 0)), "f3");
  ofTrace.moveTo(2 * starts.length);
  assert.equal(ofTrace.counts().live, 1200);
  assert.equal(ofTrace.series(10).live.at(-1), 1200 * 64);
});

test("a tag is what comes before the first colon or dot", () => {
  assert.deepEqual(["a:b.c", "a.b:c", "ab", ".b"].map(tagOf), ["a", "a", "", ""]);
});

test("sizes have units of 1,024", () => {
  assert.deepEqual([0, 1023, 1536, 2 ** 20, 200 * 2 ** 30].map(formatSize), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "1 MiB",
    "200 GiB",
  ]);
});
