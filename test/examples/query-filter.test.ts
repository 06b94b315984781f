/** Filters as every compiler makes them, against the same text as JavaScript. */
import fc from "fast-check";
import { JitRuntime } from "jit-allocator";
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { compileFunction } from "node:vm";
import type { CompiledFilter } from "../../examples/query/batches.ts";
import { bindFilter } from "../../examples/query/batches.ts";
import { toQuery } from "../../examples/query/checker.ts";
import type { ColumnType, Query } from "../../examples/query/expression.ts";
import type { ColumnData } from "../../examples/query/javascript.ts";
import { toPlainFilter } from "../../examples/query/javascript.ts";
import { nativeTargets, toNativeFilter } from "../../examples/query/native.ts";
import { significantBits } from "../../examples/query/remainder.ts";
import { toWasmFilter, WasmMemory } from "../../examples/query/wasm.ts";

const runtime = new JitRuntime();
after(() => runtime.dispose());
const targets = nativeTargets(runtime);

type Data = Readonly<Record<string, Float64Array | Int32Array>>;

/** The rows for which the text is true, row by row, as JavaScript understands the text itself. */
function expectedRows(text: string, data: Data): readonly number[] {
  const names = Object.keys(data);
  const isSelected = compileFunction(`return (${text});`, names) as (...values: readonly number[]) => boolean;
  const columns = Object.values(data);
  const length = columns[0]?.length ?? 0;
  const rows = Array.from({ length }, (_, row) => row);
  return rows.filter((row) => isSelected(...columns.map((column) => column[row] ?? 0)));
}

function typesOf(data: Data): Record<string, ColumnType> {
  return Object.fromEntries(
    Object.entries(data).map(([name, column]) => [name, column instanceof Int32Array ? "i32" : "f64"]),
  );
}

/** The columns that the filter reads, copied to where WebAssembly reaches them too. */
function columnsIn(memory: WasmMemory, query: Query, data: Data): readonly ColumnData[] {
  return query.columns.map(({ name }) => {
    const source = data[name] ?? assert.fail(name);
    const copy =
      source instanceof Int32Array ? memory.integers(source.length) : memory.doubles(source.length);
    copy.set(source);
    return copy;
  });
}

/** Compares what every compiler makes of the text, from several first rows on. */
function check(text: string, data: Data): void {
  const expected = expectedRows(text, data);
  const query = toQuery(text, typesOf(data));
  const length = Object.values(data)[0]?.length ?? 0;
  const memory = new WasmMemory((query.columns.length + 1) * (length + 2) * 8);
  const columns = columnsIn(memory, query, data);
  const selection = memory.selection(length);
  const plain = toPlainFilter(query);
  const rowsOf = (name: string, compiled: CompiledFilter): void => {
    const filter = bindFilter(compiled, plain, selection, columns);
    for (const from of [0, 1, 6]) {
      selection.fill(0xffff_ffff);
      const count = filter(from, length);
      const rows = [...selection.subarray(0, count)];
      assert.deepEqual(
        rows,
        expected.filter((row) => row >= from),
        `${name} from row ${from}: ${text}`,
      );
    }
  };
  const neverCompiled: CompiledFilter = {
    lanes: Infinity,
    bind: () => () => assert.fail("no rows are left"),
  };
  rowsOf("plain JavaScript", neverCompiled);
  rowsOf("WebAssembly", toWasmFilter(memory, query));
  for (const target of targets) {
    using filter = toNativeFilter(runtime, target, query);
    rowsOf(target.name, filter);
  }
}

const nastyNumbers = [
  ...[0, -0, 1, -1, 7, 10, 0.1, -0.5, 3, 1 / 3, 1e300, -1e300, 5e-324, -5e-324, 2.5e-310, NaN],
  ...[
    Infinity,
    -Infinity,
    2 ** 31,
    2 ** 53 - 1,
    2 ** 53 + 2,
    -(2 ** 60),
    2 ** 50,
    2 ** 50 - 1,
    Number.MAX_VALUE,
  ],
];
const number = fc.oneof(
  fc.constantFrom(...nastyNumbers),
  fc.double(),
  fc.double({ min: -1000, max: 1000 }),
  fc.integer({ min: -1000, max: 1000 }),
);
const integer = fc.oneof(
  fc.constantFrom(0, 1, -1, 7, 2 ** 31 - 1, -(2 ** 31)),
  fc.integer(),
  fc.integer({ min: -20, max: 20 }),
);

const literal = fc
  .oneof(
    fc.constantFrom(...nastyNumbers.filter((value) => !Number.isNaN(value)).map(Math.abs)),
    fc.integer({ min: 0, max: 100 }),
    fc.double({ min: 0, noNaN: true }),
  )
  .map((value) => (value === Infinity ? "1e999" : String(value)));

