import { CodeBuffer } from "./code-buffer.ts";

/** General registers by their numbers: those that a function need not preserve, those of calls, and zero. */
export const Reg = {
  x0: 0,
  x1: 1,
  x2: 2,
  x3: 3,
  x4: 4,
  x5: 5,
  x6: 6,
  x7: 7,
  x8: 8,
  x9: 9,
  x10: 10,
  x11: 11,
  x12: 12,
  /** The frame pointer, which a function has to preserve. */
  x29: 29,
  /** Where a function returns to. */
  x30: 30,
  /** Reads as 0. Not for additions of immediates, where its number means the stack pointer. */
  zero: 31,
} as const;
export type Reg = (typeof Reg)[keyof typeof Reg];

/** Conditions, by the numbers that b.cond carries. Lower, higher and same compare unsigned numbers. */
export const Condition = {
  equal: 0,
  notEqual: 1,
  higherOrSame: 2,
  lower: 3,
  minus: 4,
  plus: 5,
} as const;
export type Condition = (typeof Condition)[keyof typeof Condition];

/** `[base + displacement]`, the displacement from {@link LEAST_DISPLACEMENT} to {@link MOST_DISPLACEMENT}. */
export interface Memory {
  readonly base: Reg;
  readonly displacement: number;
}

/** The displacements that a byte access can have: nine bits with a sign, or twelve without. */
export const LEAST_DISPLACEMENT = -256;
export const MOST_DISPLACEMENT = 4095;

/** A conditional branch has 19 bits for a signed distance in words: a megabyte to each side. */
const CONDITIONAL_REACH_BYTES = 2 ** 20;

/** An immediate of an addition has 12 bits, and can be shifted by as many. */
const IMMEDIATE_BITS = 12;
const IMMEDIATE_LIMIT = 2 ** IMMEDIATE_BITS;

/** A place in the code that branches may name before it is reached. */
export class Label {
  /** Where it is, once bound. */
  offset: number | undefined;
  /** The branches that wait for it: where they are, and what makes an instruction of a distance in words. */
  readonly pending: { readonly offset: number; readonly encode: (words: number) => number }[] = [];
}

/**
 * Writes AArch64 instructions into a buffer: one method an instruction, and only those that the compiler needs.
 * "32" operates on 32-bit registers, which clears the upper half of the 64-bit one; "8" on bytes in memory.
 * Immediates of additions and comparisons may have any size; one that no instruction holds takes several instructions.
 */
export class Arm64Assembler {
  readonly #code: CodeBuffer;
  /** Whether every conditional branch within the buffer reaches its target. */
  readonly #isNear: boolean;

  /** @param code where to write; when it is full, the instruction that does not fit throws CodeBufferFull. */
  constructor(code: Uint8Array) {
    this.#code = new CodeBuffer(code);
    this.#isNear = code.length <= CONDITIONAL_REACH_BYTES;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#code.length;
  }

  /** Makes `label` stand for the next instruction. */
  bind(label: Label): void {
    label.offset = this.#code.length;
    for (const { offset, encode } of label.pending) {
      this.#code.patchDword(offset, encode((label.offset - offset) / 4));
    }
    label.pending.length = 0;
  }

  /** movz, and movk for what is above 16 bits. `value` is taken modulo 2**32. */
  move32Immediate(target: Reg, value: number): void {
    const low = value & 0xffff;
    const high = value >>> 16;
    this.#code.dword(0x5280_0000 | (low << 5) | target);
    if (high !== 0) this.#code.dword(0x72a0_0000 | (high << 5) | target);
  }

  move32(target: Reg, source: Reg): void {
    this.#code.dword(0x2a00_03e0 | (source << 16) | target);
  }

  /** `displacement` is a multiple of 4, from 0 to 16,380. */
  load32(target: Reg, { base, displacement }: Memory): void {
    this.#code.dword(0xb940_0000 | ((displacement / 4) << 10) | (base << 5) | target);
  }

  /** `displacement` is a multiple of 8, from 0 to 32,760. */
  load64(target: Reg, { base, displacement }: Memory): void {
    this.#code.dword(0xf940_0000 | ((displacement / 8) << 10) | (base << 5) | target);
  }

  /** As {@link load32}. */
  store32({ base, displacement }: Memory, source: Reg): void {
    this.#code.dword(0xb900_0000 | ((displacement / 4) << 10) | (base << 5) | source);
  }

  /** The byte, and zeros above it. */
  load8(target: Reg, source: Memory): void {
    this.#byteAccess(0x0040_0000, target, source);
  }

  store8(target: Memory, source: Reg): void {
    this.#byteAccess(0, source, target);
  }

  /** The byte at base + index, both of 64 bits. */
  load8Indexed(target: Reg, base: Reg, index: Reg): void {
    this.#code.dword(0x3860_6800 | (index << 16) | (base << 5) | target);
  }

  store8Indexed(base: Reg, index: Reg, source: Reg): void {
    this.#code.dword(0x3820_6800 | (index << 16) | (base << 5) | source);
  }

  add32(target: Reg, left: Reg, right: Reg): void {
    this.#code.dword(0x0b00_0000 | (right << 16) | (left << 5) | target);
  }

  add64(target: Reg, left: Reg, right: Reg): void {
    this.#code.dword(0x8b00_0000 | (right << 16) | (left << 5) | target);
  }

