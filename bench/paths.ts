/** The folders in which the benchmarks find and leave their files. */
import { fileURLToPath } from "node:url";

/** The path of something in the repository; compiled benchmarks run from `dist/bench`. */
export function repositoryPath(relative: string): string {
  return fileURLToPath(new URL(`../../${relative}`, import.meta.url));
}

/** The folder of made traces and the built driver; git ignores it, and it can be deleted at any time. */
export const cacheFolder = repositoryPath(".cache/bench");
/** The folder of traces that were recorded from real compilers. */
export const recordedTracesFolder = repositoryPath("bench/traces");
/** The folder in which results are kept. */
export const resultsFolder = repositoryPath("bench/results");
/** The results of the last full run of `npm run bench:inside`. */
export const insideResultsPath = repositoryPath("bench/results/inside.json");
/** The results of the last full run of `npm run bench:calls`. */
export const callResultsPath = repositoryPath("bench/results/calls.json");
