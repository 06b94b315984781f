/** Uses an allocator whose writes are protected by keys, or makes a stray store into its writable view, which must end the process. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { JitAllocator, toFunction, VirtMem, type SharedAllocator } from "../../src/index.ts";
import * as machineCode from "../support/native-code.ts";

const act = isMainThread ? process.argv.slice(2).join(" ") : "work";

if (isMainThread) {
  const allocator = new JitAllocator({ protectWrites: "keys" });
  const span = allocator.alloc(64);
  span.write(0, machineCode.ADD);
  if (act === "use") {
    const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
    assert.equal(add(2, 3), 5);
    span.patch(56, Uint8Array.of(1, 2, 3, 4));
    assert.deepEqual([...span.read(56, 4)], [1, 2, 3, 4]);
  }
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { handle: allocator.share(), rw: span.rw, isStray: act === "store in a worker" },
  });
  if (act === "store in a worker") console.log("ready");
  await once(worker, "message");
  await worker.terminate();
  if (act !== "use") {
    console.log("ready");
    if (act === "store behind a write") span.write(0, Uint8Array.of(1));
    VirtMem.write(span.rw, Uint8Array.of(0xc3));
  }
  console.log("all is well");
} else {
  const { handle, rw, isStray } = workerData as { handle: SharedAllocator; rw: number; isStray: boolean };
  if (isStray) VirtMem.write(rw, Uint8Array.of(0xc3));
  const allocator = JitAllocator.attach(handle);
  const span = allocator.alloc(64);
  span.write(0, machineCode.ADD);
  assert.equal(toFunction(span, { parameters: ["i32", "i32"], result: "i32" })(20, 3), 23);
  parentPort?.postMessage("done");
}
