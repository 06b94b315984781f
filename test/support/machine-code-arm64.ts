/** The machine code of `machine-code.ts` for AArch64 on Linux (procedure call standard): see there what each is for. */
import type { ParameterType } from "../../src/index.ts";

const RET = 0xd65f_03c0;

/** `add w0, w0, w1; ret` */
export const ADD = words(0x0b01_0000, RET);

/** `movz w0, …; movk w0, …, lsl #16; ret` */
export function returnConstant(value: number): Uint8Array {
  return words(0x5280_0000 | ((value & 0xffff) << 5), 0x72a0_0000 | (((value >>> 16) & 0xffff) << 5), RET);
}

/**
 * `stp x29, x30, [sp, #-16]!; mov x29, sp`, the target to x9 by `movz` and `movk`, `blr x9; add w0, w0, #1;
 * ldp x29, x30, [sp], #16; ret`
 */
export function callAndAddOne(target: number): Uint8Array {
  return words(0xa9bf_7bfd, 0x9100_03fd, ...call(target), 0x1100_0400, 0xa8c1_7bfd, RET);
}

/** The same without `add`, and with two calls: what `first` leaves in w0 is the first argument of `second`. */
export function callBoth(first: number, second: number): Uint8Array {
  return words(0xa9bf_7bfd, 0x9100_03fd, ...call(first), ...call(second), 0xa8c1_7bfd, RET);
}

/** The target to x9 by `movz` and `movk`, `blr x9`. */
function call(target: number): readonly number[] {
  const bits = BigInt(target);
  const part = (shift: bigint): number => Number((bits >> shift) & 0xffffn) << 5;
  return [
    ...[0xd280_0009 | part(0n), 0xf2a0_0009 | part(16n), 0xf2c0_0009 | part(32n), 0xf2e0_0009 | part(48n)],
    0xd63f_0120,
  ];
}

/** `b target`, as code at `rx` */
export function jumpFrom(rx: number, target: number): Uint8Array {
  return words(0x1400_0000 | (((target - rx) / 4) & 0x3ff_ffff));
}

/** `ldr x16, target; br x16`: code that runs anywhere, with the arguments it was called with. */
export function jumpFar(target: number): Uint8Array {
  return words(0x5800_0050, 0xd61f_0200, target % 2 ** 32, Math.floor(target / 2 ** 32));
}

/**
 * x0 = where, x1 = how many.
 * `fmov d0, xzr; cbz x1, end; next: ldr d1, [x0], #8; fadd d0, d0, d1; subs x1, x1, #1; b.ne next; end: ret`
 */
export const SUM_FLOATS = words(
  ...[0x9e67_03e0, 0xb400_00a1, 0xfc40_8401, 0x1e61_2800, 0xf100_0421, 0x54ff_ffa1],
  RET,
);

/** `ldrb w9, [x0]; mov w10, #42; strb w10, [x0]; mov w0, w9; ret` */
export const SWAP_BYTE = words(0x3940_0009, 0x5280_054a, 0x3900_000a, 0x2a09_03e0, RET);

/** `ret` */
export const RETURN = words(RET);

/** x0 to x7 carry integers, v0 to v7 floats. */
const REGISTER_COUNT = 8;

/** Code that gives back its parameter number `index`, wherever the calling convention puts that one. */
export function returnParameter(parameters: readonly ParameterType[], index: number): Uint8Array {
  const used = { integers: 0, floats: 0, onStack: 0 };
  for (const [position, type] of parameters.entries()) {
    const isFloat = type === "f32" || type === "f64";
    const kind = isFloat ? "floats" : "integers";
    const inRegister = used[kind] < REGISTER_COUNT;
    if (position === index) {
      // mov v0.16b, vN.16b; or mov x0, xN
      if (inRegister && isFloat) return words(0x4ea0_1c00 | (used.floats * 0x1_0020), RET);
      if (inRegister) return words(0xaa00_03e0 | (used.integers << 16), RET);
      // Each argument on the stack takes eight bytes: ldr d0, s0 or x0, [sp, #8 × n]
      const { onStack } = used;
      const load =
        type === "f64"
          ? 0xfd40_03e0 | (onStack << 10)
          : type === "f32"
            ? 0xbd40_03e0 | ((2 * onStack) << 10)
            : 0xf940_03e0 | (onStack << 10);
      return words(load, RET);
    }
    used[inRegister ? kind : "onStack"]++;
  }
  throw new RangeError(`There is no parameter ${index}`);
}

/** Instructions as they lie in memory. */
function words(...instructions: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(instructions, (instruction) => instruction >>> 0).buffer);
}
