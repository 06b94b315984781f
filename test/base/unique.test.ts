import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { uniqueName } from "../../src/base/unique.ts";

/** Without the time, which no two of them need to differ in. */
function withoutTime(name: string): string {
  return name.slice(0, name.lastIndexOf("x"));
}

test("no two names are the same, in whichever threads, whatever the clock says", async () => {
  const module = new URL("../../src/base/unique.js", import.meta.url).href;
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData).then(({ uniqueName }) => {
      parentPort.postMessage(Array.from({ length: 100 }, uniqueName));
    });`;
  const workers = [0, 1].map(() => new Worker(program, { eval: true, workerData: module }));
  const theirs = await Promise.all(workers.map((worker) => once(worker, "message") as Promise<[string[]]>));
  // Another copy of the module in this thread, as two packages may bring it.
  const { uniqueName: other } = (await import(`${module}?copy`)) as { uniqueName: () => string };
  const names = [
    ...Array.from({ length: 100 }, () => uniqueName()),
    ...Array.from({ length: 100 }, () => other()),
    ...theirs.flatMap(([each]) => each),
  ];
  assert.equal(new Set(names.map(withoutTime)).size, 400);
  for (const name of names) assert.match(name, /^[0-9x]{5,32}$/);
});
