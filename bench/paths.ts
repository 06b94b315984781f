/** Where the benchmarks find and leave their files. */
import { fileURLToPath } from "node:url";

/** The path of something in the repository; compiled benchmarks run from `dist/bench`. */
export function repositoryPath(relative: string): string {
  return fileURLToPath(new URL(`../../${relative}`, import.meta.url));
}

/** Made traces and the built driver; git ignores it, and it can be deleted at any time. */
export const cacheFolder = repositoryPath(".cache/bench");
/** The traces that were recorded from real compilers. */
export const recordedTracesFolder = repositoryPath("bench/traces");
/** Where results are kept. */
export const resultsFolder = repositoryPath("bench/results");
