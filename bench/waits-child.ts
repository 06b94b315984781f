/** A worker of `waits.js`: does one operation on a shared allocator, again and again, until it is told to stop. */
import { workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator, type SpanToken } from "../src/index.ts";
import { loops, type LoopName } from "./waits-loops.ts";

/** What the worker gets. */
export interface WaitsData {
  readonly handle: SharedAllocator;
  /** Of the span that is read. */
  readonly token: SpanToken;
  readonly loop: LoopName;
  /** Integers: 1 to stop, and behind it how many operations each worker has done. */
  readonly control: SharedArrayBuffer;
  readonly index: number;
}

const { handle, token, loop, control, index } = workerData as WaitsData;
const allocator = JitAllocator.attach(handle);
const flags = new Int32Array(control);
const operate = loops[loop](allocator, allocator.spanOf(token));
while (Atomics.load(flags, 0) === 0) {
  operate();
  Atomics.add(flags, index + 1, 1);
}
allocator.detach();
