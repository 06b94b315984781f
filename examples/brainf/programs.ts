import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

/** The folder of the programs that ship: beside the sources, wherever this file was compiled to. */
export const programsFolder: string = join(
  dirname(createRequire(import.meta.url).resolve("jit-allocator/package.json")),
  "examples",
  "brainf",
  "programs",
);

/** The program that runs unless another is asked for: seconds of work for an interpreter. */
export const heavyProgram = "mandelbrot";

/** The names of the programs that ship, without `.bf`. */
export function shippedPrograms(): string[] {
  return readdirSync(programsFolder)
    .filter((file) => file.endsWith(".bf"))
    .map((file) => basename(file, ".bf"))
    .sort();
}

/** The path of a program that ships. */
export function shippedProgramPath(name: string): string {
  return join(programsFolder, `${name}.bf`);
}
