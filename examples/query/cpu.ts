/** Asks the processor what it can do, by machine code: there is no other way to ask it from JavaScript. */
import { Code, Register } from "iced-x86";
import type { JitRuntime } from "jit-allocator";
import { toFunction } from "jit-allocator";
import { X64Assembler } from "./x64-assembler.ts";
import { avx2, avx512, sse2 } from "./x64-sets.ts";
import type { X64Set } from "./x64-set.ts";

const FMA = 1 << 12;
const XSAVE_IN_USE = 1 << 27;
const POPCNT = 1 << 23;
const AVX2 = 1 << 5;
const AVX512_F_DQ_VL = (1 << 16) | (1 << 17) | (1 << 31);
/** The vectors of SSE and AVX. */
const SAVED_FOR_AVX = 0b110;
/** Those, and the masks and the rest of the vectors of AVX-512. */
const SAVED_FOR_AVX512 = 0b1110_0110;

/** A function of buffer, leaf and subleaf that writes eax, ebx, ecx and edx of CPUID into the buffer. */
function cpuidCode(isWindows: boolean): Uint8Array {
  const assembler = new X64Assembler();
  assembler.emit(Code.Push_r64, Register.RBX);
  assembler.emit(Code.Mov_r64_rm64, Register.R9, isWindows ? Register.RCX : Register.RDI);
  assembler.emit(Code.Mov_r32_rm32, Register.EAX, isWindows ? Register.EDX : Register.ESI);
  assembler.emit(Code.Mov_r32_rm32, Register.ECX, isWindows ? Register.R8D : Register.EDX);
  assembler.emit(Code.Cpuid);
  for (const [index, register] of [Register.EAX, Register.EBX, Register.ECX, Register.EDX].entries()) {
    assembler.emit(Code.Mov_rm32_r32, { base: Register.R9, displacement: index * 4 }, register);
  }
  assembler.emit(Code.Pop_r64, Register.RBX);
  assembler.emit(Code.Retnq);
  return assembler.finish();
}

/** A function whose result has a bit for each kind of registers that the system saves when it switches threads. */
function savedStateCode(): Uint8Array {
  const assembler = new X64Assembler();
  assembler.emit(Code.Xor_r32_rm32, Register.ECX, Register.ECX);
  assembler.emit(Code.Xgetbv);
  assembler.emit(Code.Retnq);
  return assembler.finish();
}

/** The instruction sets that this processor has and this system allows, the newest first; all of x86-64 have SSE2. */
export function x64Sets(runtime: JitRuntime, isWindows: boolean): readonly X64Set[] {
  using cpuidSpan = runtime.add(cpuidCode(isWindows), { name: "cpuid" });
  using savedStateSpan = runtime.add(savedStateCode(), { name: "xgetbv" });
  const cpuid = toFunction(cpuidSpan, { parameters: ["buffer", "u32", "u32"], result: "void" });
  const registers = new Int32Array(4);
  const leaf = (number: number): readonly [number, number, number, number] => {
    cpuid(registers, number, 0);
    const [eax = 0, ebx = 0, ecx = 0, edx = 0] = registers;
    return [eax, ebx, ecx, edx];
  };

  const [lastLeaf] = leaf(0);
  const [, , features] = leaf(1);
  const needed = FMA | POPCNT | XSAVE_IN_USE;
  if (lastLeaf < 7 || (features & needed) !== needed) return [sse2];
  const saved = toFunction(savedStateSpan, { parameters: [], result: "u32" })();
  const [, extended] = leaf(7);
  const has = (bits: number, state: number): boolean =>
    (extended & bits) === bits && (saved & state) === state;
  return [
    ...(has(AVX512_F_DQ_VL, SAVED_FOR_AVX512) ? [avx512] : []),
    ...(has(AVX2, SAVED_FOR_AVX) ? [avx2] : []),
    sse2,
  ];
}
