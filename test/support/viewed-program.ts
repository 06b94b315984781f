/** A program that is looked into: started, and ended with the test. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const child = fileURLToPath(new URL("../insight/viewed-child.js", import.meta.url));

/** A program that listens at some paths. */
export interface ViewedProgram {
  readonly pid: number;
  readonly process: ChildProcess;
  /** What it has said on stderr. */
  said(): string;
  /** Ends it as a program ends by itself. */
  end(): Promise<void>;
  kill(): Promise<void>;
}

/** Starts one, and waits until it listens at all of these paths. */
export async function startViewed(
  how: string,
  variable: string,
  paths: readonly string[],
): Promise<ViewedProgram> {
  const running = spawn(process.execPath, [child, how], {
    env: { ...process.env, JIT_ALLOCATOR_VIEW: variable, VIEWED: paths.join(",") },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  running.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  await once(running.stdout, "data");
  const exited = once(running, "exit");
  return {
    pid: running.pid ?? 0,
    process: running,
    said: () => said,
    async end() {
      running.stdin.end();
      await exited;
    },
    async kill() {
      running.kill("SIGKILL");
      await exited;
    },
  };
}
