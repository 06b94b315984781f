import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The program that runs unless another is asked for: seconds of work for an interpreter. */
export const heavyProgram = "mandelbrot";

/** The names of the programs that ship, without `.bf`. Written out: a process may not be allowed to list the folder. */
export const shippedPrograms: readonly string[] = ["hello", "mandelbrot", "primes", "reverse"];

/**
 * The folder of the programs that ship: beside the sources, wherever this file was compiled to.
 * @throws Error where the package cannot be found, or may not be read.
 */
export function programsFolder(): string {
  const manifest = createRequire(import.meta.url).resolve("jit-allocator/package.json");
  return join(dirname(manifest), "examples", "brainf", "programs");
}

/** The path of a program that ships. @throws Error as {@link programsFolder} */
export function shippedProgramPath(name: string): string {
  return join(programsFolder(), `${name}.bf`);
}
