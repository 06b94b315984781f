/** Builds the C++ side of the benchmark. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, repositoryPath } from "./paths.ts";

/** The driver, ready to run. */
export interface AsmjitDriver {
  readonly path: string;
  /** asmjit's version, from its headers. */
  readonly version: string;
  /** The first line of `g++ --version`. */
  readonly compiler: string;
}

/** The message where the C++ side cannot be built. */
export const howToGetAsmjit =
  "asmjit is not here, so this project runs alone. To compare: apt-get install g++ libasmjit-dev";

/**
 * Compiles the driver against the system's asmjit.
 * @returns undefined where the compiler or the library is missing; `explain` gets the compiler's message.
 */
export function buildAsmjitDriver(explain: (text: string) => void): AsmjitDriver | undefined {
  mkdirSync(cacheFolder, { recursive: true });
  const path = join(cacheFolder, "asmjit-driver");
  const source = repositoryPath("bench/asmjit/driver.cpp");
  try {
    const compiler = run("g++", ["--version"]).split("\n")[0] ?? "g++";
    run("g++", ["-O2", "-std=c++17", "-pthread", "-o", path, source, "-lasmjit"]);
    return { path, version: run(path, ["--version"]).trim(), compiler };
  } catch (error) {
    explain(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
