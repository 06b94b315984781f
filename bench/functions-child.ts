/**
 * `node dist/bench/functions-child.js`: from bytes to a call, in a process of its own; prints JSON, an object of nanoseconds
 * by name. `bench/micro.ts` runs it.
 */
import { JitAllocator, JitRuntime, toFunction } from "../src/index.ts";
import { addFunctionCode } from "./machine-code.ts";
import { leastOfTurns } from "./least-of-turns.ts";

const SIGNATURE = { parameters: ["i32", "i32"], result: "i32" } as const;
const CALLS = 10_000;
const CHUNKS = 60;

const code = addFunctionCode();
using allocator = new JitAllocator({ blockSize: 1 << 20 });
using runtime = new JitRuntime({ blockSize: 1 << 20 });
const spans = Array.from({ length: 1024 }, () => {
  const span = allocator.alloc(code.length);
  span.write(0, code);
  return span;
});
// No block goes empty: to map one again would be another measurement.
runtime.add(code);
const bytes = new Uint8Array(200).fill(0x90);
const memory = new Uint8Array(4096);

const least = leastOfTurns(
  {
    made() {
      for (let i = 0; i < CALLS; i++) toFunction(spans[i & 1023] ?? allocator.alloc(0), SIGNATURE);
    },
    life() {
      for (let i = 0; i < CALLS; i++) {
        const span = allocator.alloc(code.length);
        span.write(0, code);
        toFunction(span, SIGNATURE)(i, 1);
        span.release();
      }
    },
    added() {
      for (let i = 0; i < CALLS; i++) runtime.release(runtime.add(bytes));
    },
    copied() {
      for (let i = 0; i < CALLS; i++) {
        const span = allocator.alloc(bytes.length);
        memory.set(bytes, i & 1023);
        span.release();
      }
    },
  },
  CALLS,
  CHUNKS,
);
process.stdout.write(
  `${JSON.stringify({
    "make a callable": least.made,
    "life of a function: allocate, write, make callable, call, release": least.life,
    "runtime.add of 200 B, and release": least.added,
    "alloc of 200 B, Uint8Array.set, and release": least.copied,
  })}\n`,
);
