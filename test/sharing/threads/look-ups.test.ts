/**
 * A worker may be terminated at any moment once it has attached. Node ends the whole process where that happens while koffi
 * looks up a function; so no operation does.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { JitAllocator } from "../../../src/index.ts";
import { needs } from "../../support/requirements.ts";

test(
  "operations of a thread look up no function once it has attached",
  { skip: needs("koffi") },
  async () => {
    using allocator = new JitAllocator();
    const handle = allocator.share();
    allocator.enter(); // a thread that may be running code makes the others look before they free
    allocator.leave();
    const worker = new Worker(new URL("look-ups-child.js", import.meta.url), {
      workerData: handle,
    });
    const [{ atFirst, later }] = (await once(worker, "message")) as [{ atFirst: number; later: string[] }];
    assert.ok(atFirst > 5, `only ${atFirst} functions were looked up`);
    assert.deepEqual(later, []);
  },
);
