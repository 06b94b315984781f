/** Makes names that are unique in this process. */
import { builtin } from "./builtins.ts";
import { platform } from "./platform.ts";

/** The key of a counter that all copies of this library in one thread share. */
const COUNTER = Symbol.for("jit-allocator.names");

/**
 * Returns a new name at each call: digits and `x`, at most 32. It is unique over all threads, also where several copies of
 * this library are loaded. It uses no random numbers, since a program may have replaced `Math.random`.
 */
export function uniqueName(): string {
  const shared = globalThis as { [COUNTER]?: number };
  const count = (shared[COUNTER] ?? 0) + 1;
  shared[COUNTER] = count;
  // The time tells realms of one thread apart, and threads that had the same number one after the other. The system's clock
  // is asked: Node loads `performance` when it is first used, which takes a millisecond of the start of a program.
  const microseconds = Number(process.hrtime.bigint() / 1000n) % 1e10;
  return `${threadNumber()}x${count}x${microseconds}`;
}

let ownNumber: string | undefined;

/** The number of this thread; with an `x` before it where it is the system's. */
function threadNumber(): string {
  if (ownNumber !== undefined) return ownNumber;
  const [, thread] = systemNumbers();
  return (ownNumber = thread === undefined ? String(builtin("node:worker_threads").threadId) : `x${thread}`);
}

/**
 * The system's numbers of the process and of this thread. In Node on Linux, where asking `node:worker_threads` instead takes a
 * millisecond of the start of a program; elsewhere none, and where there is no /proc, or it is not for this program to read.
 */
function systemNumbers(): readonly string[] {
  if (platform.runtime !== "node" || platform.system !== "linux") return [];
  try {
    return builtin("node:fs").readlinkSync("/proc/thread-self").split("/task/"); // "4711/task/4712"
  } catch {
    return [];
  }
}

/** Whether this is the thread that the process began with, and no worker. */
export function isMainThread(): boolean {
  const [ofProcess, ofThread] = systemNumbers();
  // Only the first thread has the number of the process.
  return (ofThread !== undefined && ofThread === ofProcess) || builtin("node:worker_threads").isMainThread;
}
