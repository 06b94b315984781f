/**
 * `npm run bench`: every trace on this project and on asmjit's C++ allocator, in turns, in one run.
 * `node dist/bench/run.js --help` lists the flags.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Progress, standardError } from "../src/cli/progress.ts";
import { buildAsmjitDriver, howToGetAsmjit } from "./asmjit.ts";
import { checkBounds } from "./bounds.ts";
import { runThreads } from "./threads.ts";
import { resultsFolder } from "./paths.ts";
import { runMicro } from "./micro.ts";
import { boundsTable, microTable, toCsv, traceTable } from "./report.ts";
import { describeEnvironment, type BenchResults, type TraceResult } from "./results.ts";
import { placeTrace, suite } from "./suite.ts";
import { runTurns, type Side } from "./turns.ts";

/** The parts of a run; the churns are one. */
const names = [
  ...suite.filter((trace) => trace.group !== "churn").map((trace) => trace.name),
  ...["churn", "micro", "threads"],
];

const help = `Usage: node dist/bench/run.js [options] [-- allocator flags for both sides]

  --only NAME[,NAME]     these traces alone: ${names.join(", ")}
  --turns N              how often each side runs, each time in a new process (default 5)
  --rounds N             how many rounds a process runs, of which the best counts (default: by trace)
  --sides NAME[,NAME]    asmjit, address, span (default: all)
  --mapping dual|single  W^X with two views, or one writable and executable view, on both sides (default dual)
  --quick                one turn of at most two rounds, nothing is kept: a look, not a result
  --keep                 keep the results of a partial run (--only, --sides) too
  --check                exit with 1 where a bound is missed
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    turns: { type: "string", default: "5" },
    rounds: { type: "string" },
    sides: { type: "string", default: "asmjit,address,span" },
    mapping: { type: "string", default: "dual" },
    quick: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

function main(): number {
  if (values.help) {
    print(help);
    return 0;
  }
  const wanted = values.only?.split(",");
  const unknown = wanted?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`There is no trace ${unknown}; see --help`);
  if (values.mapping !== "dual" && values.mapping !== "single")
    throw new Error("--mapping takes dual or single");
  const chosen = suite.filter(
    ({ name, group }) => wanted?.includes(group === "churn" ? group : name) ?? true,
  );
  const sides = values.sides.split(",").map(toSide);
  const turns = values.quick ? 1 : Number(values.turns);
  const allocatorFlags = [
    values.mapping === "dual" ? "--use-dual-mapping" : "--no-use-dual-mapping",
    ...positionals,
  ];

  let driver: ReturnType<typeof buildAsmjitDriver>;
  if (sides.includes("asmjit")) {
    let reason = "";
    driver = buildAsmjitDriver((text) => (reason = text));
    if (driver === undefined) print(`${reason}\n${howToGetAsmjit}\n\n`);
  }
  const environment = describeEnvironment(driver);
  print(
    `${environment.processor}, ${environment.cores} cores, ${environment.system}, Node ${environment.node}, ` +
      `commit ${environment.commit}${environment.modified ? " (modified)" : ""}\n` +
      `${turns} turn${turns === 1 ? "" : "s"}, medians; both sides with ${allocatorFlags.join(" ")}\n\n`,
  );

  const traces: TraceResult[] = [];
  for (const trace of chosen) {
    const path = placeTrace(trace);
    const usual = values.rounds === undefined ? trace.rounds : Number(values.rounds);
    const rounds = values.quick ? Math.min(2, usual) : usual;
    using progress = new Progress(standardError);
    const onRun = (what: string): void => progress.show(() => `${trace.name}: ${what}`);
    const results = runTurns(path, { sides, turns, rounds, allocatorFlags, driver, onRun });
    progress[Symbol.dispose]();
    const operations = (results[0]?.phases ?? []).reduce((sum, phase) => sum + phase.operations, 0);
    const { name, summary, group } = trace;
    const result: TraceResult = { name, summary, group, operations, rounds, sides: results };
    traces.push(result);
    print(`${traceTable(result)}\n`);
  }

  const progress = new Progress(standardError);
  const onRun = (what: string): void => progress.show(() => what);
  const micro = wanted === undefined || wanted.includes("micro") ? runMicro(turns, driver, onRun) : [];
  const tier = suite.find((trace) => trace.name === "tier");
  if (tier !== undefined && (wanted === undefined || wanted.includes("threads"))) {
    micro.push(...runThreads(tier, turns, driver, onRun));
  }
  progress[Symbol.dispose]();
  if (micro.length > 0) print(`small measurements\n${microTable(micro)}\n`);

  const results: BenchResults = { environment, turns, allocatorFlags, traces, micro };
  print(boundsTable(results));
  const isWhole = chosen.length === suite.length && sides.length === 3 && !values.quick;
  if (isWhole || (values.keep && !values.quick)) keep(results);
  const missed = checkBounds(results).some((bound) => bound.verdict === "MISS");
  return values.check && missed ? 1 : 0;
}

function toSide(name: string): Side {
  if (name === "asmjit" || name === "address" || name === "span") return name;
  throw new Error(`There is no side ${name}; see --help`);
}

/** Writes the results beside those of earlier runs, to a file named by their date. */
function keep(results: BenchResults): void {
  mkdirSync(resultsFolder, { recursive: true });
  const name = results.environment.date.replaceAll(":", "-").replace(/\..*/, "Z");
  const path = join(resultsFolder, name);
  writeFileSync(`${path}.json`, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(`${path}.csv`, toCsv(results));
  print(`\nKept in ${path}.json and .csv\n`);
}

function print(text: string): void {
  process.stdout.write(text);
}

process.exitCode = main();
