/**
 * Runs compiled test files one after the other in this process: `node dist/test/emulation/run.js FILE …`. A process
 * for each, which is what `node --test` takes, would spend most of the time on starting under an emulator.
 */
import { pathToFileURL } from "node:url";

for (const file of process.argv.slice(2)) await import(pathToFileURL(file).href);
