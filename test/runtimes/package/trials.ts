/** Trials of the package: run two at a time, each with a line that says how it ended. */

/** One way to use the package. */
export interface Trial {
  readonly name: string;
  /** @throws Skip where it cannot be tried here, any other error where it fails. */
  readonly run: () => Promise<void>;
}

/** The reason why something cannot be tried here. */
export class Skip extends Error {}

/** As many as the cores of a CI's smallest machines. */
const TRIALS_AT_A_TIME = 2;

/** Runs all, and returns how many failed. */
export async function runTrials(trials: readonly Trial[]): Promise<number> {
  const waiting = [...trials];
  let failures = 0;
  const runOne = async ({ name, run }: Trial): Promise<void> => {
    const start = performance.now();
    const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;
    try {
      await run();
      console.log(`ok    ${name} (${seconds()})`);
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip  ${name}: ${error.message}`);
        return;
      }
      failures++;
      console.log(`FAILED ${name} (${seconds()})\n${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const runSome = async (): Promise<void> => {
    for (let trial = waiting.shift(); trial !== undefined; trial = waiting.shift()) await runOne(trial);
  };
  await Promise.all(Array.from({ length: TRIALS_AT_A_TIME }, runSome));
  return failures;
}
