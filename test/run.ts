/**
 * Runs the compiled tests: `node dist/test/run.js [part of a path …]`, all of them without arguments; `!part` leaves out.
 * `node --test FOLDER` means different things to Node 20 and 22 and takes helpers for tests, and the shells of
 * npm scripts have no `**`, so the files are found here.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { platform, type RuntimeName } from "../src/base/platform.ts";
import { Watch } from "./support/maps-watcher.ts";
import { SHOWS_MAPPINGS } from "./support/process-state.ts";

const words = process.argv.slice(2);
const unwanted = words.filter((word) => word.startsWith("!")).map((word) => word.slice(1));
const wanted = words.filter((word) => !word.startsWith("!"));
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => {
    const portable = file.replaceAll(path.sep, "/");
    const has = (part: string): boolean => portable.includes(part);
    return (wanted.length === 0 || wanted.some(has)) && !unwanted.some(has);
  })
  .sort()
  .map((file) => path.join(import.meta.dirname, file));

if (files.length === 0) {
  console.error(
    `No test file ${words.length === 0 ? "found" : `contains ${wanted.join(" or ")} in its path`}`,
  );
  process.exit(1);
}

/** Test files that run side by side: what the smallest machines of a CI have. */
const FILES_AT_A_TIME = 2;

/** The command lines that run the files by each runtime's own runner; all of them know node:test. */
const runners: Readonly<Record<RuntimeName, (files: readonly string[]) => readonly (readonly string[])[]>> = {
  node: (all) => [
    [
      "--test",
      `--test-concurrency=${FILES_AT_A_TIME}`,
      // The same text on every version of Node, terminal or not; it closes with the summary.
      "--test-reporter=spec",
      // A test that hangs must end with its name, not with the job; no honest test takes ten minutes.
      "--test-timeout=600000",
      ...all,
    ],
  ],
  // One process a file, as Node does it: tests look at what their process has mapped.
  bun: (all) => all.map((file) => ["test", "--timeout=600000", "--only-failures", file]),
  deno: (all) => all.map((file) => ["test", "--allow-all", "--no-check", file]),
};

/** Runs a command line of this runtime, and prints what it said: at once where it is the only one, else when it is over. */
async function run(args: readonly string[], isOnly: boolean): Promise<void> {
  const child = spawn(process.execPath, args, { stdio: isOnly ? "inherit" : "pipe" });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => said.push(chunk));
  const [status] = (await once(child, "close")) as [number | null];
  process.stdout.write(Buffer.concat(said));
  if (status !== 0) process.exitCode = status ?? 1;
}

const watch = new Int32Array(new SharedArrayBuffer(4 * Watch.integers));
// Only Linux shows the mappings of other processes. One runtime is enough: what is mapped is the same on all.
const watcher =
  platform.runtime === "node" && SHOWS_MAPPINGS
    ? new Worker(new URL("support/maps-watcher.js", import.meta.url), { workerData: watch.buffer })
    : undefined;
if (watcher !== undefined) await once(watcher, "message");

const waiting = [...runners[platform.runtime](files)];
const isOnly = waiting.length === 1;
async function runSome(): Promise<void> {
  for (let args = waiting.shift(); args !== undefined; args = waiting.shift()) await run(args, isOnly);
}
await Promise.all(Array.from({ length: FILES_AT_A_TIME }, runSome));

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
