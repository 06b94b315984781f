/**
 * Small pieces of x86-64 machine code, for tests that run code for real, in the calling convention of the system that
 * they run on. What differs: System V passes integers in rdi, rsi and so on, floats in registers counted by themselves;
 * Windows passes the first four parameters in rcx, rdx, r8 and r9, or the float register of the same number, and
 * leaves 32 bytes below those on the stack to the callee.
 */
import type { ParameterType, ResultType } from "../../src/index.ts";
import { platform } from "../../src/base/platform.ts";

/** Whether the code of this file can run here. Elsewhere the tests that need it have nothing to run. */
export const RUNS_HERE = platform.processor === "x64";

const isWindows = platform.system === "windows";

/** `lea eax, [rdi + rsi]; ret`, or `[rcx + rdx]`: adds two 32-bit integers. */
export const ADD = Uint8Array.of(0x8d, 0x04, isWindows ? 0x11 : 0x37, 0xc3);

/** `mov eax, value; ret` */
export function returnConstant(value: number): Uint8Array {
  return Uint8Array.of(0xb8, ...int32(value), 0xc3);
}

/**
 * `sub rsp, 40; mov rax, target; call rax; add rsp, 40; add eax, 1; ret`: one more than what the target returns.
 * 40 bytes: the 32 that Windows leaves to the callee, and 8 to align the stack again.
 */
export function callAndAddOne(target: number): Uint8Array {
  return Uint8Array.of(
    0x48,
    0x83,
    0xec,
    40,
    0x48,
    0xb8,
    ...int64(target),
    0xff,
    0xd0,
    0x48,
    0x83,
    0xc4,
    40,
    0x83,
    0xc0,
    1,
    0xc3,
  );
}

/**
 * `sub rsp, 40; mov rax, first; call rax; mov edi, eax; mov rax, second; call rax; add rsp, 40; ret`, or ecx for edi: calls
 * `first`, and then `second` with what the first gave as its first argument.
 */
export function callBoth(first: number, second: number): Uint8Array {
  return Uint8Array.of(
    ...[0x48, 0x83, 0xec, 40, 0x48, 0xb8, ...int64(first), 0xff, 0xd0],
    ...[0x89, isWindows ? 0xc1 : 0xc7, 0x48, 0xb8, ...int64(second), 0xff, 0xd0],
    ...[0x48, 0x83, 0xc4, 40, 0xc3],
  );
}

/** `jmp target`, as code at `rx`: five bytes that are right at one address only. */
export function jumpFrom(rx: number, target: number): Uint8Array {
  return Uint8Array.of(0xe9, ...int32(target - (rx + 5)));
}

/** `mov r11, target; jmp r11`: code that runs anywhere, with the arguments it was called with. */
export function jumpFar(target: number): Uint8Array {
  const address = new Uint8Array(BigUint64Array.of(BigInt(target)).buffer);
  return Uint8Array.of(0x49, 0xbb, ...address, 0x41, 0xff, 0xe3);
}

/**
 * Adds up 64-bit floats: the first parameter is where, the second how many; on Windows rcx for rdi and rdx for rsi.
 * `xorpd xmm0, xmm0; test rsi, rsi; jz end; next: addsd xmm0, [rdi]; add rdi, 8; dec rsi; jnz next; end: ret`
 */
export const SUM_FLOATS = Uint8Array.of(
  ...[0x66, 0x0f, 0x57, 0xc0, 0x48, 0x85, isWindows ? 0xd2 : 0xf6, 0x74, 0x0d],
  ...[0xf2, 0x0f, 0x58, isWindows ? 0x01 : 0x07, 0x48, 0x83, isWindows ? 0xc1 : 0xc7, 0x08],
  ...[0x48, 0xff, isWindows ? 0xca : 0xce, 0x75, 0xf3, 0xc3],
);

