/** A thread that runs a loop through a call site, until it is told to stop, and counts what it got. */
import { parentPort, workerData } from "node:worker_threads";
import { JitAllocator, toFunction } from "../../src/index.ts";

const { site, before, after, control } = workerData as {
  readonly site: number;
  readonly before: number;
  readonly after: number;
  readonly control: SharedArrayBuffer;
};

/** How many threads run the loop, and whether to stop. */
const state = new Int32Array(control);
const ROUNDS = 50_000n;
const int32 = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);

using allocator = new JitAllocator();
const span = allocator.alloc(128);
span.write(
  0,
  Uint8Array.of(
    ...[0x53, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x50], // push rbx, r12, r13, r14, rax (which aligns the stack)
    ...[0x48, 0x89, 0xfb, 0x49, 0x89, 0xf4], // mov rbx, rdi; mov r12, rsi
    ...[0x45, 0x31, 0xed, 0x45, 0x31, 0xf6], // xor r13d, r13d; xor r14d, r14d
    ...[0xff, 0xd3], // next: call rbx
    ...[0x3d, ...int32(before), 0x74, 0x0f], // cmp eax, before; je done
    ...[0x49, 0xff, 0xc6], // inc r14: one that is not the old one
    ...[0x3d, ...int32(after), 0x74, 0x03], // cmp eax, after; je done
    ...[0x49, 0xff, 0xc5], // inc r13: one that is neither
    ...[0x90, 0x90], // (the jumps are to here)
    ...[0x49, 0xff, 0xcc, 0x75, 0xe3], // done: dec r12; jnz next
    ...[0x4c, 0x89, 0xe8, 0x48, 0xc1, 0xe0, 0x20, 0x4c, 0x01, 0xf0], // mov rax, r13; shl rax, 32; add rax, r14
    ...[0x59, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0xc3], // pop rcx, r14, r13, r12, rbx; ret
  ),
);
const loop = toFunction(span, { parameters: ["pointer", "i64"], result: "i64" });

let [calls, wrong, changed] = [0n, 0n, 0n];
do {
  const result = loop(site, ROUNDS);
  calls += ROUNDS;
  wrong += result >> 32n;
  changed += result & 0xffff_ffffn;
  if (calls === ROUNDS) {
    Atomics.add(state, 0, 1);
    Atomics.notify(state, 0);
  }
} while (Atomics.load(state, 1) === 0);
parentPort?.postMessage({ calls: Number(calls), wrong: Number(wrong), changed: Number(changed) });
