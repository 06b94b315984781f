/**
 * `npm run test:runtimes [-- WORD…]`: what depends on the runtime, on every runtime; or on those whose names contain
 * one of the words (`bun`, `node 26`).
 */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fetchRuntime, runtimesNamed } from "./fetch.ts";

/** The tests that make native calls, and those of what programs see of them. The others run the same everywhere. */
const AREAS = [
  "ffi/",
  "function/",
  "vm/linux-real",
  "vm/virt-mem",
  "worker/",
  "threads/",
  "semantics/",
  "runtime/",
  "process/",
  "unit/",
  "cli/demo",
  "cli/doctor",
  "cli/main",
];

const failed: string[] = [];
for (const runtime of runtimesNamed(process.argv.slice(2))) {
  const program = fetchRuntime(runtime);
  console.log(`\n# ${runtime.name}`);
  const script = path.join(import.meta.dirname, "../run.js");
  const { status } = spawnSync(program, [...runtime.flags, script, ...AREAS], { stdio: "inherit" });
  if (status !== 0) failed.push(runtime.name);
}
if (failed.length > 0) {
  console.error(`\nFailed on ${failed.join(", ")}`);
  process.exitCode = 1;
}
