/** What filters cost: the engines take turns, so that a busy machine is busy for all of them. */
import type { Engine, EngineFilter, Table } from "./engines.ts";
import type { Query } from "./expression.ts";

/** As many rows as vectorised engines look at in one go: their columns fit the first cache. */
export const BATCH_ROWS = 4096;

/** Calls before the first measurement: V8 has compiled by then what it will compile, WebAssembly included. */
const WARM_CALLS = 3000;
const CACHE_ROUNDS = 40;
/** A round is much longer than the clock's steps. */
const CALLS_PER_ROUND = 60;
const COMPILE_ROUNDS = 15;
const STREAM_ROUNDS = 3;

/** What an engine took: nanoseconds a row, or milliseconds for all rows. */
export type Costs = ReadonlyMap<Engine, number>;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function milliseconds(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

/** Lets every engine select from the whole table, and compares the rows with those of the first one. */
export function countSelected(engines: readonly Engine[], query: Query, table: Table, rows: number): number {
  const [first, ...others] = engines.map((engine) => [engine, engine.compile(query, table)] as const);
  if (first === undefined) return 0;
  let total = 0;
  for (let from = 0; from < rows; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, rows);
    const count = first[1].run(from, to);
    const expected = table.selection.slice(0, count);
    total += count;
    for (const [{ name }, filter] of others) {
      const isSame =
        filter.run(from, to) === count && expected.every((row, index) => row === table.selection[index]);
      if (!isSame) throw new Error(`${name} selects other rows than ${first[0].name} from ${from} on`);
    }
  }
  for (const [, filter] of [first, ...others]) filter[Symbol.dispose]();
  return total;
}

/** One batch over and over, compiled and warm: nanoseconds a row, the best of many rounds. */
export function inCache(engines: readonly Engine[], query: Query, table: Table): Costs {
  const filters = engines.map((engine) => [engine, engine.compile(query, table)] as const);
  for (const [, { run }] of filters) for (let call = 0; call < WARM_CALLS; call++) run(0, BATCH_ROWS);
  const best = new Map<Engine, number>();
  for (let round = 0; round < CACHE_ROUNDS; round++) {
    for (const [engine, { run }] of filters) {
      const time = milliseconds(() => {
        for (let call = 0; call < CALLS_PER_ROUND; call++) run(0, BATCH_ROWS);
      });
      const perRow = (time * 1e6) / (CALLS_PER_ROUND * BATCH_ROWS);
      best.set(engine, Math.min(best.get(engine) ?? Infinity, perRow));
    }
  }
  for (const [, filter] of filters) filter[Symbol.dispose]();
  return best;
}

/** Compiles anew and runs, each round: milliseconds for both, and for the compilation alone; the medians. */
function compiledAnew(
  engines: readonly Engine[],
  query: Query,
  table: Table,
  rounds: number,
  run: (filter: EngineFilter) => void,
): { whole: Costs; compilation: Costs } {
  const whole = new Map(engines.map((engine) => [engine, [] as number[]]));
  const compilation = new Map(engines.map((engine) => [engine, [] as number[]]));
  for (let round = 0; round < rounds; round++) {
    for (const engine of engines) {
      const start = performance.now();
      using filter = engine.compile(query, table);
      const compiled = performance.now();
      run(filter);
      whole.get(engine)?.push(performance.now() - start);
      compilation.get(engine)?.push(compiled - start);
    }
  }
  const medians = (costs: ReadonlyMap<Engine, readonly number[]>): Costs =>
    new Map([...costs].map(([engine, times]) => [engine, median(times)]));
  return { whole: medians(whole), compilation: medians(compilation) };
}

/** A filter that is compiled, and then runs over as many batches in the cache as make up the rows. */
export function compiledInCache(
  engines: readonly Engine[],
  query: Query,
  table: Table,
  rows: number,
): { whole: Costs; compilation: Costs } {
  return compiledAnew(engines, query, table, COMPILE_ROUNDS, ({ run }) => {
    for (let rest = rows; rest > 0; rest -= BATCH_ROWS) run(0, Math.min(rest, BATCH_ROWS));
  });
}

/** A filter that is compiled, and then runs over the whole table once, batch by batch, from memory. */
export function streamed(engines: readonly Engine[], query: Query, table: Table, rows: number): Costs {
  return compiledAnew(engines, query, table, STREAM_ROUNDS, ({ run }) => {
    for (let from = 0; from < rows; from += BATCH_ROWS) run(from, Math.min(from + BATCH_ROWS, rows));
  }).whole;
}
