/** Programs started with flags of the runtime that keep something from them. */
import { platform } from "../../src/base/platform.ts";
import { runToEnd } from "./ended.ts";
import type { Ended } from "./ended.ts";

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
  if (platform.runtime !== "deno") return runToEnd(process.execPath, args, { env });
  // Out of a variable of the shell, because Deno gives its own permissions to what looks like Deno to it.
  return runToEnd("sh", ["-c", 'eval "exec $COMMAND"'], {
    env: { ...env, COMMAND: [process.execPath, ...args].map((word) => `'${word}'`).join(" ") },
  });
}
