/**
 * A process whose system tells it little of threads: run in a PID namespace of its own, under a /proc that belongs to
 * another, with no descriptor left, or without leave to read /proc. Prints what the main thread saw, as JSON.
 *
 * `living`: three workers and the main thread work on one allocator, and nobody dies.
 * `number`: a worker dies in an operation, and a later thread gets its number.
 */
import { once } from "node:events";
import { openSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "../../../src/index.ts";
import { Field, Members } from "../../../src/sharing/layout.ts";
import { systemMemory } from "../../../src/vm/select.ts";

const OPERATIONS = 3000;

interface Job {
  readonly what: "work" | "die" | "idle";
  readonly handle: SharedAllocator;
  readonly control: SharedArrayBuffer;
}

function work(allocator: JitAllocator): void {
  for (let round = 0; round < 10; round++) {
    const span = allocator.alloc(300 + 40_000 * (round % 2));
    span.write(0, Uint8Array.of(round));
    allocator.release(span);
  }
}

async function startWorker(job: Job): Promise<Worker> {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: job });
  await once(worker, "message");
  return worker;
}

async function living(): Promise<object> {
  const allocator = new JitAllocator({ immediateRelease: true });
  const job: Job = { what: "work", handle: allocator.share(), control: new SharedArrayBuffer(4) };
  allocator.alloc(64); // so that there is a block, however many descriptors are left for others
  const workers = await Promise.all([1, 2, 3].map(() => startWorker(job)));
  const ends = workers.map((worker) => once(worker, "exit"));
  let opened = 0;
  try {
    for (; ; opened++) openSync("/dev/null", "r");
  } catch {
    // There are none left, which is what this is about. A block is a file: those that are mapped now can be used on.
  }
  const seen = new Set<string>();
  let refused = 0;
  for (let count = 0; count < OPERATIONS; count++) {
    try {
      allocator.release(allocator.alloc(300));
    } catch {
      refused++;
    }
    if (count % 100 === 0) for (const { isAlive } of allocator.members()) seen.add(String(isAlive));
  }
  allocator.verify();
  Atomics.store(new Int32Array(job.control), 0, 1);
  await Promise.all(ends);
  const repairs = new Int32Array(job.handle.state)[Field.repairs];
  return { opened: opened > 0, isAlive: [...seen], repairs, isWorking: refused < OPERATIONS };
}

async function reusedNumber(): Promise<object> {
  const allocator = new JitAllocator();
  const handle = allocator.share();
  const control = new SharedArrayBuffer(4);
  const dying = await startWorker({ what: "die", handle, control });
  const end = once(dying, "exit");
  await end; // it holds the lock, and always will
  const state = new Int32Array(handle.state);
  const id = (member: number): number => state[Members.start + member * Members.integers + Members.id] ?? 0;
  const number = id(state[Field.lock] ?? 0);
  let isNumberGivenAgain = false;
  for (let tries = 0; tries < 50 && !isNumberGivenAgain; tries++) {
    // The next thread of this namespace gets the number behind this one, unless the runtime is quicker.
    writeFileSync("/proc/sys/kernel/ns_last_pid", String(number - 1));
    const idle = new Worker(
      `const { parentPort, workerData } = require("node:worker_threads");
       import(workerData).then(({ systemMemory }) => parentPort.postMessage(systemMemory().sharing.currentThread().id));
       setInterval(() => undefined, 1000);`,
      { eval: true, workerData: new URL("../../../src/vm/select.js", import.meta.url).href },
    );
    const [given] = (await once(idle, "message")) as [number];
    isNumberGivenAgain = given === number;
    if (!isNumberGivenAgain) await idle.terminate();
  }
  const start = process.hrtime.bigint();
  allocator.release(allocator.alloc(300));
  const milliseconds = Number((process.hrtime.bigint() - start) / 1_000_000n);
  allocator.verify();
  return { isNumberGivenAgain, repairs: state[Field.repairs], isQuick: milliseconds < 5000 };
}

if (isMainThread) {
  console.log(JSON.stringify(await (process.argv[2] === "living" ? living() : reusedNumber())));
  process.exit();
} else {
  const { what, handle, control } = workerData as Job;
  const allocator = JitAllocator.attach(handle);
  // What a worker's operations look up is there before it is said to work.
  work(allocator);
  systemMemory().sharing?.currentThread();
  parentPort?.postMessage("works");
  if (what === "work") {
    const flags = new Int32Array(control);
    while (Atomics.load(flags, 0) === 0) {
      try {
        work(allocator);
      } catch {
        // No descriptor for a block, which is an error like any other.
      }
    }
  } else {
    // As if it had been terminated in the middle of an operation: the lock is its own.
    Atomics.store(new Int32Array(handle.state), Field.lock, allocator.memberId);
    process.exit();
  }
}
