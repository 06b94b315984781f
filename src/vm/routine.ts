/**
 * A routine in machine code: it calls a native function, and notes the result before it returns to JavaScript.
 *
 * A thread is terminated in JavaScript: a native call that has begun comes to its end, but JavaScript may never see its
 * result. The result of a call through this routine stands in shared memory whether JavaScript goes on or not.
 *
 * Its arguments are the address for the result, the function's address, and six arguments of the function, each an
 * integer or an address. A function that takes fewer ignores the rest. All six must be passed: the routine reads some of
 * them from the stack, which may end right behind them.
 */
import type { Address, Ffi, NativeSignature } from "../ffi/contract.ts";
import type { ProcessorName } from "../base/platform.ts";

/** x86-64, System V: rdi = result, rsi = function, rdx rcx r8 r9 and two on the stack = arguments. */
const X64_SYSTEM_V = Uint8Array.of(
  ...[0x53], //                         push rbx
  ...[0x48, 0x89, 0xfb], //             mov  rbx, rdi
  ...[0x49, 0x89, 0xf2], //             mov  r10, rsi
  ...[0x48, 0x89, 0xd7], //             mov  rdi, rdx
  ...[0x48, 0x89, 0xce], //             mov  rsi, rcx
  ...[0x4c, 0x89, 0xc2], //             mov  rdx, r8
  ...[0x4c, 0x89, 0xc9], //             mov  rcx, r9
  ...[0x4c, 0x8b, 0x44, 0x24, 0x10], // mov  r8, [rsp+16]
  ...[0x4c, 0x8b, 0x4c, 0x24, 0x18], // mov  r9, [rsp+24]
  ...[0x31, 0xc0], //                   xor  eax, eax      a variadic function asks here for vector registers
  ...[0x41, 0xff, 0xd2], //             call r10
  ...[0x48, 0x89, 0x03], //             mov  [rbx], rax
  ...[0x5b], //                         pop  rbx
  ...[0xc3], //                         ret
);

/** x86-64, Windows: rcx = result, rdx = function, r8 r9 and four on the stack = arguments. */
const X64_WINDOWS = Uint8Array.of(
  ...[0x53], //                         push rbx
  ...[0x48, 0x83, 0xec, 0x30], //       sub  rsp, 48       room for four registers and two arguments
  ...[0x48, 0x89, 0xcb], //             mov  rbx, rcx
  ...[0x48, 0x89, 0xd0], //             mov  rax, rdx
  ...[0x4c, 0x89, 0xc1], //             mov  rcx, r8
  ...[0x4c, 0x89, 0xca], //             mov  rdx, r9
  ...[0x4c, 0x8b, 0x44, 0x24, 0x60], // mov  r8, [rsp+96]
  ...[0x4c, 0x8b, 0x4c, 0x24, 0x68], // mov  r9, [rsp+104]
  ...[0x4c, 0x8b, 0x54, 0x24, 0x70], // mov  r10, [rsp+112]
  ...[0x4c, 0x89, 0x54, 0x24, 0x20], // mov  [rsp+32], r10
  ...[0x4c, 0x8b, 0x54, 0x24, 0x78], // mov  r10, [rsp+120]
  ...[0x4c, 0x89, 0x54, 0x24, 0x28], // mov  [rsp+40], r10
  ...[0xff, 0xd0], //                   call rax
  ...[0x48, 0x89, 0x03], //             mov  [rbx], rax
  ...[0x48, 0x83, 0xc4, 0x30], //       add  rsp, 48
  ...[0x5b], //                         pop  rbx
  ...[0xc3], //                         ret
);

/** AArch64: x0 = result, x1 = function, x2 to x7 = arguments. */
const ARM64 = new Uint8Array(
  Uint32Array.of(
    0xa9be7bfd, // stp x29, x30, [sp, #-32]!
    0x910003fd, // mov x29, sp
    0xf9000bf3, // str x19, [sp, #16]
    0xaa0003f3, // mov x19, x0
    0xaa0103e9, // mov x9, x1
    0xaa0203e0, // mov x0, x2
    0xaa0303e1, // mov x1, x3
    0xaa0403e2, // mov x2, x4
    0xaa0503e3, // mov x3, x5
    0xaa0603e4, // mov x4, x6
    0xaa0703e5, // mov x5, x7
    0xd63f0120, // blr x9
    0xf9000260, // str x0, [x19]
    0xf9400bf3, // ldr x19, [sp, #16]
    0xa8c27bfd, // ldp x29, x30, [sp], #32
    0xd65f03c0, // ret
  ).buffer,
);

/** The routine for a processor; undefined where there is none. */
export function routineCode(processor: ProcessorName, isWindows: boolean): Uint8Array | undefined {
  if (processor === "arm64") return isWindows ? undefined : ARM64;
  if (processor !== "x64") return undefined;
  return isWindows ? X64_WINDOWS : X64_SYSTEM_V;
}

/** The routine, callable. It returns the result of the function, as an integer of 64 bits. */
export interface NotingRoutine {
  /**
   * @param result receives the result, two integers
   * @param target the function's address
   */
  readonly call: (result: Int32Array, target: Address, ...args: SixArguments<number>) => number;
  /** {@link call} for a function whose first argument is the address of bytes. */
  readonly callWithBytes: (result: Int32Array, target: Address, ...args: SixArguments<Uint8Array>) => number;
  /** The address of the function of that name; 0 = none. */
  find(symbol: string): Address;
  /** The error number that the last call left (`Ffi.errno`). */
  errno(): number;
}

type SixArguments<First> = [First, number, number, number, number, number];

const NUMBERS: NativeSignature = {
  parameters: ["buffer", "pointer", "pointer", "pointer", "pointer", "pointer", "pointer", "pointer"],
  result: "pointer",
};
const BYTES: NativeSignature = {
  ...NUMBERS,
  parameters: NUMBERS.parameters.map((type, index) => (index === 2 ? "buffer" : type)),
};

/** Binds the routine that stands at `address`. */
export function bindRoutine(
  ffi: Pick<Ffi, "callable" | "errno">,
  address: Address,
  find: (symbol: string) => Address,
): NotingRoutine {
  // The native functions are not wrapped: passing eight arguments on would cost as much as the routine.
  return {
    call: ffi.callable(address, NUMBERS).call as NotingRoutine["call"],
    callWithBytes: ffi.callable(address, BYTES).call as NotingRoutine["callWithBytes"],
    find,
    errno: () => ffi.errno(),
  };
}
