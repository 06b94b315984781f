/** Makes names that are unique in this process. */
import { threadId } from "node:worker_threads";

export { isMainThread } from "node:worker_threads";

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
  // Runtimes number the threads of a process from 0 and give no number twice. The time tells realms of one thread apart.
  const microseconds = Math.floor((performance.timeOrigin + performance.now()) * 1000) % 1e9;
  return `${threadId}x${count}x${microseconds}`;
}
