/** `npm run test:threads`: terminates threads as the gate does, for longer. */
import { platform } from "../../../src/base/platform.ts";
import { readInteger } from "../../../src/cli/args.ts";
import { readCommandLine } from "../../support/command-line.ts";
import { killThreads } from "../../support/kill-threads.ts";

const HELP = `Usage: npm run test:threads -- [options]

Terminates threads that share an allocator, at random; those that are left repair it, release what the dead held, and
look at everything.

  --kills N    how many (default 2000)
  --workers N  how many threads at a time, 1 to 64 (default 4)
  --seed N     what the load is made from, an integer (default: the time)
  --single     memory mapped once, writable and executable
  --pauses     the threads pause now and then, and end there: what Deno can do, which ends no thread that computes
  --help, -h   print this text`;

const { kills, workerCount, seed, isSingle, pauses } = readCommandLine(
  HELP,
  {
    kills: { type: "string", default: "2000" },
    workers: { type: "string", default: "4" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    single: { type: "boolean", default: false },
    pauses: { type: "boolean", default: platform.runtime === "deno" },
  },
  0,
  ({ values }) => ({
    kills: readInteger("--kills", values.kills, 1, 1_000_000_000),
    workerCount: readInteger("--workers", values.workers, 1, 64),
    seed: readInteger("--seed", values.seed, 0, 2 ** 32 - 1),
    isSingle: values.single,
    pauses: values.pauses,
  }),
);
const report = await killThreads({
  kills,
  seed,
  workerCount,
  pauses,
  options: { useDualMapping: !isSingle },
  onKill: (count) => {
    if (count % 100 === 0) process.stderr.write(`${count} of ${kills}\n`);
  },
});
process.stdout.write(
  `seed ${seed}: ${report.kills} workers terminated, ${report.repairs} repairs, ` +
    `${report.released} allocations of theirs released, ${report.held} held by those that were left\n`,
);
