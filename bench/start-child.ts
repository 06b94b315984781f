/**
 * `node dist/bench/start-child.js LIBRARY`: imports the library, makes one function and calls it; prints when that was
 * done, in ms since the process began, and what the import took of it. Without LIBRARY it prints when a process that
 * does nothing is there.
 */
import type * as Library from "../src/index.ts";
import { addFunctionCode } from "./machine-code.ts";

const library = process.argv[2];
const before = performance.now();
if (library === undefined) {
  process.stdout.write(JSON.stringify({ import: 0, all: before }));
} else {
  const { JitRuntime, toFunction } = (await import(library)) as typeof Library;
  const imported = performance.now();
  const runtime = new JitRuntime();
  const add = toFunction(runtime.add(addFunctionCode()), { parameters: ["i32", "i32"], result: "i32" });
  if (add(2, 3) !== 5) throw new Error("the function does not add");
  process.stdout.write(JSON.stringify({ import: imported - before, all: performance.now() }));
}
