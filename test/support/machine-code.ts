/** Small pieces of x86-64 machine code (System V calling convention), for tests that run code for real. */
import type { ParameterType, ResultType } from "../../src/index.ts";
import { platform } from "../../src/platform.ts";

/** Whether the code of this file can run here. Elsewhere the tests that need it have nothing to run. */
export const RUNS_HERE = platform.processor === "x64" && platform.system !== "windows";

/** `lea eax, [rdi + rsi]; ret`: adds two 32-bit integers. */
export const ADD = Uint8Array.of(0x8d, 0x04, 0x37, 0xc3);

/** `mov eax, value; ret` */
export function returnConstant(value: number): Uint8Array {
  return Uint8Array.of(0xb8, ...int32(value), 0xc3);
}

/** `sub rsp, 8; mov rax, target; call rax; add rsp, 8; add eax, 1; ret`: one more than what the target returns. */
export function callAndAddOne(target: number): Uint8Array {
  return Uint8Array.of(
    0x48,
    0x83,
    0xec,
    8,
    0x48,
    0xb8,
    ...int64(target),
    0xff,
    0xd0,
    0x48,
    0x83,
    0xc4,
    8,
    0x83,
    0xc0,
    1,
    0xc3,
  );
}

/** `jmp target`, as code at `rx`: five bytes that are right at one address only. */
export function jumpFrom(rx: number, target: number): Uint8Array {
  return Uint8Array.of(0xe9, ...int32(target - (rx + 5)));
}

/**
 * Adds up 64-bit floats: rdi = where, rsi = how many.
 * `xorpd xmm0, xmm0; test rsi, rsi; jz end; next: addsd xmm0, [rdi]; add rdi, 8; dec rsi; jnz next; end: ret`
 */
export const SUM_FLOATS = Uint8Array.of(
  ...[0x66, 0x0f, 0x57, 0xc0, 0x48, 0x85, 0xf6, 0x74, 0x0d],
  ...[0xf2, 0x0f, 0x58, 0x07, 0x48, 0x83, 0xc7, 0x08, 0x48, 0xff, 0xce, 0x75, 0xf3, 0xc3],
);

/** `movzx eax, byte [rdi]; mov byte [rdi], 42; ret`: gives the byte that was there, and leaves 42. */
export const SWAP_BYTE = Uint8Array.of(0x0f, 0xb6, 0x07, 0xc6, 0x07, 42, 0xc3);

/** `ret` */
export const RETURN = Uint8Array.of(0xc3);

/** Stores of the six integer registers to rax: `mov rax, rdi` and so on. */
const FROM_INTEGER_REGISTER: readonly (readonly number[])[] = [
  [0x48, 0x89, 0xf8], // rdi
  [0x48, 0x89, 0xf0], // rsi
  [0x48, 0x89, 0xd0], // rdx
  [0x48, 0x89, 0xc8], // rcx
  [0x4c, 0x89, 0xc0], // r8
  [0x4c, 0x89, 0xc8], // r9
];
/** xmm0 to xmm7 carry floats. */
const FLOAT_REGISTER_COUNT = 8;

/** Code that gives back its parameter number `index`, wherever the calling convention puts that one. */
export function returnParameter(parameters: readonly ParameterType[], index: number): Uint8Array {
  let integers = 0;
  let floats = 0;
  let onStack = 0;
  for (const [position, type] of parameters.entries()) {
    const isFloat = type === "f32" || type === "f64";
    const inRegister = isFloat ? floats < FLOAT_REGISTER_COUNT : integers < FROM_INTEGER_REGISTER.length;
    if (position === index) {
      if (inRegister) {
        // movaps xmm0, xmmN; or mov rax, register
        const move = isFloat ? [0x0f, 0x28, 0xc0 + floats] : (FROM_INTEGER_REGISTER[integers] ?? []);
        return Uint8Array.of(...move, 0xc3);
      }
      // The return address lies at [rsp], the first argument on the stack behind it.
      const place = [0x84, 0x24, ...int32(8 + 8 * onStack)];
      const load = type === "f64" ? [0xf2, 0x0f, 0x10] : type === "f32" ? [0xf3, 0x0f, 0x10] : [0x48, 0x8b];
      return Uint8Array.of(...load, ...place, 0xc3);
    }
    if (!inRegister) onStack++;
    else if (isFloat) floats++;
    else integers++;
  }
  throw new RangeError(`There is no parameter ${index}`);
}

/** The result type in which a parameter comes back: a buffer comes back as its address. */
export function resultOf(type: ParameterType): ResultType {
  return type === "buffer" ? "pointer" : type;
}

function int32(value: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setInt32(0, value, true);
  return new Uint8Array(bytes.buffer);
}

function int64(value: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigInt64(0, BigInt(value), true);
  return new Uint8Array(bytes.buffer);
}
