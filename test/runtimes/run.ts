/**
 * `npm run test:runtimes [-- WORD…]`: what depends on the runtime, on every runtime; or on those whose names contain
 * one of the words (`bun`, `node 26`). With `--others`, not on this version of Node, which the gate runs on.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fetchRuntime, runtimesAndMusl, runtimesNamed } from "./fetch.ts";

/**
 * The tests that make native calls, and those of what programs see of them. The others run the same everywhere; so do
 * those of the threads that stop a thread at each write or write over what threads share, and the semantics once more
 * without views of memory, which take minutes.
 */
const AREAS = [
  "ffi/",
  "!ffi/no-views",
  "function/",
  "link/",
  "vm/linux-real",
  "vm/range-real",
  "security/sealed",
  "api/virt-mem",
  "worker/",
  "threads/threads",
  "threads/identity",
  "semantics/",
  "runtime/",
  "process/",
  "unit/",
  "examples/object-file",
  "examples/query",
  "insight/inspection",
  "insight/diagnostics",
  "insight/recording",
  "insight/view-server",
  "cli/demo",
  "cli/doctor",
  "cli/main",
  "cli/view",
  "view/serve",
];

/** A third and a fifth of what the gate does on its runtime; `npm run test:threads` ends thousands of threads on any. */
const SHORTER = { THREAD_KILLS: "20", UNIT_ADDRESSES: "20000" };

const args = process.argv.slice(2);
const words = args.filter((word) => word !== "--others");
const thisOne = `node ${process.versions.node.split(".", 1)[0] ?? ""}.`;
const runtimes = runtimesNamed(words, runtimesAndMusl()).filter(
  ({ name }) => !args.includes("--others") || !name.startsWith(thisOne),
);

/** The name of each and how it went. */
const verdicts: (readonly [name: string, verdict: string])[] = [];
for (const runtime of runtimes) {
  console.log(`\n# ${runtime.name}`);
  let program: string;
  try {
    program = fetchRuntime(runtime);
  } catch (error) {
    // Who is not root and has no musl cannot be blamed for it, unless that is what was asked for.
    const isExcused = runtime.isForMusl === true && words.length === 0 && process.getuid?.() !== 0;
    verdicts.push([
      runtime.name,
      `${isExcused ? "left out" : "FAILED"}: ${error instanceof Error ? error.message : String(error)}`,
    ]);
    if (!isExcused) process.exitCode = 1;
    continue;
  }
  const script = path.join(import.meta.dirname, "../run.js");
  const { status } = spawnSync(program, [...runtime.flags, script, ...AREAS], {
    stdio: "inherit",
    env: { ...SHORTER, ...process.env },
  });
  verdicts.push([runtime.name, status === 0 ? "passed" : "FAILED"]);
  if (status !== 0) process.exitCode = 1;
}
console.log(`\n${verdicts.map(([name, verdict]) => `${name.padEnd(18)}${verdict}`).join("\n")}`);
