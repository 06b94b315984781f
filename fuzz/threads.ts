/**
 * The fuzzer's runs on an allocator that several threads share: starts the threads, and checks everything when all stand
 * still.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { JitAllocator, type JitAllocatorOptions } from "../src/index.ts";
import { throwsJitError } from "../test/support/expectations.ts";
import { AllocatorModel } from "../test/support/model.ts";
import { planRun } from "../test/support/operations.ts";
import { Random } from "../test/support/random.ts";
import { Claims } from "./claims.ts";
import { Mailbox } from "./mailbox.ts";
import { KINDS } from "./thread-run.ts";
import type { ThreadPlan } from "./thread-run.ts";
import type { ThreadCommand, ThreadOptions, ThreadReport } from "./threads-worker.ts";

/** The runs to do. */
export interface ThreadsJob {
  readonly seed: number;
  /** The operations of all threads together. */
  readonly operationCount: number;
  readonly threadCount: number;
}

/** Bounded because the number of a thread is a part of its claims. */
export const MOST_THREADS = 64;
/** The operations of each thread between two checks of everything. */
const ROUND_OPERATIONS = 500;
/** The rounds of one run: enough that blocks fill up and empty. */
const ROUNDS = 4;
/** A round takes a second at the most, even with more threads than processors. One that takes this long hangs. */
const HANG_MS = 60_000;
const MiB = 1024 * 1024;

/** A thread failed, or a check was wrong when all threads stood still. */
class ThreadsFailure extends Error {}

/** Does the runs, and prints their progress. Returns the exit code. */
export async function fuzzThreads({ seed, operationCount, threadCount }: ThreadsJob): Promise<number> {
  const team = new Team(threadCount);
  const startMs = performance.now();
  let [done, runCount, refusalCount] = [0, 0, 0];
  try {
    while (done < operationCount) {
      const perThread = Math.min(ROUNDS * ROUND_OPERATIONS, Math.ceil((operationCount - done) / threadCount));
      refusalCount += await run(team, seed + runCount, perThread);
      done += perThread * threadCount;
      runCount++;
    }
  } catch (error) {
    const text = error instanceof ThreadsFailure ? error.message : String((error as Error).stack);
    const runSeed = seed + runCount;
    console.error(
      [
        `Seed ${runSeed}, ${threadCount} threads: ${text}`,
        "The threads meet in another order each time, so a replay may need some attempts:",
        `replay: npm run fuzz -- --seed ${runSeed} --ops ${ROUNDS * ROUND_OPERATIONS * threadCount} --threads ${threadCount}`,
      ].join("\n"),
    );
    return 1;
  } finally {
    await team.end();
  }
  const seconds = (performance.now() - startMs) / 1000;
  const count = (value: number): string => Math.round(value).toLocaleString("en-US");
  console.log(
    `clean: ${count(done)} operations by ${threadCount} threads in ${count(runCount)} runs from seed ${seed}, ` +
      `${seconds.toFixed(1)} s (${count(done / seconds)} a second)\n` +
      `misuse and want of room refused ${count(refusalCount)} times`,
  );
  return 0;
}

/** The threads. They outlive a run, and attach to one allocator after the other. */
class Team {
  readonly #control: Int32Array;
  readonly #workers: readonly Worker[];

  constructor(threadCount: number) {
    const control = new SharedArrayBuffer(4 * (threadCount + 1));
    this.#control = new Int32Array(control);
    this.#workers = Array.from({ length: threadCount }, (_, index) => {
      const workerData: ThreadOptions = { index, control };
      return new Worker(new URL("threads-worker.js", import.meta.url), { workerData });
    });
  }

  /**
   * Sends a command to all threads, and waits until all have done it. @throws ThreadsFailure where a thread fails or
   * hangs
   */
  async tell(commandOf: (index: number) => ThreadCommand): Promise<ThreadReport[]> {
    const answers = Promise.all(
      this.#workers.map(async (worker, index) => {
        const answer = once(worker, "message");
        worker.postMessage(commandOf(index));
        const [report] = (await answer) as [ThreadReport];
        return report;
      }),
    );
    const reports = await this.#unlessHanging(answers);
    const failures = reports.flatMap(({ failure }, index) =>
      failure === undefined
        ? []
        : `thread ${index}: ${failure.message}\nits last operations:\n  ${failure.lastOperations.join("\n  ")}`,
    );
    if (failures.length > 0) throw new ThreadsFailure(failures.join("\n"));
    return reports;
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map(async (worker) => worker.terminate()));
  }

  async #unlessHanging(answers: Promise<ThreadReport[]>): Promise<ThreadReport[]> {
    let timer: NodeJS.Timeout | undefined;
    const hang = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const done = [...this.#control.subarray(1)].join(", ");
        reject(new ThreadsFailure(`hangs for ${HANG_MS / 1000} s; operations of each thread: ${done}`));
      }, HANG_MS);
    });
    return Promise.race([answers, hang]).finally(() => {
      clearTimeout(timer);
    });
  }
}

