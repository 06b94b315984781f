/** Programs started with flags of the runtime that keep something from them. */
import { spawnSync } from "node:child_process";
import { platform } from "../../src/base/platform.ts";

/** What a program that has ended left. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The flag that switches Node's permissions on. */
export const NODE_PERMISSION_FLAG =
  Number(process.versions.node.split(".")[0]) < 22 ? "--experimental-permission" : "--permission";

/** The words that start a program of JavaScript which may do everything. */
export function startOf(program: string): readonly string[] {
  return platform.runtime === "deno" ? ["run", "--allow-all", "--no-check", program] : [program];
}

/** Runs this runtime with these arguments to its end. */
export function runWithFlags(args: readonly string[], variables: NodeJS.ProcessEnv = {}): Ended {
  // NODE_V8_COVERAGE: empty, not absent, since what is absent is inherited.
  const env = { ...process.env, NODE_V8_COVERAGE: "", ...variables };
  const { status, stdout, stderr } =
    platform.runtime === "deno"
      ? // Out of a variable of the shell, because Deno gives its own permissions to what looks like Deno to it.
        spawnSync("sh", ["-c", 'eval "exec $COMMAND"'], {
          encoding: "utf8",
          env: { ...env, COMMAND: [process.execPath, ...args].map((word) => `'${word}'`).join(" ") },
        })
      : spawnSync(process.execPath, args, { encoding: "utf8", env });
  return { status, stdout, stderr };
}
