/** Attaches to an allocator and allocates 80 MiB of it, with an allocator and a buffer of its own beside it. */
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, type SharedAllocator } from "../../../src/index.ts";

const MiB = 2 ** 20;
const own = new JitAllocator();
own.alloc(MiB);
const buffer = new ArrayBuffer(64 * MiB);
const allocator = JitAllocator.attach(workerData as SharedAllocator);
const addresses = Array.from({ length: 80 }, () => allocator.allocAddress(MiB));
parentPort?.postMessage(addresses);
// Until it is terminated: the next threads and buffers find this one's addresses taken.
parentPort?.on("message", () => buffer.byteLength);
