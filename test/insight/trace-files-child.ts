/**
 * Records into files: `node trace-files-child.js HOW [FILE]`. HOW:
 * - `one` makes an allocator, and leaves the rest to the environment; `many` one after the other, and says how often a file
 *   was read; `together` one in each of six threads at the same time
 * - `exit` records into FILE, and allocates once more when the program ends
 * - `full` records into FILE more than there is room for, and says of which allocation it was told that; `full later` less,
 *   so that it is told by the event loop; `full at exit` ends before that
 */
import { writeSync, type readSync } from "node:fs";
import { createRequire } from "node:module";
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { JitAllocator } from "../../src/index.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { Random } from "../support/random.ts";

const [how = "", file = ""] = process.argv.slice(2);
const THREADS = 6;

/** A name that gzip cannot make shorter by much. */
function longName(random: Random): string {
  return Array.from({ length: 400 }, () => random.below(36).toString(36)).join("");
}

/** Waits until all threads have come here. */
function meet(counter: Int32Array): void {
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
  for (;;) {
    const here = Atomics.load(counter, 0);
    if (here >= THREADS) return;
    Atomics.wait(counter, 0, here);
  }
}

function say(what: unknown): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}

if (!isMainThread) {
  meet(workerData as Int32Array);
  new JitAllocator().alloc(64);
} else if (how === "one") {
  new JitAllocator().alloc(64);
} else if (how === "many") {
  const own = createRequire(import.meta.url)("node:fs") as { readSync: typeof readSync };
  const { readSync: read } = own;
  let reads = 0;
  own.readSync = ((...given: Parameters<typeof readSync>) => {
    reads++;
    return read(...given);
  }) as typeof readSync;
  for (let count = 0; count < 40; count++) new JitAllocator().dispose();
  say(reads);
} else if (how === "together") {
  const counter = new Int32Array(new SharedArrayBuffer(4));
  const workers = Array.from(
    { length: THREADS },
    () => new Worker(new URL(import.meta.url), { workerData: counter }),
  );
  await Promise.all(workers.map((worker) => once(worker, "exit")));
} else if (how === "exit") {
  const allocator = new JitAllocator();
  allocator.record(file);
  process.on("exit", () => allocator.alloc(64, { name: "at exit" }));
} else {
  // The memory of the system is a file as well.
  const allocator = new JitAllocator({}, new SimulatedMemory());
  const random = new Random(1);
  allocator.record(file);
  const warned = once(process, "warning");
  const count = how === "full" ? 1000 : 5;
  for (let number = 0; number < count; number++) allocator.alloc(64, { name: longName(random) });
  if (how !== "full at exit") {
    const wait = setTimeout(() => undefined, 60_000);
    await warned;
    clearTimeout(wait);
  }
  say(allocator.statistics().allocationCount);
}
