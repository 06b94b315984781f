import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Engine } from "../../examples/query/engines.ts";
import { comparison, costTable, fill } from "../../examples/query/report.ts";

const program = fileURLToPath(new URL("../../examples/query/main.js", import.meta.url));

function run(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
}

test("--json prints figures of every engine, and all of them select the same rows", () => {
  const { status, stdout, stderr } = run("--rows", "5000", "--json", "qty > 0 && price % 7 < 1e9");
  assert.equal(stderr, "");
  assert.equal(status, 0);
  const report = JSON.parse(stdout) as { selected: number; engines: readonly Record<string, unknown>[] };
  assert.equal(report.selected, 5000);
  assert.deepEqual(
    report.engines.slice(0, 3).map(({ name }) => name),
    ["plain JavaScript", "… without branches", "WebAssembly SIMD"],
  );
  for (const engine of report.engines) {
    for (const figure of ["inCacheNsPerRow", "compiledInCacheMs", "streamedMs", "firstCompilationMs"]) {
      assert.ok(Number(engine[figure]) > 0, `${String(engine["name"])}: ${figure}`);
    }
  }
});

test("--help needs nothing else", () => {
  const { status, stdout } = run("--help");
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: npm run example:query/);
});

describe("a wrong command line ends with 2 and one message", () => {
  const cases: readonly (readonly [string, RegExp, ...string[]])[] = [
    [
      "a filter with a mistake",
      /^There is no column cost; there are price, qty\n {2}cost > 1\n {2}\^\n$/,
      "cost > 1",
    ],
    ["too few rows", /^--rows takes an integer from 4096 to 20000000, not 12\n$/, "--rows", "12"],
    ["no number of rows", /^--rows takes an integer .*, not many\n$/, "--rows", "many"],
    ["an unknown option", /^Unknown option '--foo'/, "--foo"],
    ["a filter without quotes", /^There is one filter at a time: put it in quotes\n$/, "qty", "1"],
  ];
  for (const [title, message, ...args] of cases) {
    test(title, () => {
      const { status, stdout, stderr } = run(...args);
      assert.match(stderr, message);
      assert.equal(stdout, "");
      assert.equal(status, 2);
    });
  }
});

describe("tables", () => {
  const compile = (): never => assert.fail("nothing is compiled here");
  const engines: readonly Engine[] = [
    { name: "one", kind: "javascript", compile },
    { name: "two", kind: "webassembly", compile },
    { name: "three", kind: "native", compile },
  ];
  const costs = new Map(engines.map((engine, index) => [engine, [8, 4, 1][index] ?? NaN]));
  const measurement = { title: "a title that is long", unit: "ms", costs } as const;

  test("compare with the quickest of each kind", () => {
    assert.equal(
      comparison([measurement], engines, 80),
      [
        "       a title that is long",
        "           ms     JS   Wasm",
        "one      8.00  1.00×  0.50×",
        "two      4.00  2.00×  1.00×",
        "three    1.00  8.00×  4.00×",
      ].join("\n"),
    );
  });

  test("fit the terminal, in parts if they must", () => {
    const many = [measurement, measurement, measurement];
    for (const columns of [40, 60, 80, 120]) {
      for (const text of [comparison(many, engines, columns), costTable(many, engines, columns)]) {
        for (const line of text.split("\n")) assert.ok(line.length <= columns, line);
      }
    }
    assert.equal(costTable(many, engines, 120).split("\n").length, 4);
    assert.equal(costTable(many, engines, 30).split("\n").length, 3 * 4 + 2);
  });

  test("paragraphs break between words", () => {
    assert.equal(fill("one two three four", 9), "one two\nthree\nfour");
  });
});
