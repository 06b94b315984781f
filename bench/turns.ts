/**
 * Runs the sides of a comparison in turns, each in a process of its own: A B C A B C. A machine that gets slower or
 * faster while the benchmark runs does so for all sides, and no side inherits the state of another's process.
 */
import { execFileSync } from "node:child_process";
import type { AsmjitDriver } from "./asmjit.ts";
import { repositoryPath } from "./paths.ts";

/** The side that runs a trace: the original, or this project by one of its two ways to allocate. */
export type Side = "asmjit" | "address" | "span";

/** The output of `replay --json` and of the driver. */
export interface ReplayOutput {
  readonly total_ms: number;
  readonly peak_reserved: number;
  readonly peak_used: number;
  readonly overhead: number;
  readonly phases: readonly { readonly name: string; readonly n: number; readonly ns: number }[];
}

/** A phase of a trace on one side. */
export interface PhaseResult {
  readonly name: string;
  readonly operations: number;
  /** Nanoseconds per operation, in each turn. */
  readonly nsOfTurns: readonly number[];
  /** Their median. */
  readonly ns: number;
}

/** A trace on one side. */
export interface SideResult {
  readonly side: Side;
  /** Milliseconds for the whole trace, in each turn. */
  readonly totalMsOfTurns: readonly number[];
  /** Their median. */
  readonly totalMs: number;
  readonly peakReservedBytes: number;
  readonly peakUsedBytes: number;
  readonly overheadBytes: number;
  readonly phases: readonly PhaseResult[];
}

/** How a comparison is run. */
export interface TurnOptions {
  readonly sides: readonly Side[];
  readonly turns: number;
  readonly rounds: number;
  /** Flags for both sides; both understand the same names. */
  readonly allocatorFlags: readonly string[];
  readonly driver: AsmjitDriver | undefined;
  /** Called before each run of a side: `turn 2 of 5, asmjit`. */
  readonly onRun?: (what: string) => void;
}

/** Runs the trace at `path`. The side of asmjit is left out where there is no driver. */
export function runTurns(path: string, options: TurnOptions): SideResult[] {
  const sides = options.sides.filter((side) => side !== "asmjit" || options.driver !== undefined);
  const outputs = new Map<Side, ReplayOutput[]>(sides.map((side) => [side, []]));
  for (let turn = 0; turn < options.turns; turn++) {
    for (const side of sides) {
      options.onRun?.(`turn ${turn + 1} of ${options.turns}, ${side}`);
      outputs.get(side)?.push(runOnce(side, path, options));
    }
  }
  return sides.map((side) => summarize(side, outputs.get(side) ?? []));
}

function runOnce(side: Side, path: string, options: TurnOptions): ReplayOutput {
  const flags = [path, "--rounds", String(options.rounds), ...options.allocatorFlags];
  const [program, args] =
    side === "asmjit"
      ? [options.driver?.path ?? "", flags]
      : [process.execPath, [repositoryPath("dist/bench/replay-child.js"), ...flags, "--api", side, "--json"]];
  return JSON.parse(execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 24 })) as ReplayOutput;
}

function summarize(side: Side, outputs: readonly ReplayOutput[]): SideResult {
  const first = outputs[0];
  if (first === undefined) throw new Error(`${side} was not run`);
  const totalMsOfTurns = outputs.map((output) => output.total_ms);
  return {
    side,
    totalMsOfTurns,
    totalMs: median(totalMsOfTurns),
    // The bytes are the same in each turn: they depend on the trace, not on time.
    peakReservedBytes: first.peak_reserved,
    peakUsedBytes: first.peak_used,
    overheadBytes: first.overhead,
    phases: first.phases.map(({ name, n }, index) => {
      const nsOfTurns = outputs.map((output) => output.phases[index]?.ns ?? NaN);
      return { name, operations: n, nsOfTurns, ns: median(nsOfTurns) };
    }),
  };
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? NaN;
  return (lower + upper) / 2;
}
