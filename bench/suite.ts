/** The traces that the benchmark replays, and how often. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { cacheFolder, recordedTracesFolder } from "./paths.ts";
import { churnWorkloads } from "./churn.ts";
import type { TraceGroup } from "./results.ts";
import { steadyWorkloads, workloads, workloadTrace, type Workload } from "./workloads.ts";

/** A trace of the benchmark. */
export interface SuiteTrace {
  /** Its name for `--only`. */
  readonly name: string;
  /** One line about it. */
  readonly summary: string;
  readonly group: TraceGroup;
  /**
   * How many rounds a process runs, the same for both sides; the best one counts. There are few where the original needs
   * a second for a round. Where rounds take less than a millisecond, there are so many that more do not improve the best.
   */
  readonly rounds: number;
  /** Its text. */
  read(): Uint8Array;
}

const roundsOfWorkload: Readonly<Record<string, number>> = {
  unit: 5,
  tier: 12,
  frag: 5,
  lifo: 12,
  million: 5,
};

/** The traces of made workloads. @param rounds of those that {@link roundsOfWorkload} does not name */
function made(group: TraceGroup, chosen: readonly Workload[], rounds: number): SuiteTrace[] {
  return chosen.map((workload) => ({
    name: workload.name,
    summary: workload.summary,
    group,
    rounds: roundsOfWorkload[workload.name] ?? rounds,
    read: () => workloadTrace(workload),
  }));
}

/** Every trace, in the order in which the tables show them. */
export const suite: readonly SuiteTrace[] = [
  ...made("workload", workloads, 3),
  {
    name: "hotspot-javap",
    summary: "what OpenJDK 17 installed and evicted in its code cache",
    group: "workload",
    rounds: 4000,
    read: () => readRecorded("hotspot-javap"),
  },
  {
    name: "v8-tsc",
    summary: "the code objects that V8 made while tsc ran",
    group: "workload",
    rounds: 10_000,
    read: () => readRecorded("v8-tsc"),
  },
  ...made("steady", steadyWorkloads, 3),
  // Their bytes matter, not their time.
  ...made("churn", churnWorkloads, 1),
];

function readRecorded(name: string): Uint8Array {
  return gunzipSync(readFileSync(join(recordedTracesFolder, `${name}.trace.gz`)));
}

/**
 * Writes a trace where both sides can read it, as plain text.
 * Made traces are generated anew each time: that takes less than a second, and a cache can be stale.
 * @returns the path of the file.
 */
export function placeTrace(trace: SuiteTrace): string {
  mkdirSync(cacheFolder, { recursive: true });
  const path = join(cacheFolder, `${trace.name}.trace`);
  writeFileSync(path, trace.read());
  return path;
}
