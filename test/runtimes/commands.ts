/** Other programs, run for what they do. */
import { spawnSync } from "node:child_process";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../../..");

/** Runs a program to its end. @throws Error with what it wrote if it fails, or is not there */
export function mustRun(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stderr}`);
}

/** Whether a program can be started. */
export function isRunnable(command: string): boolean {
  return spawnSync(command, ["--version"]).status === 0;
}

/** Installs Debian's packages. @throws Error where that cannot be done here; it says what to do */
export function installDebianPackages(packages: readonly string[]): void {
  mustRun(process.execPath, [path.join(root, "scripts/debian.js"), ...packages]);
}