  subtract32(target: Reg, left: Reg, right: Reg): void {
    this.#code.dword(0x4b00_0000 | (right << 16) | (left << 5) | target);
  }

  /** target = left × right + addend */
  multiplyAdd32(target: Reg, left: Reg, right: Reg, addend: Reg): void {
    this.#code.dword(0x1b00_0000 | (right << 16) | (addend << 10) | (left << 5) | target);
  }

  /** `value` may be negative; at least one instruction. */
  add32Immediate(target: Reg, source: Reg, value: number): void {
    this.#addImmediate(value < 0 ? 0x5100_0000 : 0x1100_0000, target, source, Math.abs(value));
  }

  /** As {@link add32Immediate}. */
  add64Immediate(target: Reg, source: Reg, value: number): void {
    this.#addImmediate(value < 0 ? 0xd100_0000 : 0x9100_0000, target, source, Math.abs(value));
  }

  /** target = source − 1, and the condition flags of that. */
  decrement32AndTest(target: Reg, source: Reg): void {
    this.#code.dword(0x7100_0400 | (source << 5) | target);
  }

  /** Compares with a value from 0 to 2**32 − 1; `scratch` is overwritten if no immediate can hold it. */
  compare32Immediate(left: Reg, value: number, scratch: Reg): void {
    if (value < IMMEDIATE_LIMIT) {
      this.#code.dword(0x7100_001f | (value << 10) | (left << 5));
    } else if (value % IMMEDIATE_LIMIT === 0 && value < IMMEDIATE_LIMIT ** 2) {
      this.#code.dword(0x7140_001f | ((value / IMMEDIATE_LIMIT) << 10) | (left << 5));
    } else {
      this.move32Immediate(scratch, value);
      this.compare32(left, scratch);
    }
  }

  compare32(left: Reg, right: Reg): void {
    this.#code.dword(0x6b00_001f | (right << 16) | (left << 5));
  }

  jump(label: Label): void {
    this.#branch(label, (words) => 0x1400_0000 | (words & 0x3ff_ffff));
  }

  jumpIf(condition: Condition, label: Label): void {
    // The lowest bit of a condition inverts it.
    this.#conditionalBranch(label, 0x5400_0000 | condition, 0x5400_0000 | (condition ^ 1));
  }

  jumpIfZero32(register: Reg, label: Label): void {
    this.#conditionalBranch(label, 0x3400_0000 | register, 0x3500_0000 | register);
  }

  jumpIfNotZero32(register: Reg, label: Label): void {
    this.#conditionalBranch(label, 0x3500_0000 | register, 0x3400_0000 | register);
  }

  /** Calls what lies `distance` bytes from the code's start: up to 128 megabytes away. */
  call(distance: number): void {
    this.#code.dword(0x9400_0000 | (((distance - this.#code.length) / 4) & 0x3ff_ffff));
  }

  jumpIndirect(target: Reg): void {
    this.#code.dword(0xd61f_0000 | (target << 5));
  }

  /** Pushes two registers; the stack pointer stays a multiple of 16, as the processor demands. */
  pushPair(first: Reg, second: Reg): void {
    this.#code.dword(0xa9bf_03e0 | (second << 10) | first);
  }

  /** Undoes {@link pushPair}. */
  popPair(first: Reg, second: Reg): void {
    this.#code.dword(0xa8c1_03e0 | (second << 10) | first);
  }

  return(): void {
    this.#code.dword(0xd65f_03c0);
  }

  /**
   * Where a branch might not reach its label, the opposite condition skips an unconditional branch, which reaches 128
   * megabytes.
   */
  #conditionalBranch(label: Label, opcode: number, opposite: number): void {
    const encode = (words: number): number => opcode | ((words & 0x7_ffff) << 5);
    if (this.#isNear) {
      this.#branch(label, encode);
    } else {
      this.#code.dword(opposite | (2 << 5));
      this.jump(label);
    }
  }

  #branch(label: Label, encode: (words: number) => number): void {
    const offset = this.#code.length;
    this.#code.dword(encode(((label.offset ?? offset) - offset) / 4));
    if (label.offset === undefined) label.pending.push({ offset, encode });
  }

  /** ldrb and strb with a scaled immediate; ldurb and sturb where it is negative. */
  #byteAccess(loadBit: number, register: Reg, { base, displacement }: Memory): void {
    const operation =
      displacement < 0 ? 0x3800_0000 | ((displacement & 0x1ff) << 12) : 0x3900_0000 | (displacement << 10);
    this.#code.dword(operation | loadBit | (base << 5) | register);
  }

  /** Adds or subtracts, as `opcode` says, the upper bits first. */
  #addImmediate(opcode: number, target: Reg, source: Reg, value: number): void {
    let rest = value;
    let from = source;
    while (rest >= IMMEDIATE_LIMIT) {
      const high = Math.min(Math.floor(rest / IMMEDIATE_LIMIT), IMMEDIATE_LIMIT - 1);
      this.#code.dword(opcode | 0x0040_0000 | (high << 10) | (from << 5) | target);
      rest -= high * IMMEDIATE_LIMIT;
      from = target;
    }
    if (rest > 0 || from === source) this.#code.dword(opcode | (rest << 10) | (from << 5) | target);
  }
}
