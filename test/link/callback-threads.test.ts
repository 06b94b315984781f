/** Callbacks of threads that have ended. A process of its own: it counts what koffi has left. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { toPointer } from "../../src/index.ts";
import { needs } from "../support/requirements.ts";

/** Signatures of a worker, and workers: with the 16 callbacks made ahead of each signature, more than koffi's 8,192. */
const SIGNATURES = 50;
const WORKERS = 12;

test(
  "workers that end give the callbacks that they have released back to the process",
  { skip: needs("koffi") },
  async () => {
    // While nobody else has loaded koffi, it would be unloaded with each worker, and with it what it has counted.
    using callback = toPointer(() => undefined, { parameters: [], result: "void" });
    assert.ok(callback.address > 0);
    for (let index = 0; index < WORKERS; index++) {
      const worker = new Worker(new URL("callback-child.js", import.meta.url), { workerData: SIGNATURES });
      const [[count], [code]] = (await Promise.all([once(worker, "message"), once(worker, "exit")])) as [
        [number],
        [number],
      ];
      assert.deepEqual([count, code], [SIGNATURES, 0]);
    }
  },
);
