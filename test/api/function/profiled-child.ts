/** Calls named code for a while, to be profiled. */
import { JitRuntime, toFunction } from "../../../src/index.ts";
import * as machineCode from "../../support/native-code.ts";

using runtime = new JitRuntime();
const span = runtime.add(machineCode.ADD, { name: 'hot "sum"' });
const sum = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
let result = 0;
// Long enough for hundreds of samples, a millisecond apart.
for (let call = 0; call < 10_000_000; call++) result = sum(20, 22);
console.log(result);
