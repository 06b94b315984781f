/** The results of a run of the benchmark, in the form in which they are kept. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import type { AsmjitDriver } from "./asmjit.ts";
import { repositoryPath } from "./paths.ts";
import type { Side, SideResult } from "./turns.ts";

/** The machine and the versions of a measurement. */
export interface Environment {
  readonly date: string;
  readonly commit: string;
  /** True where the sources differ from the commit. */
  readonly modified: boolean;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly koffi: string;
  readonly asmjit: string | null;
  readonly compiler: string | null;
}

/**
 * What a trace is for: the bounds on time are about the workloads, made and recorded; the steady states show how cost
 * grows; the churns are about the memory that is reserved.
 */
export type TraceGroup = "workload" | "steady" | "churn";

/** A trace, with the sides that ran it. */
export interface TraceResult {
  readonly name: string;
  readonly summary: string;
  readonly group: TraceGroup;
  readonly operations: number;
  readonly rounds: number;
  readonly sides: readonly SideResult[];
}

/** One measured figure beside its natural peer. */
export interface MicroResult {
  readonly name: string;
  /** The table that it stands in; undefined = the one of small measurements. */
  readonly table?: "linking" | undefined;
  readonly unit: string;
  /** Its value in each turn, and their median. */
  readonly ofTurns: readonly number[];
  readonly value: number;
}

/** A run of the benchmark. */
export interface BenchResults {
  readonly environment: Environment;
  readonly turns: number;
  readonly allocatorFlags: readonly string[];
  readonly traces: readonly TraceResult[];
  readonly micro: readonly MicroResult[];
}

/** A row of `npm run bench:calls`. All figures are nanoseconds a call. */
export interface CallResult {
  readonly runtime: string;
  readonly kind: string;
  /** The number of functions that are called in turn. */
  readonly count: number;
  /** By `toFunction`. */
  readonly ours: number;
  /** Without this library, by the best way that the runtime has. */
  readonly raw: number;
  /** That way. */
  readonly way: string;
}

/** A full run of `npm run bench:calls`. */
export interface CallResults {
  readonly environment: Environment;
  readonly calls: readonly CallResult[];
}

/** What it costs on one runtime that code is not freed while it runs; nanoseconds. */
export interface InsideResult {
  readonly runtime: string;
  /**
   * A call of one of so many threads: in allocators of their own, in one that they share, and in one whose calls neither enter
   * nor leave (`unguarded`).
   */
  readonly calls: readonly {
    readonly threads: number;
    readonly own: number;
    readonly unguarded: number;
    readonly shared: number;
  }[];
  /** To retire code while another thread may be running it. */
  readonly retire: number;
}

/** A full run of `npm run bench:inside`. */
export interface InsideResults {
  readonly environment: Environment;
  readonly inside: readonly InsideResult[];
}

/** The results of `side` on that trace, if it ran. */
export function sideOf(trace: TraceResult | undefined, side: Side): SideResult | undefined {
  return trace?.sides.find((result) => result.side === side);
}

/** Describes this machine. */
export function describeEnvironment(driver: AsmjitDriver | undefined): Environment {
  return {
    date: new Date().toISOString(),
    commit: git(["rev-parse", "--short=12", "HEAD"]) || "unknown",
    modified: git(["status", "--porcelain", "--untracked-files=no"]) !== "",
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    system: `${type()} ${release()} ${process.arch}`,
    node: process.version,
    koffi: koffiVersion(),
    asmjit: driver?.version ?? null,
    compiler: driver?.compiler ?? null,
  };
}

function git(args: readonly string[]): string {
  try {
    return execFileSync("git", args, {
      cwd: repositoryPath("."),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    // Not a clone, or no git: the results then say "unknown".
    return "";
  }
}

function koffiVersion(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(repositoryPath("node_modules/koffi/package.json"), "utf8"),
  );
  const hasVersion = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return hasVersion ? String(manifest.version) : "unknown";
}
