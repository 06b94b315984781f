/** Runs the small measurements: each in a process of its own, a few times, beside its natural peer. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { AsmjitDriver } from "./asmjit.ts";
import { cacheFolder, repositoryPath } from "./paths.ts";
import type { MicroResult } from "./results.ts";
import { placeTrace, suite } from "./suite.ts";
import { median, type ReplayOutput } from "./turns.ts";
import { coldWorkload, workloadTrace } from "./workloads.ts";

interface Source {
  readonly unit: string;
  readonly table?: MicroResult["table"];
  /** Runs the measurement once; returns figures by name. */
  readonly run: () => Readonly<Record<string, number>>;
}

/** How many processes of each kind are started for one figure. */
const STARTS = 5;

/** How often a driver makes and destroys an allocator for one figure. */
const LIFECYCLES = 2000;

/** Runs every small measurement `turns` times, in turns. */
export function runMicro(
  turns: number,
  driver: AsmjitDriver | undefined,
  onRun: (what: string) => void,
): MicroResult[] {
  const coldPath = join(cacheFolder, "cold.trace");
  writeFileSync(coldPath, workloadTrace(coldWorkload));
  const tier = suite.find(({ name }) => name === "tier");
  const tierPath = tier === undefined ? "" : placeTrace(tier);

  const sources: Source[] = [
    { unit: "ns", run: () => runChild("micro-child.js", "writes") },
    { unit: "ns", run: () => runChild("micro-child.js", "keys") },
    { unit: "ns", run: () => runChild("micro-child.js", "calls") },
    { unit: "ns", run: () => runChild("functions-child.js") },
    { unit: "ns", run: () => runChild("recording-child.js") },
    { unit: "µs", run: () => runChild("micro-child.js", "lifecycle") },
    { unit: "µs", run: () => runChild("range-child.js", "times") },
    { unit: "", run: () => runChild("range-child.js", "spread") },
    { unit: "", run: () => runChild("range-child.js", "memory") },
    { unit: "µs", run: () => runChild("micro-child.js", "cold", coldPath) },
    { unit: "ms", run: measureStart },
    { unit: "calls", run: () => runChild("native-calls-child.js") },
    { unit: "ns", run: () => runChild("objects-child.js", tierPath) },
    { unit: "ns", table: "linking", run: () => runChild("linking-child.js", "stubs") },
    { unit: "µs", table: "linking", run: () => runChild("linking-child.js", "modules") },
  ];
  if (driver !== undefined) {
    sources.push(
      { unit: "µs", run: () => asmjitLifecycle(driver) },
      { unit: "µs", run: () => asmjitCold(driver, coldPath) },
    );
  }

  const found = new Map<string, Pick<MicroResult, "unit" | "table"> & { ofTurns: number[] }>();
  for (let turn = 0; turn < turns; turn++) {
    for (const [index, { unit, table, run }] of sources.entries()) {
      onRun(`turn ${turn + 1} of ${turns}, small measurement ${index + 1} of ${sources.length}`);
      for (const [name, value] of Object.entries(run())) {
        const figures = found.get(name) ?? { unit, table, ofTurns: [] };
        figures.ofTurns.push(value);
        found.set(name, figures);
      }
    }
  }
  return [...found].map(([name, figures]) => ({ name, ...figures, value: median(figures.ofTurns) }));
}

/** Starts processes, in turns: one that imports the published library and makes its first call, and one that does nothing. */
function measureStart(): Readonly<Record<string, number>> {
  const library = pathToFileURL(repositoryPath("dist/package/index.js")).href;
  const times = Array.from({ length: STARTS }, () => [runStart(library), runStart()] as const);
  return {
    "import and first call": median(times.map(([ours]) => ours.all ?? NaN)),
    "import alone": median(times.map(([ours]) => ours.import ?? NaN)),
    "start of an empty process": median(times.map(([, empty]) => empty.all ?? NaN)),
  };
}

function runStart(...library: readonly string[]): Readonly<Partial<Record<"import" | "all", number>>> {
  return runChild("start-child.js", ...library);
}

function runChild(script: string, ...args: readonly string[]): Readonly<Record<string, number>> {
  const path = repositoryPath(`dist/bench/${script}`);
  const output = execFileSync(process.execPath, [path, ...args], { encoding: "utf8" });
  return JSON.parse(output) as Readonly<Record<string, number>>;
}

function asmjitLifecycle(driver: AsmjitDriver): Readonly<Record<string, number>> {
  const args = ["--lifecycle", String(LIFECYCLES), "--use-dual-mapping"];
  const ns = Number(execFileSync(driver.path, args, { encoding: "utf8" }));
  return { "make an allocator, allocate, destroy (asmjit)": ns / 1e3 };
}

function asmjitCold(driver: AsmjitDriver, tracePath: string): Readonly<Record<string, number>> {
  const args = [tracePath, "--rounds", "1", "--use-dual-mapping"];
  const output = JSON.parse(execFileSync(driver.path, args, { encoding: "utf8" })) as ReplayOutput;
  return { "first 1,000 operations (asmjit)": output.total_ms * 1e3 };
}