/** `movzx eax, byte [rdi]; mov byte [rdi], 42; ret`, or rcx: gives the byte that was there, and leaves 42. */
export const SWAP_BYTE = isWindows
  ? Uint8Array.of(0x0f, 0xb6, 0x01, 0xc6, 0x01, 42, 0xc3)
  : Uint8Array.of(0x0f, 0xb6, 0x07, 0xc6, 0x07, 42, 0xc3);

/** `ret` */
export const RETURN = Uint8Array.of(0xc3);

/** `mov rax, register`: the integer registers in the order of their parameters. */
const FROM_INTEGER_REGISTER: readonly (readonly number[])[] = isWindows
  ? [
      [0x48, 0x89, 0xc8], // rcx
      [0x48, 0x89, 0xd0], // rdx
      [0x4c, 0x89, 0xc0], // r8
      [0x4c, 0x89, 0xc8], // r9
    ]
  : [
      [0x48, 0x89, 0xf8], // rdi
      [0x48, 0x89, 0xf0], // rsi
      [0x48, 0x89, 0xd0], // rdx
      [0x48, 0x89, 0xc8], // rcx
      [0x4c, 0x89, 0xc0], // r8
      [0x4c, 0x89, 0xc8], // r9
    ];
/** xmm0 and on carry floats. */
const FLOAT_REGISTER_COUNT = isWindows ? 4 : 8;
/** Bytes between the return address, which lies at [rsp], and the first argument on the stack. */
const HOME_BYTES = isWindows ? 32 : 0;

/** Where a parameter is: in the float or integer register of that number, or in that place on the stack. */
type ParameterPlace = readonly [kind: "float" | "integer" | "stack", number: number];

function placeOf(parameters: readonly ParameterType[], index: number): ParameterPlace {
  let integers = 0;
  let floats = 0;
  let onStack = 0;
  for (const [position, type] of parameters.entries()) {
    const isFloat = isFloatType(type);
    // Windows numbers both kinds of registers by the parameter.
    const register = isWindows ? position : isFloat ? floats++ : integers++;
    const isInRegister = register < (isFloat ? FLOAT_REGISTER_COUNT : FROM_INTEGER_REGISTER.length);
    if (position === index) {
      return isInRegister ? [isFloat ? "float" : "integer", register] : ["stack", onStack];
    }
    if (!isInRegister) onStack++;
  }
  throw new RangeError(`There is no parameter ${index}`);
}

function isFloatType(type: ParameterType | undefined): boolean {
  return type === "f32" || type === "f64";
}

/** Code that gives back its parameter number `index`, wherever the calling convention puts that one. */
export function returnParameter(parameters: readonly ParameterType[], index: number): Uint8Array {
  const [kind, number] = placeOf(parameters, index);
  // movaps xmm0, xmmN; mov rax, register; or a load from the stack to one of the two
  if (kind === "float") return Uint8Array.of(0x0f, 0x28, 0xc0 + number, 0xc3);
  if (kind === "integer") return Uint8Array.of(...(FROM_INTEGER_REGISTER[number] ?? []), 0xc3);
  const type = parameters[index];
  const load = type === "f64" ? [0xf2, 0x0f, 0x10] : type === "f32" ? [0xf3, 0x0f, 0x10] : [0x48, 0x8b];
  return Uint8Array.of(...load, 0x84, 0x24, ...int32(8 + HOME_BYTES + 8 * number), 0xc3);
}

/** The result type in which a parameter comes back: buffers come back as their addresses. */
export function resultOf(type: ParameterType): ResultType {
  return type === "buffer" || type === "buffer?" ? "pointer" : type;
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

/** `mov eax, value; L: sub edi, 1; ja L; ret`, or ecx for edi: goes round as often as its argument says, then returns. */
export function spinThenReturn(value: number): Uint8Array {
  return Uint8Array.of(0xb8, ...int32(value), 0x83, isWindows ? 0xe9 : 0xef, 1, 0x77, 0xfb, 0xc3);
}
