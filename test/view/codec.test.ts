/** What a page holds is what was put into it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodePage, encodePage } from "../../src/view/codec.ts";
import { NEVER, type PageColumns, type PageHeader } from "../../src/view/contract.ts";
import { renderPage } from "../../src/view/page.ts";
import { regionsOf } from "../../src/view/regions.ts";
import { dataOfPage } from "../support/heap-page.ts";

const header: PageHeader = {
  schema: "jit-allocator/heap-map@1",
  source: "trace",
  title: "a trace",
  facts: [],
  notes: [],
  cellSize: 64,
  regions: [{ start: 0x7f00_0000_0000, cells: 1024 }],
  blocks: [],
  names: ["add", "größer"],
  kinds: ["code"],
  operationCount: 5,
  phases: [],
  listings: { 3: "ret" },
};

const word = fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.constantFrom(0, 1, NEVER, 0x8000_0000));
const byte = fc.integer({ min: 0, max: 255 });

/** Columns of any content: some of them 0 everywhere. */
const columns: fc.Arbitrary<PageColumns> = fc.nat({ max: 40 }).chain((count) => {
  const words = (length = count): fc.Arbitrary<Uint32Array> =>
    fc.oneof(
      fc.constant(new Uint32Array(length)),
      fc.array(word, { minLength: length, maxLength: length }).map((values) => Uint32Array.from(values)),
    );
  const bytes = (length = count): fc.Arbitrary<Uint8Array> =>
    fc.array(byte, { minLength: length, maxLength: length }).map((values) => Uint8Array.from(values));
  return fc.record({
    start: words(),
    length: words(),
    within: words(),
    bytes: words(),
    birth: words(),
    death: words(),
    asked: words(),
    name: words(),
    kind: bytes(),
    thread: words(),
    order: words(),
    retired: bytes(),
    codeStart: words(),
    codeLength: words(),
    // What has a length of its own is left out where it has no content.
    code: fc.nat({ max: 9 }).chain((length) => bytes(length).map((values) => Uint8Array.of(...values, 7))),
    timeAt: fc.nat({ max: 9 }).chain((length) => words(length).map((values) => Uint32Array.of(...values, 7))),
    timeMs: fc.nat({ max: 9 }).chain((length) => words(length).map((values) => Uint32Array.of(...values, 7))),
  });
});

test("columns of any numbers come back, in a page too", () => {
  fc.assert(
    fc.property(columns, (given) => {
      const decoded = decodePage(encodePage({ header, columns: given }));
      assert.deepEqual(decoded.header, header);
      for (const [name, column] of Object.entries(given) as [keyof PageColumns, Uint32Array][]) {
        assert.deepEqual([...decoded.columns[name]], [...column], name);
      }
    }),
  );
});

test("a page is one file that asks nobody for anything, and shows a title as it is", () => {
  const [given] = fc.sample(columns, 1);
  assert.ok(given);
  const title = 'a "trace" </title><script>alert(1)</script> & $& more';
  const page = renderPage({ header: { ...header, title }, columns: given });
  assert.equal(dataOfPage(page).header.title, title);
  assert.match(
    page,
    /<title>a &quot;trace&quot; &lt;\/title&gt;&lt;script&gt;alert\(1\)&lt;\/script&gt; &amp; \$&amp; more/,
  );
  assert.doesNotMatch(page, /<(?:link|img|iframe)\b|<script[^>]* src=|@import|url\(/);
  assert.match(page, /default-src 'none'/);
});

describe("regions", () => {
  test("join what touches and leave out what lies between", () => {
    const { regions, cellSize, placeOf } = regionsOf(
      [
        { rx: 0x9000, size: 0x1000 },
        { rx: 0x1000, size: 0x1000 },
        { rx: 0x2000, size: 0x1000 },
        { rx: 0x2800, size: 0x1000 },
      ],
      64,
    );
    assert.equal(cellSize, 64);
    assert.deepEqual(regions, [
      { start: 0x1000, cells: 0x2800 / 64 },
      { start: 0x9000, cells: 0x1000 / 64 },
    ]);
    assert.deepEqual(placeOf(0x1000, 128), { start: 0, length: 2, within: 0, bytes: 0 });
    assert.equal(placeOf(0x37c0, 64).start, 0x2800 / 64 - 1);
    assert.equal(placeOf(0x9040, 64).start, 0x2800 / 64 + 1);
  });

  test("have larger cells where there would be too many", () => {
    const { regions, cellSize, placeOf, notes } = regionsOf([{ rx: 0x10_0000, size: 2 ** 32 }], 64);
    assert.deepEqual(placeOf(0x10_00c0, 128), { start: 0, length: 2, within: 192, bytes: 128 });
    assert.match(notes[0] ?? "", /256 bytes/);
    assert.equal(cellSize, 256);
    assert.equal(regions[0]?.cells, 2 ** 24);
  });
});
