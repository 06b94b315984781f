/** `npm run bench:inside`: what it costs on every runtime that no code is freed while it runs. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { readCommandLine } from "../test/support/command-line.ts";
import { fetchRuntime, runtimesNamed, type Runtime } from "../test/runtimes/fetch.ts";
import { insideResultsPath } from "./paths.ts";
import { describeEnvironment, type InsideResult, type InsideResults } from "./results.ts";

const HELP = `Usage: npm run bench:inside -- [options] [WORD…]

What a call of machine code costs in an allocator that threads share, where each call enters and leaves, beside the same without that,
and one of a thread's own, with 1, 2 and 4 threads; and what it costs to retire code that another thread may be running. On every runtime, or on those
whose names contain one of the words. A full run saves its results for npm run bench:docs.

  --quick     short runs: a look, not a result
  --check     exit with 1 where a bound is missed
  --here      on this runtime alone, and fetch none
  --help, -h  print this text`;

const flags = {
  quick: { type: "boolean", default: false },
  check: { type: "boolean", default: false },
  here: { type: "boolean", default: false },
} as const;
const { words, isQuick, isCheck, isHere } = readCommandLine(
  HELP,
  flags,
  Infinity,
  ({ values, positionals }) => ({
    ...{ words: positionals, isQuick: values.quick, isCheck: values.check, isHere: values.here },
  }),
);

const THREAD_COUNTS = [1, 2, 4];
const MODES = ["own", "unguarded", "shared"] as const;
const TURNS = isQuick ? 1 : 3;
const ROUNDS = isQuick ? 5 : 100;
/** Nanoseconds: the most that entering and leaving may add to a call where calls cost little, and that a retirement may take. */
const MOST_ENTERING = 2;
const MOST_RETIRING = 1500;

function measure(
  program: string,
  flagsOfRuntime: readonly string[],
  mode: string,
  threads: number,
): number[] {
  const child = path.join(import.meta.dirname, "inside-child.js");
  const args = [...flagsOfRuntime, child, mode, String(threads), String(ROUNDS)];
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return JSON.parse(stdout) as number[];
}

/** The better of several turns, in which own and shared take their turns: nanoseconds a call of one thread, the mean of all. */
function best(
  program: string,
  runtime: Pick<Runtime, "flags">,
  threads: number,
): Record<(typeof MODES)[number], number> {
  const found = { own: Infinity, unguarded: Infinity, shared: Infinity };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const mode of MODES) {
      const figures = measure(program, runtime.flags, mode, threads);
      found[mode] = Math.min(found[mode], figures.reduce((sum, figure) => sum + figure, 0) / threads);
    }
  }
  return found;
}

const here = { name: `this runtime (${process.version})`, flags: [] };
const inside: InsideResult[] = [];
const missed: string[] = [];
for (const runtime of isHere ? [here] : runtimesNamed(words)) {
  const program = "program" in runtime ? fetchRuntime(runtime) : process.execPath;
  const calls = THREAD_COUNTS.map((threads) => ({ threads, ...best(program, runtime, threads) }));
  let retire = Infinity;
  for (let turn = 0; turn < TURNS; turn++)
    retire = Math.min(retire, ...measure(program, runtime.flags, "retire", 2));
  inside.push({ runtime: runtime.name, calls, retire });
  const [alone] = calls;
  const entering = alone === undefined ? NaN : alone.shared - alone.unguarded;
  // A call by koffi takes some 40 ns, and differs by more than that from run to run.
  if (!runtime.name.startsWith("node") && !isHere && entering > MOST_ENTERING)
    missed.push(`${runtime.name}: entering and leaving ${entering.toFixed(1)} ns`);
  if (retire > MOST_RETIRING) missed.push(`${runtime.name}: retire ${retire.toFixed(0)} ns`);
}

const million = (nanoseconds: number, threads: number): string => ((threads * 1000) / nanoseconds).toFixed(1);
console.log(
  "| runtime | threads | own, ns | M calls/s | unguarded, ns | M calls/s | shared, ns | M calls/s | retire, ns |",
);
console.log("|---|---|---|---|---|---|---|---|---|");
for (const { runtime, calls, retire } of inside) {
  for (const { threads, own, unguarded, shared } of calls) {
    const cells = [own, unguarded, shared].flatMap((nanoseconds) => [
      nanoseconds.toFixed(1),
      million(nanoseconds, threads),
    ]);
    console.log(
      `| ${runtime} | ${threads} | ${cells.join(" | ")} | ${threads === 1 ? retire.toFixed(0) : ""} |`,
    );
  }
}
if (!isQuick && !isHere && words.length === 0) {
  const results: InsideResults = { environment: describeEnvironment(undefined), inside };
  writeFileSync(insideResultsPath, `${JSON.stringify(results, null, 1)}\n`);
}
if (missed.length > 0) console.log(`\nOver the bounds: ${missed.join("; ")}`);
if (isCheck && missed.length > 0) process.exitCode = 1;
