/**
 * `npm run test:threads -- [--kills N] [--workers N] [--seed N] [--single]`: the same as the gate does, for longer.
 */
import { parseArgs } from "node:util";
import { killThreads } from "../support/kill-threads.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "2000" },
    workers: { type: "string", default: "4" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    single: { type: "boolean", default: false },
  },
});
const kills = Number(values.kills);
const report = await killThreads({
  kills,
  seed: Number(values.seed),
  workerCount: Number(values.workers),
  options: { useDualMapping: !values.single },
  onKill: (count) => {
    if (count % 100 === 0) process.stderr.write(`${count} of ${kills}\n`);
  },
});
process.stdout.write(
  `seed ${values.seed}: ${report.kills} workers terminated, ${report.repairs} repairs, ` +
    `${report.released} allocations of theirs released, ${report.held} held by those that were left\n`,
);
