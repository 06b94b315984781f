/** A worker that makes and releases callbacks of many signatures, and says how many more koffi could make before it ends. */
import { parentPort, workerData } from "node:worker_threads";
import { toPointer } from "../../src/index.ts";

const count = workerData as number;
for (let index = 0; index < count; index++) {
  const parameters = Array.from({ length: 6 }, (_, bit) => (((index >> bit) & 1) === 0 ? "i32" : "f64"));
  toPointer(() => undefined, { parameters, result: "void" } as const).release();
}
parentPort?.postMessage(count);
