/**
 * Runs machine code of two functions, the second of which stops in a debugger: `node trapping-child.js [worker | single]`,
 * in a worker, or in memory that is mapped once. A third one has been released before, and its place is in use again.
 */
import { isMainThread, Worker } from "node:worker_threads";
import { JitAllocator, JitRuntime, toFunction } from "../../src/index.ts";
import { callThrough } from "../support/framed-code.ts";

if (isMainThread && process.argv[2] === "worker") {
  new Worker(new URL(import.meta.url));
} else {
  const isSingle = process.argv[2] === "single";
  const runtime = new JitRuntime(isSingle ? { useDualMapping: false, useRange: false } : {});
  // The ends of the list, its middle, and entries whose neighbours have gone before.
  const churned = Array.from({ length: 12 }, (_, index) =>
    runtime.add(new Uint8Array([0xc3]), { name: `churned_${index}` }),
  );
  for (const index of [11, 5, 6, 0, 4, 8, 1, 10]) churned[index]?.release();
  const gone = runtime.add(new Uint8Array([0xc3]), { name: "gone" });
  runtime.release(gone.rx);
  // push rbx; sub rsp, 32; int3; add rsp, 32; pop rbx; ret
  const inner = runtime.add(
    new Uint8Array([0x53, 0x48, 0x83, 0xec, 0x20, 0xcc, 0x48, 0x83, 0xc4, 0x20, 0x5b, 0xc3]),
    { name: "inner_function" },
  );
  runtime.add(new Uint8Array(8).fill(0x90), {
    name: "of_parts",
    symbols: [{ name: "second_part", offset: 4, size: 4 }],
  });
  runtime.allocator.veneer(inner.rx);
  const builder = runtime.allocator.module();
  builder.code(new Uint8Array([0xc3]), { name: "of_a_module" });
  builder.data(8, { name: "no_code" });
  builder.commit();
  const allocator = new JitAllocator();
  const outer = allocator.alloc(64, { name: "outer_function" });
  outer.write(0, callThrough(inner.rx));
  console.log(gone.rx === inner.rx ? "in use again" : "not used again");
  toFunction(outer, { parameters: [], result: "void" })();
  console.log("returned");
}
