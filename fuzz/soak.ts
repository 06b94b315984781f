/**
 * Runs a mixed load for minutes, in several threads that share one allocator, and samples what the process holds
 * meanwhile: `npm run soak -- --minutes 10 --workers 4`. Fails where something grows.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { draw } from "../bench/charts.ts";
import { readInteger, UsageError } from "../src/cli/args.ts";
import { Progress, standardError } from "../src/cli/progress.ts";
import { tableLines } from "../src/cli/table.ts";
import { JitAllocator, type JitAllocatorOptions } from "../src/index.ts";
import { readCommandLine } from "../test/support/command-line.ts";
import { Random } from "../test/support/random.ts";
import { Mailbox } from "./mailbox.ts";
import type { SoakAnswer, SoakCommand, SoakJob } from "./soak-worker.ts";

const HELP = `Usage: npm run soak -- [options]

A mixed load in several threads that share one allocator. Samples what the process holds meanwhile, and fails where
something grows.

  --minutes N   how long (default 10)
  --workers N   how many threads, 1 to 64 (default 4)
  --seed N      what the load is made from, an integer (default 1)
  --chart FILE  draws the samples; the chart in the documents is docs/charts/soak.svg
  --help, -h    print this text

Exit codes: 0 nothing grew, 1 something did, 2 the command line was wrong.`;

const { minutes, workerCount, seed, chartFile } = readCommandLine(
  HELP,
  {
    minutes: { type: "string", default: "10" },
    workers: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    chart: { type: "string" },
  },
  0,
  ({ values }) => ({
    minutes: readMinutes(values.minutes),
    workerCount: readInteger("--workers", values.workers, 1, 64),
    seed: readInteger("--seed", values.seed, 0, 2 ** 32 - 1),
    chartFile: values.chart,
  }),
);

/** What the process holds at one moment. */
interface Sample {
  readonly seconds: number;
  readonly residentMiB: number;
  readonly heapMiB: number;
  readonly mappings: number;
  readonly descriptors: number;
}

const MiB = 1024 * 1024;
/** The number of samples: enough for a chart, whatever the length of the run. */
const SAMPLE_COUNT = 120;
/** The share of the run that is not compared: the load begins with no allocations, and the engine is still compiling. */
const WARM_UP_SHARE = 0.2;
/**
 * The most by which the mean of the last third may exceed that of the first third after the warm-up. Garbage collections
 * come at any time and blocks come and go, so single samples differ by more. A leak of one block in a thousand would be
 * far above.
 */
const GROWTH_LIMIT = 1.15;

const durationMs = minutes * 60_000;
const control = new SharedArrayBuffer(16);
const stop = new Int32Array(control, 0, 1);
const mailbox = Mailbox.create();
const random = new Random(seed);
const workers = Array.from({ length: workerCount }, () => {
  const workerData: SoakJob = { seed: random.next(), control, mailbox };
  return new Worker(new URL("soak-worker.js", import.meta.url), { workerData });
});
const startMs = performance.now();
const samples: Sample[] = [];
const load = takeTurns();
// A thread that fails is reported at once, not when the time is over.
await Promise.race([load, takeSamples()]);
Atomics.store(stop, 0, 1);
await load;
await Promise.all(workers.map(async (worker) => worker.terminate()));
const afterwards = await sample([]);
process.exitCode = report();

/** Parses the minutes; fractions are allowed, for a quick look. */
function readMinutes(text: string): number {
  const value = Number(text);
  if (text !== "" && value > 0 && value < Infinity) return value;
  throw new UsageError(`--minutes takes a number above 0, not ${JSON.stringify(text)}`);
}

async function takeSamples(): Promise<void> {
  using progress = new Progress(standardError);
  while (performance.now() - startMs < durationMs) {
    const minutesLeft = (durationMs - (performance.now() - startMs)) / 60_000;
    progress.show(() => `${minutesLeft.toFixed(1)} of ${minutes} minutes left`);
    await new Promise((resolve) => setTimeout(resolve, durationMs / SAMPLE_COUNT));
    samples.push(await sample(workers));
  }
}

/** Makes one allocator after the other, with different options, and uses each for a few turns with resets between them. */
async function takeTurns(): Promise<void> {
  while (Atomics.load(stop, 0) === 0) {
    const allocator = new JitAllocator(randomOptions());
    const handle = allocator.share();
    for (;;) {
      await tellAll({ what: "work", handle });
      allocator.verify();
      if (Atomics.load(stop, 0) === 1 || random.chance(0.5)) break;
      // No thread runs code now: a reset would pull it from under the thread.
      allocator.reset(random.chance(0.5) ? "soft" : "hard");
      new Mailbox(mailbox).empty();
      await tellAll({ what: "forget" });
    }
    for (const parcel of new Mailbox(mailbox).empty()) allocator.spanOf(parcel).release();
    await tellAll({ what: "leave" });
    allocator.verify();
    assert.equal(allocator.statistics().allocationCount, 0, "all is released");
    allocator.dispose();
  }
}

