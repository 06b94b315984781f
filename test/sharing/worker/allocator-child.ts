/** A thread with an allocator of its own: makes functions, calls them often enough that they get fast, and reports. */
import { parentPort } from "node:worker_threads";
import { JitAllocator, toFunction } from "../../../src/index.ts";
import { ADD } from "../../support/native-code.ts";

using allocator = new JitAllocator();
const span = allocator.alloc(ADD.length);
span.write(0, ADD);
const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
let sum = 0;
for (let count = 0; count < 1000; count++) sum = add(sum, count);
span.release();
let afterRelease = "nothing";
try {
  add(1, 2);
} catch (error) {
  afterRelease = String((error as { code?: unknown }).code);
}
parentPort?.postMessage({ sum, afterRelease, allocationCount: allocator.statistics().allocationCount });
