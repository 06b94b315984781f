/**
 * `node dist/bench/waits.js`: how long the main thread waits for the lock of a shared allocator, while other threads do
 * nothing but hold it. Runs on every runtime; `--help` lists the flags.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { readInteger } from "../src/cli/args.ts";
import { JitAllocator, type Span } from "../src/index.ts";
import { readCommandLine } from "../test/support/command-line.ts";
import { Random } from "./random.ts";
import { figure } from "./report.ts";
import { median } from "./turns.ts";
import type { WaitsData } from "./waits-child.ts";
import { loops, type LoopName } from "./waits-loops.ts";

const HELP = `Usage: node dist/bench/waits.js [options]

How long allocations and releases of the main thread take, which computes for up to 0.2 ms before each, while other
threads read 64 KiB, list the blocks or verify a shared allocator of 5,000 functions in a loop. An operation is one of
theirs, as long as it takes alone.

  --loops NAME[,NAME]  read, blocks, verify (default: all)
  --threads N[,N]      how many threads loop (default 1,4,120)
  --waits N            how many operations of the main thread are measured (default 10000)
  --seconds N          the most that one measurement lasts (default 30)
  --turns N            how often all is measured; the table has the medians (default 3)
  --json               print every turn, as JSON
  --help, -h           print this text`;

/** The number of live functions; their sizes are those of `tier`. */
const LIVE = 5000;
const READ_BYTES = 64 * 1024;
/** Milliseconds for which an operation runs alone, before it is measured for as long again. */
const ALONE_MS = 150;
/** The most microseconds for which the main thread computes before it wants the lock. */
const MOST_PAUSE_US = 200;
/** Operations that each thread has done before anything is measured. */
const WARM_UP = 20;

/** A measurement. Times in microseconds. */
interface Waits {
  readonly loop: LoopName;
  readonly threads: number;
  /** The time of one operation of the others where no thread else wants the lock. */
  readonly operation: number;
  readonly count: number;
  readonly mean: number;
  readonly p99: number;
  readonly most: number;
  /** The longest operation of the others meanwhile: the system or the collector interrupted it while it held the lock. */
  readonly theirMost: number;
  /** The number of operations a second of all other threads together. */
  readonly othersPerSecond: number;
}

