// A loop over two Float64Arrays: machine code gets their addresses for as long as the call lasts.
import { JitRuntime, toFunction } from "jit-allocator";

// x86-64, System V: rdi = left, rsi = right, edx = how many; the result is in xmm0.
const code = Uint8Array.of(
  ...[0x66, 0x0f, 0x57, 0xc0], //            xorpd xmm0, xmm0
  ...[0x31, 0xc0], //                        xor eax, eax
  ...[0x39, 0xd0], //                  next: cmp eax, edx
  ...[0x73, 0x12], //                        jae done
  ...[0xf2, 0x0f, 0x10, 0x0c, 0xc7], //      movsd xmm1, [rdi + rax * 8]
  ...[0xf2, 0x0f, 0x59, 0x0c, 0xc6], //      mulsd xmm1, [rsi + rax * 8]
  ...[0xf2, 0x0f, 0x58, 0xc1], //            addsd xmm0, xmm1
  ...[0xff, 0xc0], //                        inc eax
  ...[0xeb, 0xea], //                        jmp next
  ...[0xc3], //                        done: ret
);

using runtime = new JitRuntime();
const dotProduct = toFunction(runtime.add(code, { name: "dotProduct" }), {
  parameters: ["buffer", "buffer", "u32"],
  result: "f64",
});

const left = Float64Array.from({ length: 1000 }, (_, index) => index);
const right = Float64Array.from({ length: 1000 }, () => 0.5);
console.log(dotProduct(left, right, left.length)); // 249750
