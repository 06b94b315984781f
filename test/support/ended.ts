/** Programs that tests run to their end. */
import { spawnSync } from "node:child_process";

/** What a program that has ended left. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How often a program is started where the system fails to: Wine does now and then, in a few of thousands of starts. */
const STARTS = process.platform === "win32" ? 3 : 1;

/** Runs a program to its end. @throws the system's error where it did not start */
export function runToEnd(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string | Uint8Array } = {},
): Ended {
  for (let start = 1; ; start++) {
    const { error, pid, status, stdout, stderr } = spawnSync(command, args, { ...options, encoding: "utf8" });
    // With an error and a process it did start: a pipe broke, say, since it read no input.
    if (error === undefined || pid !== 0) return { status, stdout, stderr };
    if (start === STARTS) throw error;
  }
}
