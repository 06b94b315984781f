import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The program `jit-allocator`. */
export const mainPath = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

/** What a finished command line left. */
export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `jit-allocator` with these arguments to its end, in a process of its own. */
export function runCli(args: readonly string[], input: string | Uint8Array = ""): CliResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [mainPath, ...args], {
    input,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

/** Starts it, for tests that do something to it while it runs. */
export function startCli(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [mainPath, ...args], { stdio: ["ignore", "pipe", "pipe"] });
}

/**
 * Runs it in a shell, which sets up what only a shell can (`$CLI` is the command): limits under which the runtime
 * could not write its coverage either, and would say so, so that it is told to collect none.
 */
export function runCliInShell(script: string): CliResult {
  // Empty, not absent: what is absent is inherited.
  const environment = { ...process.env, CLI: `"${process.execPath}" "${mainPath}"`, NODE_V8_COVERAGE: "" };
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
    env: environment,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}