/** Texts of numbers and of conditions, with parentheses and without: precedence is JavaScript's too. */
const { condition } = fc.letrec<{ number: string; condition: string }>((tie) => ({
  number: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 4, arbitrary: fc.constantFrom("x", "y", "m", "n") },
    { weight: 2, arbitrary: literal },
    {
      weight: 5,
      arbitrary: fc
        .tuple(tie("number"), fc.constantFrom("+", "-", "*", "/", "%", "%"), tie("number"), fc.boolean())
        .map(([left, operator, right, isClosed]) =>
          isClosed ? `(${left} ${operator} ${right})` : `${left} ${operator} ${right}`,
        ),
    },
    { weight: 1, arbitrary: tie("number").map((operand) => `(-${operand.replace(/^(?=[-+])/, " ")})`) },
  ),
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    {
      weight: 4,
      arbitrary: fc
        .tuple(tie("number"), fc.constantFrom("<", "<=", ">", ">=", "==", "!=", "===", "!=="), tie("number"))
        .map(([left, operator, right]) => `${left} ${operator} ${right}`),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(tie("condition"), fc.constantFrom("&&", "||"), tie("condition"), fc.boolean())
        .map(([left, operator, right, isClosed]) =>
          isClosed ? `(${left} ${operator} ${right})` : `${left} ${operator} ${right}`,
        ),
    },
    { weight: 1, arbitrary: tie("condition").map((operand) => `!(${operand})`) },
  ),
}));

const data = fc
  .array(fc.tuple(number, number, integer, integer), { minLength: 1, maxLength: 150, size: "max" })
  .map((rows) => ({
    x: Float64Array.from(rows, ([value]) => value),
    y: Float64Array.from(rows, ([, value]) => value),
    m: Int32Array.from(rows, ([, , value]) => value),
    n: Int32Array.from(rows, ([, , , value]) => value),
  }));

test("this machine has an instruction set that filters are compiled for", () => {
  assert.ok(targets.length > 0);
});

test("random filters select the rows that JavaScript selects", () => {
  fc.assert(fc.property(condition, data, check), { numRuns: 1000 });
});

describe("remainders", () => {
  /** Every dividend with every divisor, or near multiples of it. */
  const dividends = [
    ...nastyNumbers,
    ...nastyNumbers.map((value) => value * 7),
    6.999999999999999,
    20.999999999999996,
  ];
  for (const divisor of [
    "7",
    "0.1",
    "3",
    "1e-310",
    "5e-324",
    "1e300",
    "1e999",
    "0",
    "2147483647",
    "4503599627370497",
  ]) {
    test(`by ${divisor} are exact, with the signs of zeros`, () => {
      const x = Float64Array.from(
        dividends.flatMap((value) => [value, value + Number(divisor), value * Number(divisor)]),
      );
      check(`x % ${divisor} == x || 1 / (x % ${divisor}) < 0`, { x });
      check(`x % -${divisor} < 3`, { x });
    });
  }

  test("by another column are exact, with the signs of zeros", () => {
    const pairs = nastyNumbers.flatMap((left) => nastyNumbers.map((right) => [left, right] as const));
    const [x, y] = [
      Float64Array.from(pairs, ([left]) => left),
      Float64Array.from(pairs, ([, right]) => right),
    ];
    check("x % y > 0.5 || 1 / (x % y) < 0", { x, y });
    check("x % y == x", { x, y });
  });

  test("of numbers close to multiples, where quotients are rounded, are exact", () => {
    const values = fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 50 }), fc.integer({ min: -2, max: 2 })), {
      minLength: 64,
      maxLength: 64,
    });
    fc.assert(
      fc.property(values, fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (rows, divisor) => {
        const x = Float64Array.from(rows, ([factor, ulps]) => {
          const multiple = factor * divisor;
          return multiple + ulps * multiple * Number.EPSILON;
        });
        const y = new Float64Array(x.length).fill(divisor);
        check(`x % y < ${divisor / 2}`, { x, y });
        check(`x % ${divisor} < ${divisor / 2}`, { x });
        check(`x % ${Math.ceil(divisor)} < ${divisor / 2}`, { x });
      }),
      { numRuns: 50 },
    );
  });

  test("significant bits are those up to the last one", () => {
    assert.deepEqual([7, 14, 0.875, 1, 0.1, 2 ** 53 - 1].map(significantBits), [3, 3, 3, 1, 52, 53]);
  });
});

test("a filter reads six columns, wherever the calling convention passes them", () => {
  const random = fc.sample(fc.array(integer, { minLength: 37, maxLength: 37 }), { numRuns: 6, seed: 6 });
  const columns = Object.fromEntries(
    random.map((values, index) => [
      `c${index}`,
      index % 2 === 0 ? Float64Array.from(values) : Int32Array.from(values),
    ]),
  );
  check("c0 + 2 * c1 + 3 * c2 + 4 * c3 + 5 * c4 + 6 * c5 > 0 && c5 < c4 + c3", columns);
});

test("a filter may have more values and more masks than there are registers", () => {
  const x = Float64Array.from({ length: 40 }, (_, row) => row - 20.5);
  const terms = Array.from({ length: 30 }, (_, index) => `(x * ${index + 2})`);
  check(`${terms.join(" + ")} > ${terms.toReversed().join(" - ")}`, { x });
  const masks = Array.from({ length: 40 }, (_, index) => `x > ${index - 10}`);
  check(`${masks.join(" && ")} || !(${masks.toReversed().join(" || ")})`, { x });
});

test("a filter finds its constants wherever its code ends", () => {
  const x = Float64Array.from({ length: 20 }, (_, row) => row - 10);
  for (let length = 1; length <= 64; length++) {
    check(`${Array.from({ length }, () => "x").join(" + ")} > 3`, { x });
  }
});

test("one row in a hundred for which the code is not exact, and all of them", () => {
  const x = Float64Array.from({ length: 5000 }, (_, row) => (row % 100 === 50 ? 1e300 : row));
  check("x % 7 < 3", { x });
  check("x % 7 < 3", { x: x.map(() => 1e300) });
});