function randomOptions(): JitAllocatorOptions {
  return {
    useDualMapping: random.chance(0.8),
    useMultiplePools: random.chance(0.5),
    fillUnusedMemory: random.chance(0.3),
    immediateRelease: random.chance(0.3),
    useLargePages: random.chance(0.1),
  };
}

async function tellAll(command: SoakCommand): Promise<void> {
  await Promise.all(workers.map(async (worker) => tell(worker, command)));
}

/** Sends a command, and waits for its answer; another command may be under way. Fails where the thread fails. */
function tell(worker: Worker, command: SoakCommand): Promise<SoakAnswer> {
  return new Promise((resolve, reject) => {
    const listen = (answer: SoakAnswer): void => {
      if (answer.what !== command.what) return;
      worker.off("message", listen);
      worker.off("error", reject);
      resolve(answer);
    };
    worker.on("message", listen);
    worker.on("error", reject);
    worker.postMessage(command);
  });
}

async function sample(living: readonly Worker[]): Promise<Sample> {
  const heaps = await Promise.all(
    living.map(async (worker) => (await tell(worker, { what: "heap" })).usedBytes),
  );
  return {
    seconds: Math.round((performance.now() - startMs) / 1000),
    residentMiB: process.memoryUsage.rss() / MiB,
    heapMiB: (heaps.reduce((sum, bytes) => sum + bytes, 0) + process.memoryUsage().heapUsed) / MiB,
    mappings: readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n").length,
    descriptors: readdirSync("/proc/self/fd").length,
  };
}

function mean(part: readonly Sample[], name: keyof Sample): number {
  return part.reduce((sum, one) => sum + one[name], 0) / part.length;
}

function report(): number {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP_SHARE));
  const third = Math.ceil(warm.length / 3);
  const operations = Number(new BigInt64Array(control, 8, 1)[0]);
  const seconds = durationMs / 1000;
  console.log(
    `${operations.toLocaleString("en-US")} operations in ${seconds} s by ${workers.length} threads on one allocator (${Math.round(operations / seconds).toLocaleString("en-US")} a second)`,
  );
  let grown = 0;
  const rows: string[][] = [];
  for (const name of ["residentMiB", "heapMiB", "mappings", "descriptors"] as const) {
    const first = mean(warm.slice(0, third), name);
    const last = mean(warm.slice(-third), name);
    const growth = last / first;
    if (growth > GROWTH_LIMIT) grown++;
    const all = samples.map((one) => one[name]);
    const cells = [first.toFixed(1), last.toFixed(1), growth.toFixed(3)];
    const bounds = [Math.min(...all).toFixed(1), Math.max(...all).toFixed(1)];
    rows.push([name, ...cells, ...bounds, growth > GROWTH_LIMIT ? "GROWS" : ""]);
  }
  const head = ["", "first", "last", "times", "least", "most", ""];
  console.log(tableLines([head, ...rows], { align: ["left", "right"] }).join("\n"));
  const left = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => line.includes("jit-allocator")).length;
  console.log(
    `afterwards   ${afterwards.mappings} mappings, ${left} of them code, ${afterwards.descriptors} descriptors`,
  );
  if (chartFile !== undefined) writeFileSync(chartFile, chart().svg);
  return grown === 0 && left === 0 ? 0 : 1;
}

function chart(): ReturnType<typeof draw> {
  const line = (name: string, field: keyof Sample, yAxisIndex: number): object => ({
    name,
    type: "line",
    showSymbol: false,
    yAxisIndex,
    data: samples.map((one) => [one.seconds, Number(one[field].toFixed(1))]),
  });
  return draw("soak", `Mixed load, ${workers.length} threads: what the process holds`, 380, {
    legend: { top: 34, itemGap: 40 },
    grid: { left: 70, right: 70, top: 90, bottom: 48 },
    xAxis: { type: "value", name: "seconds", nameLocation: "middle", nameGap: 28, max: "dataMax" },
    yAxis: [
      { type: "value", name: "MiB", min: 0 },
      { type: "value", name: "count", min: 0, splitLine: { show: false } },
    ],
    series: [
      line("resident memory (MiB)", "residentMiB", 0),
      line("JavaScript heaps (MiB)", "heapMiB", 0),
      line("mappings", "mappings", 1),
      line("descriptors", "descriptors", 1),
    ],
  });
}
