/**
 * A filter over ten million rows: as plain JavaScript, as WebAssembly, and as machine code for each instruction set that
 * the processor has. `node dist/examples/query/main.js --help`
 */
import { JitRuntime } from "jit-allocator";
import { parseArgs } from "node:util";
import { toQuery } from "./checker.ts";
import type { Table } from "./engines.ts";
import { enginesFor } from "./engines.ts";
import type { ColumnType } from "./expression.ts";
import { QueryError } from "./expression.ts";
import { BATCH_ROWS, compiledInCache, countSelected, inCache, streamed } from "./measure.ts";
import { nativeTargets } from "./native.ts";
import type { Measurement } from "./report.ts";
import { comparison, costTable, fill } from "./report.ts";
import { WasmMemory } from "./wasm.ts";

const HELP = `Usage: npm run example:query -- [FILTER] [options]

Compiles a filter over the columns price (Float64Array) and qty (Int32Array),
and compares plain JavaScript, WebAssembly SIMD and machine code.

  FILTER      numbers, columns, + - * / %, comparisons, && || !, parentheses;
              default: price > 10 && (qty * price) % 7 < 3
  --rows N    rows of the table, 4096 to 20000000; default 10000000
  --json      the figures as JSON
  --help      this text
`;

const DEFAULT_FILTER = "price > 10 && (qty * price) % 7 < 3";
const DEFAULT_ROWS = 10_000_000;
const MOST_ROWS = 20_000_000;
/** From this many rows on, the compilation is counted in. */
const COMPILED_ROWS = 1_000_000;
const TYPES: Readonly<Record<string, ColumnType>> = { price: "f64", qty: "i32" };
/** Remainders by a short number, by one with all its bits, and by a column; and the same without a remainder. */
const REMAINDERS = ["price % 7 < 3", "price % 0.1 < 3", "price % qty < 3"] as const;
const WITHOUT_REMAINDER = "price < 3";
const NARROWEST = 20;
const USUAL_COLUMNS = 80;

/** Prices up to 1,000 in hundredths, quantities from 1 to 100; the same ones each time. */
function makeTable(rows: number): Table {
  const memory = new WasmMemory(rows * (8 + 4) + BATCH_ROWS * 4);
  const [price, qty] = [memory.doubles(rows), memory.integers(rows)];
  let state = 0x2545_f491;
  const random = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let row = 0; row < rows; row++) {
    price[row] = (random() % 100_000) / 100;
    qty[row] = 1 + (random() % 100);
  }
  return { memory, columns: { price, qty }, selection: memory.selection(BATCH_ROWS) };
}

function say(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function run(filter: string, rows: number, isJson: boolean): void {
  const query = toQuery(filter, TYPES);
  using runtime = new JitRuntime();
  const engines = enginesFor(runtime, nativeTargets(runtime));
  say("making the table …");
  const table = makeTable(rows);

  // The first filter of a process also pays for what its compiler loads and V8 has yet to compile.
  const first = new Map(
    engines.map((engine) => {
      const start = performance.now();
      engine.compile(query, table)[Symbol.dispose]();
      return [engine, performance.now() - start];
    }),
  );
  say("comparing the selections …");
  const selected = countSelected(engines, query, table, rows);
  say("measuring one batch …");
  const cached = inCache(engines, query, table);
  say("measuring remainders …");
  const base = inCache(engines, toQuery(WITHOUT_REMAINDER, TYPES), table);
  const remainders = REMAINDERS.map((text): Measurement => {
    const costs = inCache(engines, toQuery(text, TYPES), table);
    const differences = new Map([...costs].map(([engine, cost]) => [engine, cost - (base.get(engine) ?? 0)]));
    return { title: text.replace(" < 3", ""), unit: "ns/row", costs: differences };
  });
  say("measuring with compilation …");
  const compiled = compiledInCache(engines, query, table, COMPILED_ROWS);
  say("measuring the whole table …");
  const stream = streamed(engines, query, table, rows);
  say("");

  const measurements: readonly Measurement[] = [
    { title: "one batch", unit: "ns/row", costs: cached },
    { title: `${COMPILED_ROWS / 1e6}M rows in cache`, unit: "ms", costs: compiled.whole },
    { title: `${rows / 1e6}M rows streamed`, unit: "ms", costs: stream },
  ];
  const compilations: readonly Measurement[] = [
    { title: "first (ms)", unit: "ms", costs: first },
    { title: "later (ms)", unit: "ms", costs: compiled.compilation },
  ];
  if (isJson) {
    const figures = engines.map((engine) => ({
      name: engine.name,
      kind: engine.kind,
      inCacheNsPerRow: cached.get(engine),
      compiledInCacheMs: compiled.whole.get(engine),
      streamedMs: stream.get(engine),
      firstCompilationMs: first.get(engine),
      compilationMs: compiled.compilation.get(engine),
      remainderNsPerRow: Object.fromEntries(remainders.map(({ title, costs }) => [title, costs.get(engine)])),
    }));
    const facts = { filter, rows, selected, batchRows: BATCH_ROWS, compiledRows: COMPILED_ROWS };
    console.log(JSON.stringify({ ...facts, engines: figures }, undefined, 2));
    return;
  }
  const columns = Math.max(process.stdout.columns || USUAL_COLUMNS, NARROWEST);
  const share = ((100 * selected) / rows).toFixed(1);
  const batchRows = BATCH_ROWS.toLocaleString("en");
  const notes =
    `One batch: ${batchRows} rows in the cache, compiled and warm. In cache: such batches; streamed: the whole table ` +
    "from memory; both with the compilation. JS, Wasm: times as quick as the quickest JavaScript, and as WebAssembly.";
  const parts = [
    `${filter}\n${rows.toLocaleString("en")} rows, ${share} % selected, by all engines the same`,
    comparison(measurements, engines, columns),
    fill(notes, columns),
    `What compiling takes:\n${costTable(compilations, engines, columns)}`,
    `What a remainder adds, ns/row:\n${costTable(remainders, engines, columns)}`,
  ];
  console.log(parts.join("\n\n"));
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: {
      rows: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) {
    console.log(HELP.trimEnd());
    return;
  }
  const rows = values.rows === undefined ? DEFAULT_ROWS : Number(values.rows);
  if (!Number.isInteger(rows) || rows < BATCH_ROWS || rows > MOST_ROWS) {
    throw new RangeError(
      `--rows takes an integer from ${BATCH_ROWS} to ${MOST_ROWS}, not ${values.rows ?? ""}`,
    );
  }
  if (positionals.length > 1) throw new RangeError("There is one filter at a time: put it in quotes");
  run(positionals[0] ?? DEFAULT_FILTER, rows, values.json);
}

try {
  main();
} catch (error) {
  const isMistake = error instanceof QueryError || error instanceof RangeError || isArgumentError(error);
  if (!isMistake) throw error;
  console.error(error.message);
  process.exitCode = 2;
}

/** What parseArgs throws. */
function isArgumentError(error: unknown): error is Error {
  return error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
