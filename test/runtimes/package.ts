/**
 * `npm run test:package`: what strangers do with the package. It is packed, installed into empty projects, bundled, and
 * the first example of the README is run from there. After `--`, words: only the trials whose names contain one.
 */
import assert from "node:assert/strict";
import { bundles } from "./package/bundlers.ts";
import { consumers } from "./package/consumers.ts";
import { managers } from "./package/managers.ts";
import { runTrials, type Trial } from "./package/trials.ts";
import { packedFileCount, packedSizeBytes } from "./package/workspace.ts";

const size: Trial = {
  name: `the package: ${packedFileCount} files (at most 60), ${packedSizeBytes} bytes (at most 500,000)`,
  run: () => {
    assert.ok(packedFileCount <= 60);
    assert.ok(packedSizeBytes <= 500_000);
    return Promise.resolve();
  },
};

const words = process.argv.slice(2);
const trials = [size, ...consumers, ...managers, ...bundles].filter(
  ({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word.toLowerCase())),
);
const failures = trials.length === 0 ? 1 : await runTrials(trials);
console.log(`${trials.length} ways to use the package, ${failures} of them failed`);
process.exitCode = failures === 0 ? 0 : 1;
