/**
 * `node dist/bench/threads-child.js TRACE THREADS ROUNDS`: that many workers replay the trace at once, each with slots of
 * its own, on one shared allocator. Prints the milliseconds of the best round. The same file is the workers' code.
 */
import { readFileSync } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { readTrace } from "../src/cli/trace.ts";
import { makeReplay } from "../src/cli/replay-rounds.ts";
import { JitAllocator, type SharedAllocator } from "../src/index.ts";

/** The data of a worker. Each round has a fresh allocator, so there is a handle for each. */
interface ReplayerData {
  readonly path: string;
  readonly gate: SharedArrayBuffer;
  readonly handles: readonly SharedAllocator[];
}

/** The gate: the count of workers that wait before it; the current round; the count of workers that are done. */
const WAITING = 0;
const ROUND = 1;
const DONE = 2;

/** Adds one, and wakes the threads that wait for it. */
function countUp(gate: Int32Array, at: number): void {
  Atomics.add(gate, at, 1);
  Atomics.notify(gate, at);
}

function waitFor(gate: Int32Array, at: number, value: number): void {
  for (let now = Atomics.load(gate, at); now !== value; now = Atomics.load(gate, at))
    Atomics.wait(gate, at, now);
}

function work({ path, gate: buffer, handles }: ReplayerData): void {
  const gate = new Int32Array(buffer);
  const replay = makeReplay("address", readTrace(path, readFileSync(path)));
  handles.forEach((handle, round) => {
    const allocator = JitAllocator.attach(handle);
    countUp(gate, WAITING);
    waitFor(gate, ROUND, round + 1);
    replay.run(allocator, 0, replay.trace.operationCount);
    countUp(gate, DONE);
    allocator.detach();
  });
}

function main(path: string, threadCount: number, roundCount: number): void {
  const gate = new Int32Array(new SharedArrayBuffer(12));
  // This thread reads the clock and does nothing meanwhile. The reserve is large enough for all workers at their peak.
  const allocators = Array.from(
    { length: roundCount },
    () => new JitAllocator({ useRange: false, maxReservedSize: 2 ** 32 }),
  );
  const handles = allocators.map((allocator) => allocator.share());
  const data: ReplayerData = { path, gate: gate.buffer, handles };
  for (let thread = 0; thread < threadCount; thread++) {
    new Worker(new URL(import.meta.url), { workerData: data });
  }
  let best = Number.POSITIVE_INFINITY;
  // The workers load their modules without this thread, so it may block.
  for (const [round, allocator] of allocators.entries()) {
    waitFor(gate, WAITING, threadCount * (round + 1));
    const before = performance.now();
    countUp(gate, ROUND);
    waitFor(gate, DONE, threadCount * (round + 1));
    best = Math.min(best, performance.now() - before);
    allocator.dispose();
  }
  process.stdout.write(`${best}\n`);
}

if (isMainThread) {
  const [path = "", threads = "1", rounds = "3"] = process.argv.slice(2);
  main(path, Number(threads), Number(rounds));
} else {
  work(workerData as ReplayerData);
}
