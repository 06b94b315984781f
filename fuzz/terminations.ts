/**
 * `node dist/fuzz/terminations.js`: terminates workers that do nothing but make functions, call and release them, and counts
 * the processes that end by it. Node aborts the process when a worker is terminated inside certain parts of native addons,
 * koffi among them; what this library can do is to be there seldom.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parentPort, Worker, workerData } from "node:worker_threads";
import { JitAllocator, toFunction, type SharedAllocator } from "../src/index.ts";
import { returnConstant } from "../test/support/native-code.ts";
import { Random } from "../test/support/random.ts";

const HELP = `Usage: node dist/fuzz/terminations.js [options]

Options:
  --rounds N         processes for each moment (default 3)
  --terminations N   terminations in each (default 150)
  --help
`;

/** When a worker is terminated, and on whose allocator it works. */
interface Moment {
  readonly what: string;
  readonly isShared: boolean;
  /** Whether it has made and called its first function by then. */
  readonly isReady: boolean;
  /** Milliseconds from then, or from when the worker was online: the least and the most. */
  readonly delay: readonly [number, number];
}

const moments: readonly Moment[] = [
  { what: "after the first function of a signature", isShared: false, isReady: true, delay: [0, 10] },
  { what: "the same on a shared allocator", isShared: true, isReady: true, delay: [0, 10] },
  { what: "20 to 140 ms after it came online", isShared: false, isReady: false, delay: [20, 140] },
  { what: "the same, while it attaches", isShared: true, isReady: false, delay: [20, 140] },
];

/** As many workers work at a time. */
const WORKERS = 3;

/** What a worker does. */
interface Job {
  readonly handle: SharedAllocator | undefined;
}

/** What a process does. */
interface Task {
  readonly moment: number;
  readonly terminations: number;
  readonly seed: number;
}

function work({ handle }: Job): never {
  const allocator = handle === undefined ? new JitAllocator() : JitAllocator.attach(handle);
  const code = returnConstant(1);
  for (let made = 0; ; made++) {
    const span = allocator.alloc(code.length);
    span.write(0, code);
    toFunction(span, { parameters: [], result: "i32" })();
    span.release();
    if (made === 0) parentPort?.postMessage("ready");
  }
}

async function terminateAll({ moment, terminations, seed }: Task): Promise<void> {
  const chosen = moments[moment];
  if (chosen === undefined) throw new Error(`there is no moment ${moment}`);
  const { isShared, isReady, delay } = chosen;
  const random = new Random(seed);
  const allocator = new JitAllocator();
  const handle = isShared ? allocator.share() : undefined;
  let left = terminations;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const worker = new Worker(new URL(import.meta.url), { workerData: { handle } satisfies Job });
      await new Promise((resolve) => worker.once(isReady ? "message" : "online", resolve));
      await new Promise((resolve) => setTimeout(resolve, random.between(...delay)));
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, one));
  allocator.verify();
}

function run(rounds: number, terminations: number): void {
  moments.forEach(({ what }, moment) => {
    const ends = Array.from({ length: rounds }, (_, round) => {
      const task = JSON.stringify({ moment, terminations, seed: round } satisfies Task);
      const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), "--task", task], {
        encoding: "utf8",
      });
      const [reason = ""] = /^.*(?:terminat|Assert|Check failed|FATAL|Error).*$/m.exec(child.stderr) ?? [];
      return child.status === 0 ? [] : [`${child.signal ?? String(child.status)} ${reason}`];
    }).flat();
    console.log(`${what}: ${ends.length} of ${rounds} processes ended, ${terminations} terminations in each`);
    for (const end of ends) console.log(`  ${end}`);
  });
}

if (parentPort !== null) work(workerData as Job);
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    terminations: { type: "string", default: "150" },
    task: { type: "string" },
    help: { type: "boolean" },
  },
});
if (values.help === true) process.stdout.write(HELP);
else if (values.task !== undefined) await terminateAll(JSON.parse(values.task) as Task);
else run(Number(values.rounds), Number(values.terminations));
