/** Attaches to a sealed allocator, maps a block of it, and sends the address of what it allocates there. */
import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "../../src/index.ts";

const allocator = JitAllocator.attach(workerData as SharedAllocator);
assert.ok(allocator.hasOption("sealed"));
const span = allocator.alloc(500_000);
span.write(0, Uint8Array.of(1, 2, 3));
parentPort?.postMessage(span.rx);
