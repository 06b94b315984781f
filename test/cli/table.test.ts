import assert from "node:assert/strict";
import { test } from "node:test";
import { tableLines } from "../../src/cli/table.ts";

const ROWS = [
  ["phase", "operations", "ns each"],
  ["release half of the spans, shuffled", "1,000", "12.5"],
  ["all", "7", "1,204.0"],
];

test("texts begin, and numbers end, below each other; no line ends in spaces", () => {
  assert.deepEqual(tableLines(ROWS, { align: ["left", "right"], indent: 2 }), [
    "  phase                                operations  ns each",
    "  release half of the spans, shuffled       1,000     12.5",
    "  all                                           7  1,204.0",
  ]);
  assert.deepEqual(tableLines([["a", ""], ["longer", "b"], ["c"]]), ["a", "longer  b", "c"]);
});

test("where the terminal is too narrow, the widest text is broken between words", () => {
  assert.deepEqual(tableLines(ROWS, { align: ["left", "right"], columns: 40 }), [
    "phase                operations  ns each",
    "release half of the       1,000     12.5",
    "spans, shuffled",
    "all                           7  1,204.0",
  ]);
});

test("no text gets narrower than twelve columns, no number is broken, and no word", () => {
  const lines = tableLines([["an indivisibleword of text", "1,000,000"]], {
    align: ["left", "right"],
    columns: 10,
  });
  assert.deepEqual(lines, ["an            1,000,000", "indivisibleword", "of text"]);
});

test("colours take no columns", () => {
  const red = "\u001b[31mno\u001b[0m";
  assert.deepEqual(
    tableLines([
      [red, "x"],
      ["maybe", "y"],
    ]),
    [`${red}     x`, "maybe  y"],
  );
});
