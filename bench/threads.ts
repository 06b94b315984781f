/** One allocator in 1, 2 and 4 threads: each replays `tier`, here and in as many C++ threads on asmjit. */
import { execFileSync } from "node:child_process";
import type { AsmjitDriver } from "./asmjit.ts";
import { repositoryPath } from "./paths.ts";
import type { MicroResult } from "./results.ts";
import { placeTrace, type SuiteTrace } from "./suite.ts";
import { median } from "./turns.ts";

const THREAD_COUNTS = [1, 2, 4];

/**
 * The number of rounds, of which the best counts: the first one here runs before the loop is compiled. Not more, because
 * a C++ round takes seconds.
 */
const ROUNDS = 3;

/**
 * Nanoseconds of the clock per operation, over the operations of all threads: a gain is a lower figure than with one
 * thread.
 */
export function runThreads(
  trace: SuiteTrace,
  turns: number,
  driver: AsmjitDriver | undefined,
  onRun: (what: string) => void,
): MicroResult[] {
  const path = placeTrace(trace);
  const operations = trace
    .read()
    .reduce((lines, byte, at, text) => (byte === 10 && isOperation(text, at) ? lines + 1 : lines), 0);
  const sources = THREAD_COUNTS.flatMap((threads) => {
    const ours = {
      name: `${trace.name}, ${threads} thread${threads === 1 ? "" : "s"}, shared`,
      run: () => Number(runNode([path, String(threads), String(ROUNDS)])),
      threads,
    };
    if (driver === undefined) return [ours];
    const theirs = {
      name: `${ours.name} (asmjit)`,
      run: () => Number(run(driver.path, [path, "--threads", String(threads), DUAL])),
      threads,
    };
    return [ours, theirs];
  });
  const found = sources.map((source) => ({ ...source, ofTurns: [] as number[] }));
  for (let turn = 0; turn < turns; turn++) {
    for (const { name, run: runOnce, threads, ofTurns } of found) {
      onRun(`turn ${turn + 1} of ${turns}, ${name}`);
      ofTurns.push((runOnce() * 1e6) / (operations * threads));
    }
  }
  return found.map(({ name, ofTurns }) => ({ name, unit: "ns", ofTurns, value: median(ofTurns) }));
}

const DUAL = "--use-dual-mapping";

/** Whether the line that ends at `end` is an operation (a, f, s or q), and not a phase or a comment. */
function isOperation(text: Uint8Array, end: number): boolean {
  let start = end;
  while (start > 0 && text[start - 1] !== 10) start--;
  return "afsq".includes(String.fromCharCode(text[start] ?? 0)) && start < end;
}

function runNode(args: readonly string[]): string {
  return run(process.execPath, [repositoryPath("dist/bench/threads-child.js"), ...args]);
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8" });
}
