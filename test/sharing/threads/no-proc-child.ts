/**
 * Terminates workers that map and unmap all the time, disposes of the allocator, and waits to be looked at. It is run where
 * there is no /proc.
 */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { JitAllocator, type JitAllocatorOptions, type SharedAllocator } from "../../../src/index.ts";
import { Field } from "../../../src/sharing/layout.ts";
import { Random } from "../../support/random.ts";

interface Start {
  readonly handle: SharedAllocator;
  readonly progress: SharedArrayBuffer;
}

/** Large enough for a block of its own. */
const SIZE = 2 ** 20;
const MOST_OPERATIONS = 40;

if (isMainThread) await terminateWorkers();
else work(workerData as Start);

async function terminateWorkers(): Promise<void> {
  const [kills = "", seed = "", options = "{}"] = process.argv.slice(2);
  const random = new Random(Number(seed));
  const allocator = new JitAllocator(JSON.parse(options) as JitAllocatorOptions);
  const handle = allocator.share();
  for (let kill = 0; kill < Number(kills); kill++) {
    const start: Start = { handle, progress: new SharedArrayBuffer(4) };
    const worker = new Worker(new URL(import.meta.url), { workerData: start });
    await once(worker, "message");
    const progress = new Int32Array(start.progress);
    const target = random.between(1, MOST_OPERATIONS);
    while (Atomics.load(progress, 0) < target) await new Promise((resolve) => setImmediate(resolve));
    await worker.terminate();
    allocator.release(allocator.alloc(100));
    for (const { id, isAlive } of allocator.members()) if (isAlive === false) allocator.releaseAllOf(id);
    allocator.verify();
  }
  allocator.dispose();
  const repairs = new Int32Array(handle.state)[Field.repairs];
  process.stdout.write(JSON.stringify({ hasProc: existsSync("/proc/self"), repairs }));
  // Until whoever looks has seen enough.
  process.stdin.resume();
}

function work({ handle, progress }: Start): void {
  const allocator = JitAllocator.attach(handle);
  const count = new Int32Array(progress);
  parentPort?.postMessage("attached");
  for (;;) {
    allocator.alloc(SIZE).release();
    Atomics.add(count, 0, 1);
  }
}
