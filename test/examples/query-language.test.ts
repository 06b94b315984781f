import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toQuery } from "../../examples/query/checker.ts";
import { QueryError } from "../../examples/query/expression.ts";
import { toPlainFilter } from "../../examples/query/javascript.ts";

const types = { price: "f64", qty: "i32" } as const;

describe("mistakes are told, and where they are", () => {
  const mistakes: readonly (readonly [string, string, number])[] = [
    ["", "A number, a column or a parenthesis belongs here", 0],
    ["price >", "A number, a column or a parenthesis belongs here", 7],
    ["price > 1 2", "An operator is missing before this", 10],
    ["(price > 1", "This parenthesis is never closed", 0],
    ["price # 1", "This is no part of a filter", 6],
    ["price > 010", "This is no part of a filter", 8],
    ["price > 1.5.2", "This is no part of a filter", 8],
    ["--price > 1", "This is no part of a filter", 0],
    ["price + 1", "This is a number, and a condition belongs here", 6],
    ["price", "This is a number, and a condition belongs here", 0],
    ["!price", "This is a number, and a condition belongs here", 1],
    ["price > 1 && qty", "This is a number, and a condition belongs here", 13],
    ["price < qty < 3", "This is a condition, and a number belongs here", 6],
    ["-(price > 1) > 0", "This is a condition, and a number belongs here", 8],
    ["price > !qty", "This is a condition, and a number belongs here", 8],
    ["cost > 1", "There is no column cost; there are price, qty", 0],
    ["toString > 1", "There is no column toString; there are price, qty", 0],
  ];
  for (const [text, message, offset] of mistakes) {
    test(JSON.stringify(text), () => {
      assert.throws(
        () => toQuery(text, types),
        (error) => {
          assert.ok(error instanceof QueryError);
          assert.equal(error.message, `${message}\n  ${text}\n  ${" ".repeat(offset)}^`);
          return true;
        },
      );
    });
  }

  test("nesting has an end", () => {
    const nested = (depth: number): string => `${"(".repeat(depth)}qty > 1${")".repeat(depth)}`;
    assert.equal(toQuery(nested(150), types).columns.length, 1);
    assert.throws(() => toQuery(nested(100_000), types), QueryError);
  });

  test("so has a filter's length", () => {
    for (const [start, part] of [
      ["1 < price", " + price"],
      ["qty > 1", " && qty > 1"],
    ] as const) {
      const long = (parts: number): string => start + part.repeat(parts);
      assert.equal(toQuery(long(400), types).columns.length, 1);
      for (const parts of [1001, 100_000])
        assert.throws(
          () => toQuery(long(parts), types),
          /^QueryError: This is one operator too many: 1000 fit\n/,
        );
    }
  });

  test("a seventh column is one too many", () => {
    const many = Object.fromEntries(
      ["a", "b", "c", "d", "e", "f", "g"].map((name) => [name, "f64" as const]),
    );
    assert.equal(toQuery("a + b + c + d + e + f > a", many).columns.length, 6);
    assert.throws(() => toQuery("a + b + c + d + e + f > g", many), QueryError);
  });
});

test("each column is there once, in the order in which the filter names them", () => {
  assert.deepEqual(toQuery("qty > price || qty < 3", types).columns, [
    { name: "qty", type: "i32" },
    { name: "price", type: "f64" },
  ]);
});

test("columns may be called what JavaScript calls other things", () => {
  const query = toQuery("let > 1 && row < selection", { let: "f64", row: "f64", selection: "f64" });
  const selection = new Uint32Array(2);
  const columns = [Float64Array.of(2, 0), Float64Array.of(1, 1), Float64Array.of(2, 2)];
  assert.equal(toPlainFilter(query)(selection, 0, 0, 2, ...columns), 1);
  assert.equal(selection[0], 0);
});
