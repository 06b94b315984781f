/** Runs what is not code: a granule that was released, with the options given as JSON. It must not come back. */
import { systemFfi } from "../../src/ffi/select.ts";
import { JitAllocator, type JitAllocatorOptions } from "../../src/index.ts";
import { RETURN } from "../support/native-code.ts";

const options = JSON.parse(process.argv[2] ?? "{}") as JitAllocatorOptions;
const allocator = new JitAllocator({ ...options, fillUnusedMemory: true });
const span = allocator.alloc(RETURN.length);
span.write(0, RETURN);
const run = systemFfi().callable(span.rx, { parameters: [], result: "void" }).call;
run(); // while it is there it can be run
const { rx } = span;
span.release();
// What runs next is a place in the middle, too: every word of the pattern traps.
systemFfi()
  .callable(rx + 4 * Number(process.argv[3]), { parameters: [], result: "void" })
  .call();
