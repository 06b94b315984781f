/** Names that nothing else in this process has. */
import { threadId } from "node:worker_threads";

/** Where copies of this library in one thread count together. */
const COUNTER = Symbol.for("jit-allocator.names");

/**
 * Digits and `x`, at most 32: another text at each call, in whichever thread, also where several copies of this library are
 * loaded. No chance is in it, since a program may have put something else in the place of `Math.random`.
 */
export function uniqueName(): string {
  const shared = globalThis as { [COUNTER]?: number };
  const count = (shared[COUNTER] ?? 0) + 1;
  shared[COUNTER] = count;
  // Runtimes number the threads of a process from 0 and give no number twice. The time tells realms of one thread apart.
  const microseconds = Math.floor((performance.timeOrigin + performance.now()) * 1000) % 1e9;
  return `${threadId}x${count}x${microseconds}`;
}
