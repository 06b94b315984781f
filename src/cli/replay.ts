/** `jit-allocator replay`: runs an allocation trace on this allocator and prints the cost of each phase. */
import type { JitAllocatorOptions } from "../index.ts";
import {
  allocatorFlags,
  allocatorFlagsHelp,
  allocatorOptions,
  type FlagConfig,
  type FlagValue,
} from "./allocator-flags.ts";
import { readArgs, UsageError } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";
import { inputOf, readFile } from "./files.ts";
import { makeReplay, measurePeak, timeRound, type ReplayApi, type ReplayPeak } from "./replay-rounds.ts";
import { Progress, progressOn } from "./progress.ts";
import { tableLines } from "./table.ts";
import { wrap } from "./wrap.ts";
import { omissionsOf, traceFailure } from "./trace-failures.ts";
import { readTrace, type Trace } from "./trace.ts";

const help = `Usage: jit-allocator replay TRACE [options]

Runs an allocation trace on a fresh allocator, round after round, and prints
the best round. Only the allocator's calls are timed; the peaks are taken in
one more round, before the timed ones.

TRACE is a text file, or gzip where its name ends in .gz; - reads either from
standard input:
  a ID SIZE    allocate SIZE bytes
  f ID         release it
  s ID SIZE    shrink it to SIZE bytes
  q ID         query its address
  p NAME       a phase begins; what precedes the first one is the phase "all"
  # ...        a comment

JIT_ALLOCATOR_TRACE=FILE makes a program that uses the library write one. The
last line of such a file may be cut off: it is left out then.

Options:
  --rounds N               how many timed rounds (default 5)
  --api address|span       run on allocAddress (the default) or on alloc
  --json                   print one line of JSON: bytes, and nanoseconds each
  --help, -h               print this text

${allocatorFlagsHelp}

Exit codes: 0 done, 1 the trace cannot be read or run, 2 the command line
was wrong.
`;

/**
 * The first rounds run while the loop is still being compiled; with fewer rounds than this, the best one can be among
 * them.
 */
const DEFAULT_ROUNDS = 5;

interface ReplayRequest {
  readonly path: string;
  readonly rounds: number;
  readonly api: ReplayApi;
  readonly json: boolean;
  readonly options: JitAllocatorOptions;
}

/** The phases of the best round, and the peaks. The names are those of the JSON that is printed. */
interface ReplayReport {
  readonly total_ms: number;
  readonly peak_reserved: number;
  readonly peak_used: number;
  readonly overhead: number;
  readonly phases: readonly { readonly name: string; readonly n: number; readonly ns: number }[];
}

const flags: Readonly<Record<string, FlagConfig>> = {
  ...allocatorFlags,
  rounds: { type: "string" },
  api: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
};

/** @returns undefined where only the help is asked for. @throws UsageError */
function parseRequest(args: readonly string[]): ReplayRequest | undefined {
  const parsed = readArgs(args, flags, 1);
  const values: Readonly<Record<string, FlagValue>> = parsed.values;
  if (values["help"] === true) return undefined;
  const [path] = parsed.positionals;
  if (path === undefined) throw new UsageError("a TRACE is missing");

  const roundsText = values["rounds"] ?? String(DEFAULT_ROUNDS);
  const rounds = Number(roundsText);
  if (!Number.isSafeInteger(rounds) || rounds < 1) {
    throw new UsageError(`--rounds takes a number of at least 1, not ${JSON.stringify(roundsText)}`);
  }
  const api = values["api"] ?? "address";
  if (api !== "address" && api !== "span") {
    throw new UsageError(`--api takes address or span, not ${JSON.stringify(api)}`);
  }
  return { path, rounds, api, json: values["json"] === true, options: allocatorOptions(values) };
}

