/** `npm run bench:calls`: the cost of a call of machine code on every runtime, with this library and without. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { readCommandLine } from "../test/support/command-line.ts";
import { fetchRuntime, runtimesNamed, type Runtime } from "../test/runtimes/fetch.ts";
import { callKinds, type CallFigures } from "./calls-kinds.ts";
import { callResultsPath } from "./paths.ts";
import { describeEnvironment, type CallResult, type CallResults } from "./results.ts";

const HELP = `Usage: npm run bench:calls -- [options] [WORD…]

What a call of machine code costs on every runtime, or on those whose names contain one of the words (bun, "node 26"),
beside what it costs there without this library. Fetches the runtimes from npm. A full run saves its results for
npm run bench:docs.

  --quick     one short run each: a look, not a result
  --check     exit with 1 where a bound is missed
  --help, -h  print this text`;

const { words, isQuick, isCheck } = readCommandLine(
  HELP,
  { quick: { type: "boolean", default: false }, check: { type: "boolean", default: false } },
  Infinity,
  ({ values, positionals }) => ({ words: positionals, isQuick: values.quick, isCheck: values.check }),
);

/** The numbers of functions that are called in turn. Powers of two, because the loop masks its index. */
const COUNTS = [1, 64];
/** How often each process runs; the best run counts, on both sides. */
const TURNS = isQuick ? 1 : 3;

/** The most that a call may take, as a multiple of the best way without this library, where one function is called. */
const MOST_RATIO = 1.25;
/** The most nanoseconds of a call with numbers. */
const MOST_NANOSECONDS: readonly (readonly [runtime: string, nanoseconds: number])[] = [
  ["bun", 5],
  ["deno", 8],
];

function measure(program: string, runtime: Runtime, kind: string, count: number): CallFigures {
  const child = path.join(import.meta.dirname, "calls-child.js");
  const args = [...runtime.flags, child, kind, String(count), ...(isQuick ? ["--quick"] : [])];
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${runtime.name} failed: ${stderr}`);
  return JSON.parse(stdout) as CallFigures;
}

/** The better of two runs, figure by figure: a disturbance of one figure need not touch the others. */
function better(a: CallFigures, b: CallFigures): CallFigures {
  const raw = Object.fromEntries(
    Object.entries(a.raw).map(([name, nanoseconds]) => [
      name,
      Math.min(nanoseconds, b.raw[name] ?? Infinity),
    ]),
  );
  return { ...a, raw, ours: Math.min(a.ours, b.ours) };
}

const rows: string[][] = [];
const calls: CallResult[] = [];
const missed: string[] = [];
for (const runtime of runtimesNamed(words)) {
  const program = fetchRuntime(runtime);
  for (const { name: kind } of callKinds) {
    for (const count of COUNTS) {
      let figures = measure(program, runtime, kind, count);
      for (let turn = 1; turn < TURNS; turn++)
        figures = better(figures, measure(program, runtime, kind, count));
      const [bestWay = "", best = NaN] = Object.entries(figures.raw).sort((a, b) => a[1] - b[1])[0] ?? [];
      const ratio = figures.ours / best;
      calls.push({ runtime: runtime.name, kind, count, ours: figures.ours, raw: best, way: bestWay });
      rows.push([
        runtime.name,
        kind,
        String(count),
        figures.ours.toFixed(1),
        best.toFixed(1),
        ratio.toFixed(2),
        Object.entries(figures.raw)
          .filter(([way]) => way !== bestWay)
          .map(([way, nanoseconds]) => `${way} ${nanoseconds.toFixed(1)}`)
          .join(", "),
        bestWay,
      ]);
      const limit = MOST_NANOSECONDS.find(([name]) => runtime.name.startsWith(name))?.[1] ?? Infinity;
      const isMissed = ratio > MOST_RATIO || (!kind.includes("buffer") && figures.ours > limit);
      // A callback is beside the runtime's own to be looked at; docs/performance.md says what the difference buys.
      if (count === 1 && isMissed && !kind.startsWith("callback"))
        missed.push(`${runtime.name} ${kind}: ${figures.ours.toFixed(1)} ns`);
    }
  }
}

const heading = [
  "runtime",
  "signature",
  "functions",
  "toFunction, ns",
  "best raw, ns",
  "ratio",
  "other raw, ns",
  "by",
];
console.log(`| ${heading.join(" | ")} |\n|${heading.map(() => "---").join("|")}|`);
for (const row of rows) console.log(`| ${row.join(" | ")} |`);
if (!isQuick && words.length === 0) {
  const results: CallResults = { environment: describeEnvironment(undefined), calls };
  writeFileSync(callResultsPath, `${JSON.stringify(results, null, 1)}\n`);
}
if (missed.length > 0) console.log(`\nOver the bounds: ${missed.join("; ")}`);
if (isCheck && missed.length > 0) process.exitCode = 1;
