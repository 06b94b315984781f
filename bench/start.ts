/**
 * `node dist/bench/start.js [TURNS]`, after `npm run build:release`: from the start of a process to the result of its
 * first machine code, with the library as it is published and as its single modules, in turns.
 */
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { repositoryPath } from "./paths.ts";
import { median } from "./turns.ts";

const turns = Number(process.argv[2] ?? 15);
const child = repositoryPath("dist/bench/start-child.js");
const sides: Readonly<Record<string, readonly string[]>> = {
  "an empty process": [],
  "the published library": [pathToFileURL(repositoryPath("dist/package/index.js")).href],
  "its single modules": [pathToFileURL(repositoryPath("dist/src/index.js")).href],
};

interface Times {
  readonly import: number;
  readonly all: number;
}

const times = new Map<string, Times[]>(Object.keys(sides).map((name) => [name, []]));
for (let turn = 0; turn < turns; turn++) {
  for (const [name, args] of Object.entries(sides)) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [child, ...args], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${name}: ${stderr}`);
    times.get(name)?.push(JSON.parse(stdout) as Times);
  }
}
console.log(`ms, medians of ${turns} turns: import; from the start of the process to the first result`);
for (const [name, all] of times) {
  const of = (key: keyof Times): string => median(all.map((one) => one[key])).toFixed(1);
  console.log(`${name.padEnd(24)}${of("import").padStart(8)}${of("all").padStart(8)}`);
}
