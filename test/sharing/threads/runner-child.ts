/** A thread that runs whatever code is published, as fast as it can, until it is told to end. */
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, JitError, toFunction, type SharedAllocator } from "../../../src/index.ts";
import { Board } from "../../support/board.ts";

const { handle, buffer, seed } = workerData as {
  handle: SharedAllocator;
  buffer: SharedArrayBuffer;
  seed: number;
};
const board = new Board(buffer);
const allocator = JitAllocator.attach(handle);
const functions = new Map<number, { readonly call: (turns: number) => number; readonly value: number }>();
let calls = 0;
let ended = 0;
for (let at = seed; !board.isOver; at = (at + 7) % board.size) {
  try {
    let known = functions.get(at);
    if (known === undefined) {
      const { token, value } = board.read(at);
      if (token === undefined) continue;
      const span = allocator.spanOf(token);
      known = { call: toFunction(span, { parameters: ["i32"], result: "i32" }), value };
      functions.set(at, known);
    }
    const result = known.call(200);
    if (result !== known.value) throw new Error(`code gave ${result} in place of ${known.value}`);
    calls += 1;
  } catch (error) {
    if (!(error instanceof JitError) || error.code !== "ERR_RELEASED") throw error;
    functions.delete(at);
    ended += 1;
  }
}
allocator.detach();
parentPort?.postMessage({ calls, ended });
