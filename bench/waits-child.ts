/** A worker of `waits.js`: does one operation on a shared allocator, again and again, until it is told to stop. */
import { workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator, type SpanToken } from "../src/index.ts";
import { loops, type LoopName } from "./waits-loops.ts";

/** What the worker gets. */
export interface WaitsData {
  readonly handle: SharedAllocator;
  /** The token of the span that is read. */
  readonly token: SpanToken;
  readonly loop: LoopName;
  /**
   * Integers. The first: 1 = stop. Then the number of operations that each worker has done. Then the longest operation of
   * each, in microseconds.
   */
  readonly control: SharedArrayBuffer;
  readonly index: number;
  readonly threads: number;
}

const { handle, token, loop, control, index, threads } = workerData as WaitsData;
const allocator = JitAllocator.attach(handle);
const flags = new Int32Array(control);
const longest = 1 + threads + index;
const operate = loops[loop](allocator, allocator.spanOf(token));
while (Atomics.load(flags, 0) === 0) {
  const start = performance.now();
  operate();
  const microseconds = Math.round((performance.now() - start) * 1000);
  Atomics.add(flags, 1 + index, 1);
  if (microseconds > Atomics.load(flags, longest)) Atomics.store(flags, longest, microseconds);
}
allocator.detach();
