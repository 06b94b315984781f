/**
 * Calls C++ through machine code, and lets it unwind that: `node unwinding-child.js LIBRARY [announce] [shared]`. Prints how
 * many callers of the machine code a backtrace has, and what an exception brings, which ends the process where it cannot pass.
 */
import { announce, JitAllocator, JitRuntime, nativeSymbol, toFunction, VirtMem } from "../../src/index.ts";
import { callThrough } from "../support/framed-code.ts";

const [library = "", ...words] = process.argv.slice(2);
if (words.includes("announce")) announce({ unwind: true });
const allocator = new JitAllocator();
if (words.includes("shared")) allocator.share();
const runtime = new JitRuntime({ allocator });
// What comes and goes is registered and taken back: the next at its address has its own description.
for (let round = 0; round < 100; round++) runtime.add(new Uint8Array([0xc3])).release();
for (let round = 0; round < 10; round++) {
  for (let index = 0; index < 10; index++) runtime.add(new Uint8Array([0x53, 0x5b, 0xc3]));
  allocator.reset();
}

const walk = runtime.add(callThrough(nativeSymbol("walk", library)));
const room = VirtMem.alloc(65536, { read: true, write: true });
toFunction(walk, { parameters: ["usize"], result: "void" })(room);
const frames = Array.from(new BigUint64Array(VirtMem.read(room, 64 * 8).slice().buffer), Number);
const own = frames.findIndex((rx) => rx >= walk.rx && rx < walk.rx + walk.size);
console.log(`callers ${frames.slice(own + 1).filter((rx) => rx !== 0).length}`);

const thrower = runtime.add(callThrough(nativeSymbol("throwing", library)));
const outer = runtime.add(callThrough(nativeSymbol("catching", library)));
console.log(`caught ${toFunction(outer, { parameters: ["usize"], result: "i32" })(thrower.rx)}`);
