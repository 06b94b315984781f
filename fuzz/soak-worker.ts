/** One thread of the soak: allocates, writes, runs, shrinks, releases, resets and begins anew, until it is told to stop. */
import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, toFunction, type JitAllocatorOptions, type Span } from "../src/index.ts";
import { returnConstant, RUNS_HERE } from "../test/support/native-code.ts";
import { Random } from "../test/support/random.ts";

/** What a thread is started with. */
export interface SoakJob {
  readonly seed: number;
  /** Its first integer: 1 = stop. Its second: how many operations all threads have done. */
  readonly control: SharedArrayBuffer;
}

/** So many operations on one allocator before it is disposed of and another one made with other options. */
const OPERATIONS_PER_ALLOCATOR = 200_000;
/** Live allocations waver around this: some megabytes of code, as an engine of some size has. */
const LIVE_COUNT = 2000;
/** Between two looks at whether to stop, and at the messages of the other thread. */
const BATCH = 1000;
/** Making a function takes some microseconds and is garbage for the collector: one allocation in so many is run. */
const RUN_SHARE = 0.02;

const { seed, control } = workerData as SoakJob;
const shared = new Int32Array(control, 0, 1);
const operations = new BigInt64Array(control, 8, 1);
const random = new Random(seed);

/** An allocator to work on. Where threads can share one, this is the place that attaches to it. */
function makeAllocator(): JitAllocator {
  const options: JitAllocatorOptions = {
    useDualMapping: random.chance(0.8),
    useMultiplePools: random.chance(0.5),
    fillUnusedMemory: random.chance(0.3),
    immediateRelease: random.chance(0.3),
    useLargePages: random.chance(0.1),
  };
  return new JitAllocator(options);
}

function step(allocator: JitAllocator, live: Span[]): void {
  const place = random.below(LIVE_COUNT);
  const span = live[place];
  if (span === undefined || random.chance(0.05)) {
    const value = random.next() | 0;
    const made = allocator.alloc(
      random.chance(0.02) ? random.between(4096, 100_000) : random.between(6, 2000),
    );
    made.write(0, returnConstant(value));
    if (RUNS_HERE && random.chance(RUN_SHARE)) {
      assert.equal(toFunction(made, { parameters: [], result: "i32" })(), value);
    }
    live.push(made);
    return;
  }
  if (random.chance(0.2)) {
    span.shrink(Math.max(64, span.size >> 1));
  } else if (random.chance(0.05)) {
    allocator.write(span, (code) => void code.fill(0x90));
  } else {
    const last = live.pop();
    if (last !== undefined && last !== span) live[place] = last;
    span.release();
  }
}

/** Resets now and then, and lets other messages through between batches. */
async function work(): Promise<void> {
  while (Atomics.load(shared, 0) === 0) {
    const allocator = makeAllocator();
    const live: Span[] = [];
    for (let done = 0; done < OPERATIONS_PER_ALLOCATOR && Atomics.load(shared, 0) === 0; done += BATCH) {
      for (let count = 0; count < BATCH; count++) step(allocator, live);
      Atomics.add(operations, 0, BigInt(BATCH));
      if (random.chance(0.005)) {
        allocator.reset(random.chance(0.5) ? "soft" : "hard");
        live.length = 0;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    allocator.verify();
    allocator.dispose();
  }
}

parentPort?.on("message", () => parentPort?.postMessage(process.memoryUsage().heapUsed));
void work().then(() => parentPort?.close());
