/** What `top` draws, and what keys change about it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { frameLines, mapLines } from "../../src/cli/top-frame.ts";
import { FIRST_VIEW, offsetsOf, pressed, spansIn, windowOf, type View } from "../../src/cli/top-view.ts";
import { JitAllocator, type HeapSnapshot } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { Random } from "../support/random.ts";

function makeSnapshot(count: number, isShared = false): HeapSnapshot {
  const memory = new SimulatedMemory({ gapBytes: 1 << 20, refusesViews: true });
  const allocator = new JitAllocator({}, memory);
  const random = new Random(7);
  const makers = isShared ? [allocator, attachOn(allocator.share(), memory)] : [allocator];
  const spans = Array.from({ length: count }, (_, index) => {
    const maker = makers[index % makers.length] ?? allocator;
    return maker.alloc(1 + random.below(3000), { name: `fn_${index}\x1b[2J` });
  });
  for (const [index, span] of spans.entries()) if (index % 3 === 0) allocator.release(span.rx);
  return allocator.snapshot();
}

function press(view: View, ...keys: readonly string[]): View {
  return keys.reduce((before, key) => pressed(before, key, 10, 100) ?? assert.fail(), view);
}

describe("a frame", () => {
  test("fits its terminal, whatever that is, and has nothing that commands it", () => {
    const snapshot = makeSnapshot(300);
    for (const rows of [1, 2, 5, 10, 24, 60]) {
      for (const columns of [10, 40, 80, 200]) {
        for (const view of [FIRST_VIEW, press(FIRST_VIEW, "+", "+"), press(FIRST_VIEW, "h")]) {
          const lines = frameLines(snapshot, view, { rows, columns, color: false });
          assert.equal(lines.length, rows);
          for (const line of lines) {
            assert.ok(line.length <= columns, line);
            assert.doesNotMatch(line, /\p{Cc}/u);
          }
        }
      }
    }
  });

  test("measures names in columns, and shows nothing that turns the text around", () => {
    const names = [
      "漢".repeat(60),
      `${"e\u0301".repeat(30)}|`,
      "\u202eevil\u2066",
      "👍".repeat(60),
      "\ud800x",
    ];
    const allocator = new JitAllocator({}, new SimulatedMemory());
    for (const name of names) allocator.alloc(64, { name });
    const view: View = { ...FIRST_VIEW, order: "address" };
    const lines = frameLines(allocator.snapshot(), view, { rows: 30, columns: 80, color: false });
    const start = lines.findIndex((line) => line.startsWith("address"));
    const shown = lines.slice(start + 1, start + 1 + names.length).map((line) => line.slice(31));
    assert.deepEqual(shown, [`${"漢".repeat(24)}…`, names[1], "?evil?", `${"👍".repeat(24)}…`, "?x"]);
  });

  test("has threads where there are some, and says what is empty", () => {
    const extent = { rows: 40, columns: 120, color: false };
    assert.match(
      frameLines(makeSnapshot(20, true), FIRST_VIEW, extent).join("\n"),
      /bytes {2}kind {2}thread {2}order/,
    );
    assert.doesNotMatch(frameLines(makeSnapshot(20), FIRST_VIEW, extent).join("\n"), /thread/);
    assert.match(frameLines(makeSnapshot(0), FIRST_VIEW, extent).join("\n"), /no block is mapped/);
  });
});

describe("the map", () => {
  test("shows as many blocks as there are", () => {
    const snapshot = makeSnapshot(3);
    const [block] = snapshot.blocks;
    assert.ok(block);
    const blocks = Array.from({ length: 200_000 }, () => block);
    const lines = mapLines({ ...snapshot, blocks }, { start: 0, end: 65_536 }, 1, 16);
    assert.equal(lines.length, 2);
  });

  test("shows each granule where there is room, and the rest by its part", () => {
    const memory = new SimulatedMemory();
    const allocator = new JitAllocator({}, memory);
    const spans = [allocator.alloc(64), allocator.alloc(192), allocator.alloc(64)];
    spans[0]?.release();
    const snapshot = allocator.snapshot();
    const lines = mapLines(snapshot, { start: 0, end: 1024 }, 1, 16);
    assert.equal(lines[0], "0x2000_0000_0000 ▌·██▌▌··········");
    assert.match(mapLines(snapshot, { start: 0, end: 65_536 }, 1, 16)[0] ?? "", / ▒·{15}$/);
    assert.match(mapLines(snapshot, { start: 0, end: 65_536 }, 1, 512)[0] ?? "", / ▒██·+$/);
  });

  test("zooms and moves within the heap, and the table has what is on it", () => {
    const snapshot = makeSnapshot(300);
    const total = offsetsOf(snapshot).at(-1) ?? 0;
    assert.deepEqual(windowOf(FIRST_VIEW, total), { start: 0, end: total });
    const right = press(FIRST_VIEW, "+", "+", ..."\x1b[C ".repeat(9).trim().split(" "));
    assert.deepEqual(windowOf(right, total), { start: (3 * total) / 4, end: total });
    const left = press(right, ..."\x1b[D ".repeat(20).trim().split(" "));
    assert.deepEqual(windowOf(left, total), { start: 0, end: total / 4 });
    assert.deepEqual(windowOf(press(left, "-", "-", "-"), total), { start: 0, end: total });
    const parts = [0, 1, 2, 3].map((steps) => {
      const view = press(left, ...Array<string>(2 * steps).fill("\x1b[C"));
      return spansIn(snapshot, view, windowOf(view, total));
    });
    assert.ok(parts.every((spans) => spans.length < snapshot.spans.length));
    assert.equal(new Set(parts.flat()).size, snapshot.spans.length, "each is on one of the parts");
    assert.equal(spansIn(snapshot, press(right, "0"), windowOf(press(right, "0"), total)).length, 200);
  });
});

describe("keys", () => {
  test("sort", () => {
    const snapshot = makeSnapshot(50, true);
    const whole = { start: 0, end: offsetsOf(snapshot).at(-1) ?? 0 };
    const sorted = (...keys: readonly string[]): HeapSnapshot["spans"] =>
      spansIn(snapshot, press(FIRST_VIEW, ...keys), whole);
    const isSorted = (values: readonly (number | string)[]): boolean =>
      values.every((value, index) => index === 0 || value >= (values[index - 1] ?? 0));
    assert.ok(isSorted(sorted("s", "r").map(({ size }) => size)));
    assert.ok(isSorted(sorted("a").map(({ rx }) => rx)));
    assert.ok(isSorted(sorted("n").flatMap(({ name }) => name ?? [])));
    assert.ok(isSorted(sorted("o").map(({ order }) => order ?? -1)));
    assert.deepEqual(sorted("o", "r"), sorted("o").reverse());
  });

  test("move in the table, stop, and quit", () => {
    assert.equal(press(FIRST_VIEW, "j", "j", "k").scroll, 1);
    assert.equal(press(FIRST_VIEW, "\x1b[6~", "\x1b[B", "\x1b[5~", "\x1b[A").scroll, 0);
    assert.equal(press(FIRST_VIEW, ..."\x1b[6~ ".repeat(20).trim().split(" ")).scroll, 90);
    assert.equal(press(FIRST_VIEW, " ").isPaused, true);
    assert.equal(press(FIRST_VIEW, "z"), FIRST_VIEW);
    for (const key of ["q", "\x1b", "\x03"]) assert.equal(pressed(FIRST_VIEW, key, 10, 100), undefined);
  });
});
