/** The thread that does the fuzzer's runs, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import {
  RUN_KINDS,
  simulate,
  SimulationFailure,
  type Program,
  type RunKind,
} from "../test/support/simulation.ts";

/** The runs to do. */
export interface FuzzJob {
  readonly seed: number;
  readonly operationCount: number;
  /** Undefined = a mix. */
  readonly kind: RunKind | undefined;
  readonly verifyEvery: number;
  /** Two 32-bit integers for the other thread: the seed of the current run, and the operations before it. */
  readonly progress: SharedArrayBuffer;
}

/** The result of the runs. */
export interface FuzzResult {
  readonly operationCount: number;
  readonly runCount: number;
  readonly refusalCount: number;
  readonly faultCount: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly failure?: {
    readonly seed: number;
    readonly message: string;
    readonly program: Program | undefined;
  };
}

/** Of 16 runs one is large, and three have faults. A large run takes as long as some ten others. */
const MIX: readonly RunKind[] = Array.from({ length: 16 }, (_, index) =>
  index === 15 ? "large" : index % 5 === 4 ? "faulty" : "small",
);
/** Verifying a large structure takes as long as hundreds of operations. */
const LARGE_VERIFY_EVERY = 512;

function run({ seed, operationCount, kind, verifyEvery, progress }: FuzzJob): FuzzResult {
  const shared = new Int32Array(progress);
  const kinds: Record<string, number> = {};
  let [done, runCount, refusalCount, faultCount] = [0, 0, 0, 0];
  const result = (): FuzzResult => ({ operationCount: done, runCount, refusalCount, faultCount, kinds });
  while (done < operationCount) {
    const runSeed = seed + runCount;
    const runKind = kind ?? MIX[runCount % MIX.length] ?? "small";
    const isLarge = runKind === "large";
    const runLength = Math.min(RUN_KINDS[runKind].operationCount, operationCount - done);
    Atomics.store(shared, 0, runSeed);
    Atomics.store(shared, 1, done);
    try {
      const report = simulate({
        seed: runSeed,
        operationCount: runLength,
        kind: runKind,
        inspectEvery: isLarge ? LARGE_VERIFY_EVERY : 8 * verifyEvery,
        verifyEvery: isLarge ? LARGE_VERIFY_EVERY : verifyEvery,
      });
      for (const [name, count] of Object.entries(report.operations)) kinds[name] = (kinds[name] ?? 0) + count;
      refusalCount += Object.values(report.refusals).reduce((sum, count) => sum + count, 0);
      faultCount += report.faults;
    } catch (error) {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const program = error instanceof SimulationFailure ? error.program : undefined;
      return { ...result(), failure: { seed: runSeed, message, program } };
    }
    done += runLength;
    runCount++;
  }
  return result();
}

parentPort?.postMessage(run(workerData as FuzzJob));