function replayTrace(trace: Trace, request: ReplayRequest, progress: Progress): ReplayReport {
  // The peaks are measured first, so that an operation that the allocator refuses is found, and named, before anything is
  // timed.
  const replay = makeReplay(request.api, trace);
  const peak = measurePeak(replay, request.options);
  let best: Float64Array | undefined;
  let bestTotal = Infinity;
  for (let round = 0; round < request.rounds; round++) {
    progress.show(() => `round ${round + 1} of ${request.rounds}`);
    const nanoseconds = timeRound(replay, request.options);
    const total = nanoseconds.reduce((sum, phase) => sum + phase, 0);
    if (total < bestTotal) {
      best = nanoseconds;
      bestTotal = total;
    }
  }
  return report(trace, peak, best ?? new Float64Array(0));
}

function report(trace: Trace, peak: ReplayPeak, nanoseconds: Float64Array): ReplayReport {
  return {
    total_ms: rounded(nanoseconds.reduce((sum, phase) => sum + phase, 0) / 1e6, 6),
    peak_reserved: peak.reservedBytes,
    peak_used: peak.usedBytes,
    overhead: peak.overheadBytes,
    phases: trace.phases.map(({ name, start, end }, index) => {
      const n = end - start;
      return { name, n, ns: n === 0 ? 0 : rounded((nanoseconds[index] ?? 0) / n, 3) };
    }),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function table(
  result: ReplayReport,
  request: ReplayRequest,
  trace: Trace,
  columns: number | undefined,
): string {
  const { api, rounds } = request;
  const count = (value: number): string => value.toLocaleString("en-US");
  const total = trace.operationCount;
  const rows = result.phases.map(({ name, n, ns }) => [name, count(n), ns.toFixed(1)]);
  rows.push(["total", count(total), (total === 0 ? 0 : (result.total_ms * 1e6) / total).toFixed(1)]);
  const phases = tableLines([["phase", "operations", "ns each"], ...rows], {
    align: ["left", "right"],
    columns,
  });
  const share = result.peak_reserved === 0 ? 0 : (100 * result.overhead) / result.peak_reserved;
  return `${[
    `${count(total)} operations on the ${api} API, best of ${rounds} round${rounds === 1 ? "" : "s"}: ${result.total_ms.toFixed(3)} ms`,
    "",
    ...phases,
    "",
    ...tableLines([
      ["peak used", `${count(result.peak_used)} bytes`],
      ["peak reserved", `${count(result.peak_reserved)} bytes`],
      ["metadata", `${count(result.overhead)} bytes, ${share.toFixed(2)}% of the reserved`],
    ]),
  ].join("\n")}\n`;
}

/** Prints what went wrong: on stderr, or as JSON. @returns the exit code. @throws what it does not know */
function explain(error: unknown, bytes: Uint8Array, { path, json }: ReplayRequest, io: CommandIo): number {
  const { message, exitCode } = traceFailure(error, path, bytes);
  if (json) io.stdout(`${JSON.stringify({ error: { message } })}\n`);
  else io.stderr(wrap(`jit-allocator replay: ${message}\n`, io.stderrColumns));
  return exitCode;
}

/** The command. */
export const replay: Command = {
  help,
  run(args: readonly string[], io: CommandIo): number {
    const request = parseRequest(args);
    if (request === undefined) {
      io.stdout(wrap(help, io.columns));
      return 0;
    }
    let bytes: Uint8Array = new Uint8Array(0);
    try {
      bytes = request.path === "-" ? inputOf("the trace", io) : readFile(request.path);
      const trace = readTrace(request.path, bytes);
      for (const note of omissionsOf(trace, request.path))
        io.stderr(wrap(`jit-allocator replay: ${note}\n`, io.stderrColumns));
      using progress = new Progress(progressOn(io));
      const result = replayTrace(trace, request, progress);
      progress[Symbol.dispose]();
      io.stdout(
        request.json
          ? `${JSON.stringify(result)}\n`
          : wrap(table(result, request, trace, io.columns), io.columns),
      );
      return 0;
    } catch (error) {
      return explain(error, bytes, request, io);
    }
  },
};
