/**
 * Measures what a process keeps of each distinct signature: `node --expose-gc dist/bench/signatures.js`, on any runtime.
 * Prints the bytes per signature, of the whole process and of the heap, after 10,000 signatures.
 */
import { JitAllocator, toFunction, type ParameterType } from "../src/index.ts";

const TYPES: readonly ParameterType[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "f32",
  "f64",
  "pointer",
];
const WARM_UP = 500;
const COUNT = 10_000;

using allocator = new JitAllocator();
const span = allocator.alloc(1);
span.write(0, Uint8Array.of(0xc3));

/** Makes a function of the signature that a number stands for: its digits to the base 11 are the types of the parameters. */
function makeOne(number: number): void {
  const parameters = Array.from({ length: 5 }, (_, index): ParameterType => {
    return TYPES[Math.floor(number / TYPES.length ** index) % TYPES.length] ?? "i32";
  });
  toFunction(span, { parameters, result: "i32" });
}

function measure(): NodeJS.MemoryUsage {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage();
}

for (let number = 0; number < WARM_UP; number++) makeOne(number);
const before = measure();
for (let number = WARM_UP; number < WARM_UP + COUNT; number++) makeOne(number);
const after = measure();
console.log(
  JSON.stringify({
    residentBytes: Math.round((after.rss - before.rss) / COUNT),
    heapBytes: Math.round((after.heapUsed - before.heapUsed) / COUNT),
  }),
);
