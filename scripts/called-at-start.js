/**
 * `node scripts/called-at-start.js LIBRARY`: makes a function of machine code and calls it, as the first thing that a program does
 * with the library. Prints where those of its functions that were called begin, as characters of the file: `[1024, …]`.
 */
import { Session } from "node:inspector";
import path from "node:path";
import { pathToFileURL } from "node:url";

const library = pathToFileURL(path.resolve(process.argv[2] ?? "")).href;
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });

const { JitRuntime, toFunction } = await import(library);
const runtime = new JitRuntime();
// lea eax, [rdi + rsi]; ret. It is not called where the processor is another one.
const span = runtime.add(Uint8Array.of(0x8d, 0x04, 0x37, 0xc3));
const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
if (process.arch === "x64" && process.platform !== "win32") add(2, 3);

session.post("Profiler.takePreciseCoverage", (error, coverage) => {
  if (error !== null) throw error;
  const { functions = [] } = coverage.result.find(({ url }) => url === library) ?? {};
  const begins = functions.flatMap(({ ranges: [range] }) => (range?.count ? [range.startOffset] : []));
  process.stdout.write(JSON.stringify(begins));
});
