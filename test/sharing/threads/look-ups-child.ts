/** A worker that reports which native functions its operations look up once it has attached. */
import { parentPort, workerData } from "node:worker_threads";
import { requireKoffi, type KoffiLibrary } from "../../../src/ffi/koffi-module.ts";
import type { SharedAllocator } from "../../../src/index.ts";

// The library gets the same object.
const koffi = requireKoffi();
const { load } = koffi;
const found: string[] = [];
koffi.load = (path) =>
  new Proxy(load(path), {
    get(library, property): unknown {
      if (property !== "func") return Reflect.get(library, property);
      return (...asked: Parameters<KoffiLibrary["func"]>) => {
        found.push(asked[0]);
        return library.func(...asked);
      };
    },
  });

const { JitAllocator } = await import("../../../src/index.ts");
const allocator = JitAllocator.attach(workerData as SharedAllocator);
const atFirst = found.length;

for (let round = 0; round < 2; round++) {
  const span = allocator.alloc(300);
  span.write(0, new Uint8Array(100));
  span.read();
  span.patch(0, new Uint8Array(4));
  allocator.write(span, (code) => code.length / 2);
  span.shrink(64);
  allocator.query(span.rx).release();
  allocator.release(allocator.allocAddress(1 << 20)); // a block of its own, mapped and given back
  const builder = allocator.module();
  builder.code(new Uint8Array(8));
  builder.data(8);
  const made = builder.commit();
  allocator.veneer(made.spans[0]?.rx ?? 0).release();
  made.retire();
  allocator.trim();
  allocator.statistics();
  allocator.verify();
}
allocator.detach();
parentPort?.postMessage({ atFirst, later: found.slice(atFirst) });
