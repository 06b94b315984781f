import { JitAllocator, toFunction } from "jit-allocator";

// x86-64: lea eax, [rdi + rsi]; ret
const code = Uint8Array.of(0x8d, 0x04, 0x37, 0xc3);

const allocator = new JitAllocator();
const span = allocator.alloc(code.length);
span.write(0, code);

const add = toFunction(span, { parameters: ["i32", "i32"], result: "i32" });
console.log(add(2, 3)); // 5
span.release();
