/**
 * A thread that reads the maps of this process's descendants while the tests run: memory of this library that is named
 * (all that is mapped twice is) must never be writable and executable at once, at whatever moment it is looked at.
 * V8's own code has no name, and neither has memory that a test asked to be both, or its name says so (`-rwx`).
 */
import { readFileSync, readdirSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

/** Integers of the buffer that both threads see: 1 = stop; then what was seen. */
export const Watch = { stop: 0, mappings: 1, guilty: 2, integers: 3 } as const;
/** As often as costs little: reading the maps of a dozen processes takes some milliseconds. */
const PAUSE_MS = 25;

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // the process has ended
  }
}

function childrenOf(pid: number): number[] {
  let tasks: string[];
  try {
    tasks = readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
  const children = tasks.flatMap((task) =>
    readOrEmpty(`/proc/${pid}/task/${task}/children`).split(" ").filter(Boolean).map(Number),
  );
  return [...children, ...children.flatMap(childrenOf)];
}

if (workerData instanceof SharedArrayBuffer) {
  const seen = new Int32Array(workerData);
  parentPort?.postMessage("ready");
  while (Atomics.wait(seen, Watch.stop, 0, PAUSE_MS) === "timed-out") {
    for (const pid of childrenOf(process.pid)) {
      for (const line of readOrEmpty(`/proc/${pid}/maps`).split("\n")) {
        if (!line.includes("jit-allocator") || line.includes("node_modules")) continue;
        if (!/memfd:jit-allocator|\/jit-allocator-\d+-/.test(line)) continue;
        Atomics.add(seen, Watch.mappings, 1);
        if (/^\S+ .wx/.test(line) && !/-rwx(?: \(deleted\))?$/.test(line)) Atomics.add(seen, Watch.guilty, 1);
      }
    }
  }
}
