/** `node dist/bench/write-traces.js [FOLDER]`: writes every made workload to FOLDER, `.cache/bench` by default. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { cacheFolder } from "./paths.ts";
import { workloads, workloadTrace } from "./workloads.ts";

const folder = resolve(process.argv[2] ?? cacheFolder);
mkdirSync(folder, { recursive: true });
for (const workload of workloads) {
  const bytes = workloadTrace(workload);
  const path = join(folder, `${workload.name}.trace`);
  writeFileSync(path, bytes);
  process.stdout.write(`${path}: ${bytes.length.toLocaleString("en")} bytes\n`);
}
