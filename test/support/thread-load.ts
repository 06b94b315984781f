/** Workers that put a load on a shared allocator, to be watched, stopped or terminated. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { JitAllocator } from "../../src/index.ts";
import type { LoadOptions, LoadReport } from "../sharing/threads/load-child.ts";
import type { Random } from "./random.ts";

const CHILD = new URL("../sharing/threads/load-child.js", import.meta.url);

/** A millisecond apart, or more: minutes, of which a worker that is only slow takes seconds. */
export const MOST_LOOKS = 100_000;

/** A load of several workers on one allocator. */
export class ThreadLoad {
  readonly #allocator: JitAllocator;
  readonly #random: Random;
  readonly #flags: Int32Array;
  readonly #pauses: boolean;
  readonly #workers: Worker[] = [];
  /** What a worker died of by itself. */
  #failure: unknown;

  constructor(allocator: JitAllocator, random: Random, workerCount: number, pauses = false) {
    this.#allocator = allocator;
    this.#random = random;
    this.#pauses = pauses;
    this.#flags = new Int32Array(new SharedArrayBuffer(4 * (workerCount + 1)));
    for (let index = 0; index < workerCount; index++) this.#workers.push(this.#start(index));
  }

  /** Waits until each worker has done `operations` more, and tells of an error that one has met. */
  async progress(operations: number): Promise<void> {
    const goals = this.#workers.map((_, index) => Atomics.load(this.#flags, index + 1) + operations);
    for (const [index, goal] of goals.entries()) await this.#reach(index, goal);
  }

  /** Ends a worker wherever it is, and starts another in its place. */
  async replace(index: number): Promise<void> {
    const worker = this.#workers[index];
    assert.ok(worker);
    worker.removeAllListeners("error");
    await worker.terminate();
    this.#check();
    this.#workers[index] = this.#start(index);
  }

  /** Waits until one worker has done `operations` more. */
  async progressOf(index: number, operations: number): Promise<void> {
    await this.#reach(index, Atomics.load(this.#flags, index + 1) + operations);
  }

  /** Lets all come to an end. */
  async stop(): Promise<readonly LoadReport[]> {
    const reports = this.#workers.map(async (worker) => {
      const [report] = (await once(worker, "message")) as [LoadReport];
      return report;
    });
    Atomics.store(this.#flags, 0, 1);
    const all = await Promise.all(reports);
    await Promise.all(this.#workers.map(async (worker) => worker.terminate()));
    this.#check();
    return all;
  }

  async #reach(index: number, goal: number): Promise<void> {
    for (let looks = 0; Atomics.load(this.#flags, index + 1) - goal < 0; looks++) {
      this.#check();
      assert.ok(looks < MOST_LOOKS, `worker ${index} does not get on`);
      // The workers count in shared memory, and tell nobody: it would cost them more than what they do.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw new Error("a worker failed", { cause: this.#failure });
  }

  #start(index: number): Worker {
    const workerData: LoadOptions = {
      handle: this.#allocator.share(),
      seed: this.#random.next(),
      batch: 10,
      pauses: this.#pauses,
      control: this.#flags.buffer as SharedArrayBuffer,
      index,
    };
    // No coverage: a worker that is terminated could not write it, and what is measured here is the memory.
    const worker = new Worker(CHILD, { workerData, env: { ...process.env, NODE_V8_COVERAGE: "" } });
    worker.on("error", (error) => (this.#failure = error));
    return worker;
  }
}
