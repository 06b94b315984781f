/** A thread that writes, at each request, a function that returns the number it was sent, always to the same place. */
import assert from "node:assert/strict";
import { parentPort } from "node:worker_threads";
import { JitAllocator } from "../../src/index.ts";
import { returnConstant } from "../support/native-code.ts";

const allocator = new JitAllocator();
const span = allocator.alloc(64);

assert.ok(parentPort !== null);
const port = parentPort;
port.on("message", (value: number) => {
  span.write(0, returnConstant(value));
  port.postMessage(span.rx);
});
