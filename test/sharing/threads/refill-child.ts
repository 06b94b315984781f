/** A thread that releases code that others run, fills what it gets next with traps, and publishes new code. */
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator, type Span } from "../../../src/index.ts";
import { Board } from "../../support/board.ts";
import { spinThenReturn } from "../../support/machine-code.ts";

const { handle, buffer, seed } = workerData as {
  handle: SharedAllocator;
  buffer: SharedArrayBuffer;
  seed: number;
};
const board = new Board(buffer);
const allocator = JitAllocator.attach(handle);
const spans = new Map<number, Span>();
/** `int3`: whoever runs it ends the process. */
const TRAPS = new Uint8Array(256).fill(0xcc);
let count = 0;
// The places of the board are divided among those who publish.
for (let at = seed; !board.isOver; at = at + 2 >= board.size ? seed : at + 2) {
  count += 1;
  spans.get(at)?.release();
  // What was released, where it is free, gets traps, and is then code again, or released.
  const taken = [64, 128, 256].map((size) => allocator.alloc(size));
  for (const span of taken) span.write(0, TRAPS.subarray(0, span.size));
  const span = taken[count % 3];
  if (span === undefined) continue;
  span.write(0, spinThenReturn(count));
  for (const other of taken) if (other !== span) other.release();
  spans.set(at, span);
  board.publish(at, span.token, count);
}
allocator.detach();
parentPort?.postMessage({ count });
