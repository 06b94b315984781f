/**
 * Code that one thread publishes and another runs, which may have run what was there before. The thread that runs it
 * does nothing else through its foreign function interface: that must be enough.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { systemFfi } from "../../src/ffi/select.ts";
import { RUNS_HERE } from "../support/native-code.ts";

const ROUNDS = 200;

test("a thread runs what another has just written, each time anew", { skip: !RUNS_HERE }, async () => {
  const publisher = new Worker(new URL("published-code-child.js", import.meta.url));
  try {
    for (let value = 0; value < ROUNDS; value++) {
      publisher.postMessage(value);
      const [address] = (await once(publisher, "message")) as [number];
      const { call } = systemFfi().callable(address, { parameters: [], result: "i32" });
      assert.equal(call(), value);
    }
  } finally {
    await publisher.terminate();
  }
});
