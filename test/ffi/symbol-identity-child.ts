/**
 * Functions that get libraries of absolute symbols, in a process whose random numbers are the same everywhere. Prints what
 * was wrong, nothing if nothing was. `workers`: two threads at once. `one`: one thread, one function after the other.
 * `left`, `left-of-own`: prints how many mappings of this library are left in the end; of functions that share a stub, or
 * have one native function each, as where there can be no stubs.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { systemFfi } from "../../src/ffi/select.ts";
import { JitAllocator, toFunction } from "../../src/index.ts";

/** More calls than any interface waits for before it makes a library. */
const CALLS = 30_000;

/** addsd xmm0, xmm0; ret */
const DOUBLE = Uint8Array.of(0xf2, 0x0f, 0x58, 0xc0, 0xc3);
/** mulsd xmm0, xmm0; ret */
const SQUARE = Uint8Array.of(0xf2, 0x0f, 0x59, 0xc0, 0xc3);

Math.random = () => 0.25;

/** Calls code that makes `wanted` of 3, and says from which call on it made something else. */
function callOften(allocator: JitAllocator, code: Uint8Array, wanted: number): string | undefined {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  const signature = { parameters: ["f64"], result: "f64" } as const;
  const call =
    process.argv[2] === "left-of-own"
      ? systemFfi().callable(span.rx, signature).call
      : toFunction(span, signature);
  for (let count = 1; count <= CALLS; count++) {
    const result = call(3);
    if (result !== wanted) return `call ${count} gave ${String(result)}, not ${wanted}`;
  }
  return undefined;
}

if (!isMainThread) {
  const port = parentPort;
  if (port === null) throw new Error("a worker has a port");
  const isFirst = workerData === 0;
  using allocator = new JitAllocator();
  // All threads begin together.
  port.postMessage("ready");
  await once(port, "message");
  port.postMessage(callOften(allocator, isFirst ? DOUBLE : SQUARE, isFirst ? 6 : 9) ?? "right");
  // The library stays loaded until the other thread has called its own.
  await once(port, "message");
  process.exit();
} else if (process.argv[2] === "workers") {
  const workers = [0, 1].map((index) => new Worker(fileURLToPath(import.meta.url), { workerData: index }));
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const results = Promise.all(workers.map((worker) => once(worker, "message") as Promise<[string]>));
  for (const worker of workers) worker.postMessage("go");
  for (const [result] of await results) if (result !== "right") console.log(result);
  for (const worker of workers) worker.postMessage("end");
} else if (process.argv[2]?.startsWith("left") === true) {
  // Two allocators, whose functions may be in one library: it goes with the last of them.
  const allocators = [new JitAllocator(), new JitAllocator()];
  for (const allocator of allocators) console.log(callOften(allocator, DOUBLE, 6) ?? "right");
  for (const allocator of allocators) allocator.dispose();
  const maps = readFileSync("/proc/self/maps", "utf8");
  console.log(
    maps.split("\n").filter((line) => line.includes("jit-allocator") && !line.includes(" ---s ")).length,
  );
} else {
  using allocator = new JitAllocator({ fillUnusedMemory: true });
  const first = callOften(allocator, DOUBLE, 6);
  const kept = allocator.alloc(64);
  const second = callOften(allocator, SQUARE, 9);
  kept.release();
  for (const result of [first, second, callOften(allocator, DOUBLE, 6)]) {
    if (result !== undefined) console.log(result);
  }
}
