/** Spends its time in machine code that another function calls, to be profiled: `node hot-child.js [single]`. */
import { JitRuntime, toFunction } from "../../src/index.ts";
import { callThrough, countDown } from "../support/framed-code.ts";

const isSingle = process.argv[2] === "single";
const runtime = new JitRuntime(isSingle ? { useDualMapping: false, useRange: false } : {});
const hot = runtime.add(countDown(200_000_000), { name: "hot_function" });
const caller = runtime.add(callThrough(hot.rx), { name: "calling_function" });
const call = toFunction(caller, { parameters: [], result: "void" });
// A second or two of processor time: hundreds of samples.
for (let round = 0; round < 20; round++) call();
