/**
 * Runs the compiled tests: `node dist/test/run.js [part of a path …]`, all of them without arguments.
 * `node --test FOLDER` means different things to Node 20 and 22 and takes helpers for tests, and the shells of
 * npm scripts have no `**`, so the files are found here.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { platform, type RuntimeName } from "../src/base/platform.ts";
import { Watch } from "./support/maps-watcher.ts";
import { SHOWS_MAPPINGS } from "./support/process-state.ts";

const wanted = process.argv.slice(2);
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => {
    const portable = file.replaceAll(path.sep, "/");
    return wanted.length === 0 || wanted.some((part) => portable.includes(part));
  })
  .sort()
  .map((file) => path.join(import.meta.dirname, file));

if (files.length === 0) {
  console.error(
    `No test file ${wanted.length === 0 ? "found" : `contains ${wanted.join(" or ")} in its path`}`,
  );
  process.exit(1);
}

/** The command lines that run the files by each runtime's own runner; all of them know node:test. */
const runners: Readonly<Record<RuntimeName, (files: readonly string[]) => readonly (readonly string[])[]>> = {
  node: (all) => [
    [
      "--test",
      // Two files at a time: what the smallest machines of a CI have.
      "--test-concurrency=2",
      // The same text on every version of Node, terminal or not; it closes with the summary.
      "--test-reporter=spec",
      // A test that hangs must end with its name, not with the job; no honest test takes ten minutes.
      "--test-timeout=600000",
      ...all,
    ],
  ],
  // One process a file, as Node does it: tests look at what their process has mapped.
  bun: (all) => all.map((file) => ["test", "--timeout=600000", "--only-failures", file]),
  deno: (all) => [["test", "--allow-all", "--no-check", ...all]],
};

const watch = new Int32Array(new SharedArrayBuffer(4 * Watch.integers));
// Only Linux shows the mappings of other processes. One runtime is enough: what is mapped is the same on all.
const watcher =
  platform.runtime === "node" && SHOWS_MAPPINGS
    ? new Worker(new URL("support/maps-watcher.js", import.meta.url), { workerData: watch.buffer })
    : undefined;
if (watcher !== undefined) await once(watcher, "message");

for (const args of runners[platform.runtime](files)) {
  const run = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (run.error !== undefined) throw run.error;
  if (run.status !== 0) process.exitCode = run.status ?? 1;
}

if (watcher !== undefined) {
  Atomics.store(watch, Watch.stop, 1);
  Atomics.notify(watch, Watch.stop);
  await once(watcher, "exit");
  const [guilty = 0, mappings = 0] = [watch[Watch.guilty], watch[Watch.mappings]];
  console.log(
    `watched while the tests ran: ${mappings} times a mapping of this library, ${guilty} times one writable and executable`,
  );
  if (guilty > 0) process.exitCode = 1;
}
