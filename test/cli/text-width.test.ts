/** How wide a terminal shows texts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cutText, safeText, textWidth } from "../../src/cli/text-width.ts";
import { widthOf } from "../../src/cli/wrap.ts";

test("a character takes no column, one or two", () => {
  const widths: readonly (readonly [string, number])[] = [
    ["", 0],
    ["plain", 5],
    ["größer", 6],
    ["e\u0301", 1],
    ["漢字", 4],
    ["かな", 4],
    ["한글", 4],
    ["ｱ", 1],
    ["Ａ", 2],
    ["👍", 2],
    ["𠀀", 2],
    ["❤\ufe0f", 2],
    ["█▒·", 3],
  ];
  for (const [text, width] of widths) assert.equal(textWidth(text), width, text);
  assert.equal(widthOf("\x1b[31m漢\x1b[0m"), 2);
});

test("what is cut fits, and is all where there is room", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.nat({ max: 30 }), (text, columns) => {
      const cut = cutText(safeText(text), columns);
      assert.ok(textWidth(cut) <= columns);
      assert.doesNotMatch(cut, /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u);
      assert.equal(cutText(cut, columns), cut);
    }),
  );
  assert.equal(cutText("漢字漢字", 8), "漢字漢字");
  assert.equal(cutText("漢字漢字", 7), "漢字漢…");
  assert.equal(cutText("漢字漢字", 6), "漢字…");
  assert.equal(cutText("漢字", 0), "");
});
