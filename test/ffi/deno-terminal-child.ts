/** All that a program may do with `--allow-ffi` alone: run by Deno on a terminal, where a missing permission is asked for. */
import { JitAllocator, JitRuntime, toFunction, type SharedAllocator } from "../../src/index.ts";

/** The part of the web's workers that is used: Deno's node:worker_threads asks for the environment by itself. */
interface WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  terminate(): void;
}
const scope: unknown = globalThis;
const web = scope as WebWorker & {
  readonly WorkerGlobalScope?: unknown;
  readonly Worker: new (url: string, options: { readonly type: "module" }) => WebWorker;
};

if (web.WorkerGlobalScope === undefined) {
  using runtime = new JitRuntime();
  const span = runtime.add(Uint8Array.of(0xb8, 0x2a, 0, 0, 0, 0xc3), { name: "answer" });
  const answer = toFunction(span, { parameters: [], result: "i32" });
  let sum = 0;
  for (let count = 0; count < 1000; count++) sum += answer();
  const allocator = new JitAllocator({ useLargePages: true });
  const big = allocator.alloc(300_000);
  big.write(0, new Uint8Array(300_000));
  const worker = new web.Worker(import.meta.url, { type: "module" });
  const done = new Promise((resolve) => (worker.onmessage = resolve));
  worker.postMessage(allocator.share());
  await done;
  const members = allocator.members().length;
  allocator.verify();
  allocator.dispose();
  worker.terminate();
  console.log(`done ${sum} ${members}`);
} else {
  web.onmessage = ({ data }) => {
    const allocator = JitAllocator.attach(data as SharedAllocator);
    allocator.alloc(100).write(0, Uint8Array.of(0xc3));
    web.postMessage("done");
  };
}
