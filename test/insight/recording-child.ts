/**
 * Does random operations, and says what is live: `node recording-child.js HOW [FILE]`. HOW: `record` records into FILE,
 * `environment` leaves that to the environment, and has a worker and a second allocator; with `forever` behind FILE it goes
 * on until it is killed.
 */
import { writeSync } from "node:fs";
import { isMainThread, threadId, Worker, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "../../src/index.ts";
import { Random } from "../support/random.ts";

const [how, file = "", forever] = process.argv.slice(2);

function churn(allocator: JitAllocator, random: Random, live: number[], steps: number): void {
  for (let step = 0; step < steps; step++) {
    const at = random.below(2 * live.length + 2);
    const address = live[at];
    if (address === undefined || live.length < 20) {
      live.push(allocator.alloc(1 + random.below(2000), { name: `f${step}` }).rx);
    } else {
      allocator.release(address);
      live[at] = live.at(-1) ?? 0;
      live.pop();
    }
  }
}

function liveOf(allocator: JitAllocator): readonly (readonly [rx: number, size: number])[] {
  return allocator.snapshot().spans.map(({ rx, size }) => [rx, size]);
}

/** At once: the process may be killed right behind it. */
function say(what: unknown): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}

if (!isMainThread) {
  const { handle, given } = workerData as { handle: SharedAllocator; given: readonly number[] };
  const allocator = JitAllocator.attach(handle);
  const other = new JitAllocator();
  for (const address of given) allocator.release(address);
  churn(allocator, new Random(2), [], 500);
  other.allocAddress(100);
} else if (how === "environment") {
  const allocator = new JitAllocator();
  const live: number[] = [];
  churn(allocator, new Random(1), live, 500);
  const second = new JitAllocator();
  second.allocAddress(1000);
  const given = live.splice(0, 10);
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: allocator.share(), given } });
  churn(allocator, new Random(3), live, 500);
  worker.on("exit", () => say({ threadId, live: liveOf(allocator) }));
} else {
  const allocator = new JitAllocator();
  const live: number[] = [];
  const random = new Random(4);
  allocator.record(file);
  churn(allocator, random, live, 5000);
  say({ live: liveOf(allocator) });
  while (forever !== undefined) churn(allocator, random, live, 1000);
}
