/**
 * Runs the compiled tests: `node dist/test/run.js [part of a path …]`, all of them without arguments.
 * `node --test FOLDER` means different things to Node 20 and 22 and takes helpers for tests, and the shells of
 * npm scripts have no `**`, so the files are found here.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { platform, type RuntimeName } from "../src/platform.ts";

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

for (const args of runners[platform.runtime](files)) {
  const run = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (run.error !== undefined) throw run.error;
  if (run.status !== 0) process.exitCode = run.status ?? 1;
}
