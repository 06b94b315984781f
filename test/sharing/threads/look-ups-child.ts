/** A worker that reports which native functions its operations look up once it has attached. */
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { SharedAllocator } from "../../../src/index.ts";

type Find = (name: string, ...types: unknown[]) => unknown;

// The library gets the same object by `require`.
const koffi = createRequire(import.meta.url)("koffi") as { load: (path: unknown) => { func: Find } };
const { load } = koffi;
const found: string[] = [];
koffi.load = (path) =>
  new Proxy(load(path), {
    get(library, property): unknown {
      if (property !== "func") return Reflect.get(library, property);
      return (name: string, ...types: unknown[]) => {
        found.push(name);
        return library.func(name, ...types);
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
