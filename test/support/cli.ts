import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runToEnd } from "./ended.ts";
import type { Ended } from "./ended.ts";

/** The program `jit-allocator`. */
export const mainPath = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

/** Runs `jit-allocator` with these arguments to its end, in a process of its own. */
export function runCli(args: readonly string[], input: string | Uint8Array = ""): Ended {
  return runToEnd(process.execPath, [mainPath, ...args], { input });
}

/** Runs it with variables of the environment. */
export function runCliInEnvironment(
  args: readonly string[],
  variables: Readonly<Record<string, string>>,
): Ended {
  return runToEnd(process.execPath, [mainPath, ...args], { env: { ...process.env, ...variables } });
}

/** Starts it, for tests that do something to it while it runs. */
export function startCli(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [mainPath, ...args], { stdio: ["ignore", "pipe", "pipe"] });
}

/**
 * Runs it in a shell, which sets up what only a shell can (`$CLI` is the command): limits under which the runtime
 * could not write its coverage either, and would say so, so that it is told to collect none.
 */
export function runCliInShell(script: string): Ended {
  // Empty, not absent: what is absent is inherited.
  const environment = { ...process.env, CLI: `"${process.execPath}" "${mainPath}"`, NODE_V8_COVERAGE: "" };
  return runToEnd("bash", ["-c", script], { env: environment });
}