/** Options like those of the runs in one thread, but with this machine's memory. */
function planOf(random: Random): { options: JitAllocatorOptions; plan: ThreadPlan } {
  const { options, profile } = planRun(random);
  const isTight = random.chance(0.3);
  // A block that is aligned to a large page has 2 MiB, and there are three pools.
  const least = options.alignBlockSizeToLargePage === true ? 8 : 1;
  return {
    options: { ...options, maxReservedSize: isTight ? least * MiB : 2048 * MiB },
    plan: { profile, isTight },
  };
}

/** Runs one allocator from beginning to end. Returns how often something was refused. */
async function run(team: Team, seed: number, perThread: number): Promise<number> {
  const random = new Random(seed);
  const { options, plan } = planOf(random);
  const ending = random.pick(["release", "release", "soft", "hard"] as const);
  const allocator = new JitAllocator(options);
  try {
    const handle = allocator.share();
    const [claims, mailbox] = [Claims.create(), Mailbox.create()];
    const begin = { what: "begin", handle, plan, claims, mailbox } as const;
    const seeds: number[] = [];
    await team.tell((index) => ({ ...begin, seed: (seeds[index] = random.next()) }));
    let reports: ThreadReport[] = [];
    for (let left = perThread; left > 0; left -= ROUND_OPERATIONS) {
      reports = await team.tell(() => ({ what: "work", operationCount: Math.min(left, ROUND_OPERATIONS) }));
      checkAll(allocator, reports, new Mailbox(mailbox));
    }
    if (ending === "release") {
      await team.tell(() => ({ what: "releaseAll" }));
      for (const { rx, generation } of new Mailbox(mailbox).empty()) {
        allocator.spanOf({ rx, generation }).release();
      }
    } else {
      allocator.reset(ending);
      new Mailbox(mailbox).empty();
      await team.tell(() => ({ what: "forgetAll" }));
    }
    checkAll(allocator, [], new Mailbox(mailbox));
    await team.tell(() => ({ what: "end" }));
    return reports.reduce((sum, { refusalCount }) => sum + refusalCount, 0);
  } catch (error) {
    const shown = `options ${JSON.stringify(options)}, ${JSON.stringify(plan)}`;
    const text = error instanceof ThreadsFailure ? error.message : String((error as Error).stack);
    throw new ThreadsFailure(`${text}\n${shown}`, { cause: error });
  } finally {
    allocator.dispose();
  }
}

/** Checks the allocator when all threads stand still: it must have what they report together, and nothing else. */
function checkAll(allocator: JitAllocator, reports: readonly ThreadReport[], mailbox: Mailbox): void {
  allocator.verify();
  const model = new AllocatorModel(allocator.options, allocator.options.blockSize);
  const onTheWay = mailbox.contents().map(({ rx, sizeBytes, poolGranularity, kind }) => {
    return { rx, size: sizeBytes, poolGranularity, kind: KINDS[kind] ?? "code" };
  });
  for (const place of [...reports.flatMap(({ places }) => places), ...onTheWay]) {
    model.live.push({ ...place, spans: [], contents: new Uint8Array() });
  }
  const blocks = allocator.blocks();
  model.checkStatistics(allocator, blocks);
  model.checkGranules(blocks);
  const counted = allocator.members().reduce((sum, { allocationCount }) => sum + allocationCount, 0);
  assert.equal(counted, model.live.length, "each allocation is a member's");
  // No thread allocates now, so that a released address that is not in use again can be released twice.
  for (const address of new Set(reports.flatMap(({ staleAddresses }) => staleAddresses))) {
    const expected = model.refusal(address, blocks);
    if (expected === undefined) continue;
    throwsJitError(expected, () => allocator.release(address), `release ${address} once more`);
  }
  model.checkStatistics(allocator, allocator.blocks());
}
