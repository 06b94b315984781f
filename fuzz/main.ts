/**
 * Runs random operations on the allocator, and compares it with a naive model after each: `npm run fuzz -- --seed S --ops
 * N`. A failing program is shrunk to a short one, which is printed and kept.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import {
  describeProgram,
  RUN_KINDS,
  runProgram,
  type Program,
  type RunKind,
} from "../test/support/simulation.ts";
import { Progress, standardError } from "../src/cli/progress.ts";
import type { FuzzJob, FuzzResult } from "./runs-worker.ts";
import { shrink } from "./shrink.ts";
import { fuzzThreads, MOST_THREADS } from "./threads.ts";

const HELP = `Usage: npm run fuzz -- [options]

Runs random operations on an allocator on simulated memory, all options and misuse of every kind among them, and
compares each answer with a naive model's. verify() walks the structure on the way.

  --seed S        what the first run is made from, an integer; the next runs count up (default: the time)
  --ops N         how many operations (default 1000000)
  --threads T     T threads share one allocator on memory of this machine, release what others allocated, and meet in
                  every order: a failure names the seed, the thread and its last operations, but cannot be replayed
                  step by step; the options below are not for this
  --kind KIND     only runs of one kind: small, large (thousands of allocations), faulty (a machine that fails)
  --verify N      verify() after every Nth operation of a small run (default 16)
  --program FILE  runs a program that an earlier failure left, and looks at everything after each step
  --no-shrink     prints a failure as it is
  --help`;

/** A run takes a second at the most. One that takes this long hangs. */
const HANG_MS = 60_000;
const PROGRESS_MS = 10_000;
/** How often the progress is shown. */
const TELL_MS = 500;
/** The folder of failing programs, beside other generated files. */
const FAILURES = ".cache/fuzz";

/** A wrong command line. */
class UsageError extends Error {}

process.exitCode = await main();

async function main(): Promise<number> {
  try {
    const { values } = parseArgs({
      options: {
        seed: { type: "string", default: String(Date.now() % 2 ** 31) },
        ops: { type: "string", default: "1000000" },
        threads: { type: "string" },
        kind: { type: "string" },
        verify: { type: "string", default: "16" },
        program: { type: "string" },
        "no-shrink": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    if (values.program !== undefined) return replay(values.program);
    if (values.threads !== undefined) {
      if (values.kind !== undefined) throw new UsageError("--kind is not for runs of several threads");
      return await fuzzThreads({
        seed: integer("--seed", values.seed, 0),
        operationCount: integer("--ops", values.ops, 1),
        threadCount: integer("--threads", values.threads, 1, MOST_THREADS),
      });
    }
    const { "no-shrink": isKeptLong } = values;
    const job = {
      seed: integer("--seed", values.seed, 0),
      operationCount: integer("--ops", values.ops, 1),
      kind: kindOf(values.kind),
      verifyEvery: integer("--verify", values.verify, 1),
    };
    return await fuzz(job, !isKeptLong);
  } catch (error) {
    const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
    if (!isUsage) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
}

function integer(name: string, text: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new UsageError(`${name} must be an integer from ${least} to ${most}, but is ${text}`);
  }
  return value;
}

function kindOf(text: string | undefined): RunKind | undefined {
  if (text === undefined || Object.hasOwn(RUN_KINDS, text)) return text as RunKind | undefined;
  throw new UsageError(`--kind must be one of ${Object.keys(RUN_KINDS).join(", ")}, but is ${text}`);
}

/** Runs a kept program. */
function replay(file: string): number {
  const program = JSON.parse(readFileSync(file, "utf8")) as Program;
  console.log(describeProgram(program).join("\n"));
  const failure = runProgram(program);
  if (failure === undefined) {
    console.log(`clean: ${program.steps.length} operations`);
    return 0;
  }
  console.error(`Operation ${failure.stepCount - 1} fails: ${textOf(failure.error)}`);
  return 1;
}

/** Runs the fuzzer in a thread of its own, so that a run that hangs can be seen, named and ended. */
async function fuzz(job: Omit<FuzzJob, "progress">, shrinks: boolean): Promise<number> {
  const progress = new SharedArrayBuffer(12);
  const [seed, doneOperations] = [new Int32Array(progress, 0, 1), new Int32Array(progress, 4, 1)];
  const worker = new Worker(new URL("runs-worker.js", import.meta.url), { workerData: { ...job, progress } });
  const startMs = performance.now();
  let lastDone = -1;
  let quietMs = 0;
  const shown = new Progress(standardError);
  const result = await new Promise<FuzzResult | "hangs">((resolve, reject) => {
    const teller = setInterval(() => {
      shown.show(() => `${count(doneOperations[0] ?? 0)} of ${count(job.operationCount)} operations`);
    }, TELL_MS);
    const timer = setInterval(() => {
      const done = doneOperations[0] ?? 0;
      quietMs = done === lastDone ? quietMs + PROGRESS_MS : 0;
      lastDone = done;
      if (quietMs >= HANG_MS) resolve("hangs");
    }, PROGRESS_MS);
    worker.once("message", resolve);
    worker.once("error", reject);
    void once(worker).finally(() => {
      clearInterval(timer);
      clearInterval(teller);
    });
  }).finally(() => worker.terminate());
  shown[Symbol.dispose]();
  const seconds = (performance.now() - startMs) / 1000;
  if (result === "hangs") {
    const kind = job.kind === undefined ? "" : ` --kind ${job.kind}`;
    console.error(
      `Seed ${seed[0]} hangs: no run ended in ${HANG_MS / 1000} s\nreplay: npm run fuzz -- --seed ${seed[0]} --ops 5000${kind}`,
    );
    return 1;
  }
  if (result.failure !== undefined) return reportFailure(result.failure, shrinks);
  const { operationCount, runCount, refusalCount, faultCount, kinds } = result;
  console.log(
    [
      `clean: ${count(operationCount)} operations in ${count(runCount)} runs from seed ${job.seed}, ` +
        `${seconds.toFixed(1)} s (${count(Math.round(operationCount / seconds))} a second)`,
      `misuse refused ${count(refusalCount)} times, faults of the machine met ${count(faultCount)} times`,
      `operations: ${Object.entries(kinds)
        .map(([kind, number]) => `${kind} ${count(number)}`)
        .join(", ")}`,
    ].join("\n"),
  );
  return 0;
}

function once(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => worker.once("exit", resolve));
}

function reportFailure(
  { message, seed, program }: NonNullable<FuzzResult["failure"]>,
  shrinks: boolean,
): number {
  console.error(message);
  if (program === undefined || !shrinks) return 1;
  const short = shrink(program, (candidate) => runProgram(candidate)?.stepCount);
  const failure = runProgram(short);
  if (failure === undefined) {
    console.error("\nThe same operations, run without the seed and watched more closely, do not fail.");
    return 1;
  }
  mkdirSync(FAILURES, { recursive: true });
  const file = path.join(FAILURES, `seed-${seed}.json`);
  writeFileSync(file, `${JSON.stringify(short, null, 1)}\n`);
  console.error(
    [
      `\nCut down from ${program.steps.length} operations to ${short.steps.length}:`,
      ...describeProgram(short),
      `fails with ${textOf(failure.error)}`,
      `replay: npm run fuzz -- --program ${file}`,
    ].join("\n"),
  );
  return 1;
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
