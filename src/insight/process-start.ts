/**
 * Tells processes apart that have the same number, one after the other: the number is used again, and in a container it is
 * the same in each run.
 */
import { builtin } from "../base/builtins.ts";
import { isGranted, platform } from "../base/platform.ts";

/** Of a process, in traces. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, as Linux counts it; undefined where that cannot be told. */
  readonly start: string | undefined;
}

let own: ProcessIdentity | undefined;

/** This process. */
export function ownProcess(): ProcessIdentity {
  if (own !== undefined) return own;
  const { pid } = process;
  const [number, start] = statOf("self");
  // Where /proc is that of another namespace, it has other numbers: nobody's start can be told.
  return (own = { pid, start: number === String(pid) ? start : undefined });
}

/** Whether it is this process. */
export function isOwn({ pid, start }: ProcessIdentity): boolean {
  const { pid: ownPid, start: ownStart } = ownProcess();
  return pid === ownPid && (start === undefined || ownStart === undefined || start === ownStart);
}

/** Whether a process is running. */
export function isRunning(other: ProcessIdentity): boolean {
  const { pid, start } = ownProcess();
  if (other.pid === pid) return isOwn(other);
  if (start !== undefined && other.start !== undefined) {
    const [, found] = statOf(String(other.pid));
    if (found !== undefined) return found === other.start;
  }
  try {
    process.kill(other.pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The number of a process and its start, which is the 22nd field; the second one is a name that may have spaces in it. */
function statOf(name: string): readonly [pid?: string | undefined, start?: string | undefined] {
  const path = `/proc/${name}/stat`;
  if (platform.system !== "linux" || !isGranted({ name: "read", path })) return [];
  try {
    const text = builtin("node:fs").readFileSync(path, "utf8");
    return [text.split(" ", 1)[0], text.slice(text.lastIndexOf(")") + 2).split(" ")[19]];
  } catch {
    return [];
  }
}