const settings = readCommandLine(
  HELP,
  {
    loops: { type: "string", default: Object.keys(loops).join(",") },
    threads: { type: "string", default: "1,4,120" },
    waits: { type: "string", default: "10000" },
    seconds: { type: "string", default: "30" },
    turns: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
  0,
  ({ values }) => ({
    loops: values.loops.split(",").map(toLoop),
    threads: values.threads.split(",").map((text) => readInteger("--threads", text, 1, 500)),
    waits: readInteger("--waits", values.waits, 2, 1_000_000),
    seconds: readInteger("--seconds", values.seconds, 1, 3600),
    turns: readInteger("--turns", values.turns, 1, 1000),
    isJson: values.json,
  }),
);

function toLoop(name: string): LoopName {
  if (name in loops) return name as LoopName;
  throw new Error(`There is no loop ${name}; see --help`);
}

/** Fills the allocator with functions of every size, a tenth of which take the places of released ones. */
function fill(allocator: JitAllocator, random: Random): Span {
  const spanToRead = allocator.alloc(READ_BYTES);
  const held = Array.from({ length: LIVE }, () => allocator.allocAddress(randomSize(random)));
  for (let i = 0; i < LIVE / 10; i++) {
    const index = random.below(LIVE);
    allocator.release(held[index] ?? 0);
    held[index] = allocator.allocAddress(randomSize(random));
  }
  return spanToRead;
}

function randomSize(random: Random): number {
  const size = Math.round(400 * Math.exp(1.1 * random.normal()));
  return Math.min(Math.max(size, 1), READ_BYTES);
}

/** The microseconds that an operation takes alone. */
function timeAlone(operate: () => void): number {
  let start = performance.now();
  while (performance.now() - start < ALONE_MS) operate();
  let count = 0;
  start = performance.now();
  for (; performance.now() - start < ALONE_MS; count++) operate();
  return ((performance.now() - start) / count) * 1000;
}

/** The microseconds of each operation: an allocation, its release, and so on. */
function timeWaits(allocator: JitAllocator, random: Random): number[] {
  const waits: number[] = [];
  const end = performance.now() + settings.seconds * 1000;
  const time = (operate: () => void): void => {
    // Without a pause this thread would starve the others.
    const start = performance.now() + random.below(MOST_PAUSE_US) / 1000;
    let before = performance.now();
    while (before < start) before = performance.now();
    operate();
    waits.push((performance.now() - before) * 1000);
  };
  let address = 0;
  while (waits.length < settings.waits && performance.now() < end) {
    time(() => (address = allocator.allocAddress(randomSize(random))));
    time(() => allocator.release(address));
  }
  return waits;
}

async function measure(loop: LoopName, threads: number): Promise<Waits> {
  using allocator = new JitAllocator();
  const random = new Random(1);
  const handle = allocator.share();
  const span = fill(allocator, random);
  const operation = timeAlone(loops[loop](allocator, span));
  timeWaits(allocator, random); // so that it is compiled
  const flags = new Int32Array(new SharedArrayBuffer(4 * (1 + 2 * threads)));
  const counts = flags.subarray(1, 1 + threads);
  const longest = flags.subarray(1 + threads);
  const workers = Array.from({ length: threads }, (_, index) => {
    const data: WaitsData = { handle, token: span.token, loop, control: flags.buffer, index, threads };
    return new Worker(new URL("waits-child.js", import.meta.url), { workerData: data });
  });
  const ends = workers.map(async (worker) => once(worker, "exit"));
  while (counts.some((count) => count < WARM_UP)) await new Promise((resolve) => setTimeout(resolve, 1));
  const sum = (): number => counts.reduce((total, count) => total + count, 0);
  longest.fill(0); // of before there was anybody to wait
  const [countBefore, start] = [sum(), performance.now()];
  const waits = timeWaits(allocator, random);
  const othersPerSecond = ((sum() - countBefore) * 1000) / (performance.now() - start);
  Atomics.store(flags, 0, 1);
  await Promise.all(ends);
  waits.sort((a, b) => a - b);
  return {
    loop,
    threads,
    operation,
    count: waits.length,
    mean: waits.reduce((total, wait) => total + wait, 0) / waits.length,
    p99: waits[Math.floor(waits.length * 0.99)] ?? NaN,
    most: waits.at(-1) ?? NaN,
    theirMost: Math.max(...longest),
    othersPerSecond,
  };
}

/** The medians of all turns, one row for each case. */
function table(results: readonly Waits[]): string {
  const rows = settings.loops.flatMap((loop) =>
    settings.threads.map((threads) => {
      const turns = results.filter((result) => result.loop === loop && result.threads === threads);
      const of = (key: Exclude<keyof Waits, "loop">): number => median(turns.map((turn) => turn[key]));
      const operations = of("mean") / of("operation");
      const times = [
        of("operation"),
        of("mean"),
        operations,
        of("p99"),
        of("most"),
        of("theirMost"),
        of("othersPerSecond"),
      ];
      return [loop, String(threads), String(of("count")), ...times.map(figure)];
    }),
  );
  const heading = ["loop", "threads", "waits", "operation, µs", "mean wait, µs", "in operations"];
  heading.push("99 %, µs", "longest, µs", "their longest, µs", "their operations a second");
  return [heading, heading.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const results: Waits[] = [];
for (let turn = 0; turn < settings.turns; turn++) {
  for (const loop of settings.loops) {
    for (const threads of settings.threads) results.push(await measure(loop, threads));
  }
}
console.log(settings.isJson ? JSON.stringify(results, null, 1) : table(results));
