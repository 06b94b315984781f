/**
 * Measures in one runtime what it costs that code is not freed while it runs: `inside-child.js own|unguarded|shared|retire THREADS ROUNDS`.
 * `unguarded` is a shared allocator whose calls neither enter nor leave, as if nothing were ever retired.
 * Prints nanoseconds as JSON: a call in each thread while all call, or a retirement while another thread has called before.
 */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { JitAllocator, toFunction, type SharedAllocator } from "../src/index.ts";
import { SharedEngine } from "../src/sharing/shared-engine.ts";
import { ADD } from "../test/support/native-code.ts";

/** A loop of so many calls takes a millisecond or more. */
const CALLS = 100_000;
const RETIREMENTS = 10_000;

interface Job {
  readonly mode: string;
  readonly handle: SharedAllocator | undefined;
  /** The start of the code, in a shared allocator. */
  readonly rx: number;
  readonly rounds: number;
  /** One integer: how many threads are ready. */
  readonly ready: SharedArrayBuffer;
  readonly threads: number;
}

/** Calls when all threads are ready. Returns the nanoseconds of a call in the best round. */
function measureCalls({ mode, handle, rx, rounds, ready, threads }: Job): number {
  if (mode === "unguarded") Object.defineProperty(SharedEngine.prototype, "door", { get: () => undefined });
  const allocator = handle === undefined ? new JitAllocator() : JitAllocator.attach(handle);
  const span = handle === undefined ? allocator.alloc(ADD.length) : allocator.query(rx);
  span.write(0, ADD);
  const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
  const loop = (): number => {
    let sum = 0;
    for (let i = 0; i < CALLS; i++) sum = add(sum, i);
    return sum;
  };
  for (let warm = 0; warm < 10; warm++) loop();
  const count = new Int32Array(ready);
  Atomics.add(count, 0, 1);
  while (Atomics.load(count, 0) < threads);
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    loop();
    best = Math.min(best, ((performance.now() - start) * 1e6) / CALLS);
  }
  return best;
}

/** Retires allocations by their addresses. Returns the nanoseconds of one in the best round. */
function measureRetire(allocator: JitAllocator, rounds: number): number {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const addresses = Array.from({ length: RETIREMENTS }, () => allocator.allocAddress(200));
    const start = performance.now();
    for (const address of addresses) allocator.retire(address);
    best = Math.min(best, ((performance.now() - start) * 1e6) / RETIREMENTS);
  }
  return best;
}

if (isMainThread) {
  const [, , mode = "own", threadsText = "1", roundsText = "50"] = process.argv;
  const allocator = new JitAllocator();
  const span = allocator.alloc(ADD.length);
  const handle = mode === "own" ? undefined : allocator.share();
  const threads = mode === "retire" ? 2 : Number(threadsText);
  const ready = new SharedArrayBuffer(4);
  // Another thread that has called once makes a retirement wait for it.
  const job: Job = { mode, handle, rx: span.rx, rounds: Number(roundsText), ready, threads };
  const workers = Array.from(
    { length: threads - 1 },
    () => new Worker(new URL(import.meta.url), { workerData: job }),
  );
  // A worker may need this thread to start: it says when it has.
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const theirs = workers.map((worker) => once(worker, "message") as Promise<[number]>);
  for (const worker of workers) worker.postMessage("go");
  const mine = measureCalls(job);
  const figures = [mine, ...(await Promise.all(theirs)).map(([figure]) => figure)];
  console.log(JSON.stringify(mode === "retire" ? [measureRetire(allocator, job.rounds)] : figures));
  for (const worker of workers) await worker.terminate();
} else {
  parentPort?.once("message", () => parentPort?.postMessage(measureCalls(workerData as Job)));
  parentPort?.postMessage("ready");
}
