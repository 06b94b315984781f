import { CodeBuffer } from "./code-buffer.ts";

/** The general registers, by the numbers the processor gives them. */
export const Reg = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
} as const;
export type Reg = (typeof Reg)[keyof typeof Reg];

/** Conditions, by the numbers that jcc opcodes carry. Above and below compare unsigned numbers. */
export const Condition = {
  below: 2,
  aboveOrEqual: 3,
  equal: 4,
  notEqual: 5,
  above: 7,
  sign: 8,
  notSign: 9,
} as const;
export type Condition = (typeof Condition)[keyof typeof Condition];

/** `[base + index + displacement]` */
export interface Memory {
  readonly base: Reg;
  readonly index?: Reg;
  readonly displacement: number;
}

/** Instructions of 1 to 9 bytes that do nothing, as the processors' makers recommend them (Intel's manual, volume 2, NOP). */
const NOPS: readonly (readonly number[])[] = [
  [0x90],
  [0x66, 0x90],
  [0x0f, 0x1f, 0x00],
  [0x0f, 0x1f, 0x40, 0],
  [0x0f, 0x1f, 0x44, 0, 0],
  [0x66, 0x0f, 0x1f, 0x44, 0, 0],
  [0x0f, 0x1f, 0x80, 0, 0, 0, 0],
  [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
  [0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
];

/** The width of an instruction's register, where it is not 32 bits. */
interface Width {
  readonly isByte?: boolean;
  readonly isQword?: boolean;
}

/** A place in the code that jumps may name before it is reached. */
export class Label {
  /** Where it is, once bound. */
  offset: number | undefined;
  /** The 32-bit fields that wait for it. */
  readonly pending: number[] = [];
}

/**
 * Writes x86-64 instructions into a buffer: one method an instruction, and only those that the compiler needs.
 * "32" operates on 32-bit registers, which clears the upper half of the 64-bit one; "8" on bytes in memory,
 * and "64" on whole registers.
 */
export class X64Assembler {
  readonly #code: CodeBuffer;

  /** @param code where to write; when it is full, the instruction that does not fit throws CodeBufferFull. */
  constructor(code: Uint8Array) {
    this.#code = new CodeBuffer(code);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#code.length;
  }

  /** Makes `label` stand for the next instruction. */
  bind(label: Label): void {
    label.offset = this.#code.length;
    for (const field of label.pending) this.#code.patchDword(field, label.offset - (field + 4));
    label.pending.length = 0;
  }

  /** Does nothing up to the next multiple of `alignment` from the code's start. */
  align(alignment: number): void {
    let rest = (alignment - (this.#code.length % alignment)) % alignment;
    while (rest > 0) {
      const nop = NOPS[Math.min(rest, NOPS.length) - 1] ?? [];
      for (const byte of nop) this.#code.byte(byte);
      rest -= nop.length;
    }
  }

  mov32Immediate(target: Reg, value: number): void {
    this.#rex(0, 0, target);
    this.#code.byte(0xb8 | (target & 7));
    this.#code.dword(value);
  }

  load32(target: Reg, source: Memory): void {
    this.#withMemory([0x8b], target, source);
  }

  store32(target: Memory, source: Reg): void {
    this.#withMemory([0x89], source, target);
  }

  load64(target: Reg, source: Memory): void {
    this.#withMemory([0x8b], target, source, { isQword: true });
  }

  store64(target: Memory, source: Reg): void {
    this.#withMemory([0x89], source, target, { isQword: true });
  }

  /** movzx: the byte, and zeros above it. */
  load8(target: Reg, source: Memory): void {
    this.#withMemory([0x0f, 0xb6], target, source);
  }

  store8(target: Memory, source: Reg): void {
    this.#withMemory([0x88], source, target, { isByte: true });
  }

  store8Immediate(target: Memory, value: number): void {
    this.#withMemory([0xc6], 0, target);
    this.#code.byte(value);
  }

  add8(target: Memory, source: Reg): void {
    this.#withMemory([0x00], source, target, { isByte: true });
  }

  sub8(target: Memory, source: Reg): void {
    this.#withMemory([0x28], source, target, { isByte: true });
  }

  add8Immediate(target: Memory, value: number): void {
    this.#withMemory([0x80], 0, target);
    this.#code.byte(value);
  }

  compare8Immediate(left: Memory, value: number): void {
    this.#withMemory([0x80], 7, left);
    this.#code.byte(value);
  }

  add32Immediate(target: Reg, value: number): void {
    this.#immediateGroup(0, target, value);
  }

  compare32Immediate(left: Reg, value: number): void {
    this.#immediateGroup(7, left, value);
  }

  compare32(left: Reg, right: Memory): void {
    this.#withMemory([0x3b], left, right);
  }

  increment32(target: Reg): void {
    this.#withRegister(0xff, 0, target);
  }

  incrementMemory32(target: Memory): void {
    this.#withMemory([0xff], 0, target);
  }

  decrement32(target: Reg): void {
    this.#withRegister(0xff, 1, target);
  }

  /** target = source + displacement, modulo 2**32 */
  lea32(target: Reg, source: Memory): void {
    this.#withMemory([0x8d], target, source);
  }

  /** target = source + displacement */
  lea64(target: Reg, source: Memory): void {
    this.#withMemory([0x8d], target, source, { isQword: true });
  }

  /** `value` is extended to 64 bits. */
  and64Immediate(target: Reg, value: number): void {
    this.#immediateGroup(4, target, value, { isQword: true });
  }

  /** target = source × value */
  multiply32Immediate(target: Reg, source: Reg, value: number): void {
    this.#rex(target, 0, source);
    this.#code.byte(0x69);
    this.#code.byte(0xc0 | ((target & 7) << 3) | (source & 7));
    this.#code.dword(value);
  }

  jump(label: Label): void {
    this.#branch([0xeb], [0xe9], label);
  }

  jumpIf(condition: Condition, label: Label): void {
    this.#branch([0x70 | condition], [0x0f, 0x80 | condition], label);
  }

  /** Calls what lies `distance` bytes from the code's start. */
  call(distance: number): void {
    this.#code.byte(0xe8);
    this.#code.dword(distance - (this.#code.length + 4));
  }

  /** Calls the address that lies in memory. */
  callIndirect(target: Memory): void {
    this.#withMemory([0xff], 2, target);
  }

  push(source: Reg): void {
    this.#rex(0, 0, source);
    this.#code.byte(0x50 | (source & 7));
  }

  pop(target: Reg): void {
    this.#rex(0, 0, target);
    this.#code.byte(0x58 | (target & 7));
  }

  return(): void {
    this.#code.byte(0xc3);
  }

  /** Jumps back are short where they can be; jumps ahead take the long form, since their length is unknown. */
  #branch(short: readonly number[], long: readonly number[], label: Label): void {
    if (label.offset !== undefined) {
      const distance = label.offset - (this.#code.length + short.length + 1);
      if (distance >= -128) {
        for (const byte of short) this.#code.byte(byte);
        this.#code.byte(distance);
        return;
      }
    }
    for (const byte of long) this.#code.byte(byte);
    const field = this.#code.length;
    this.#code.dword(label.offset === undefined ? 0 : label.offset - (field + 4));
    if (label.offset === undefined) label.pending.push(field);
  }

  #withRegister(opcode: number, extension: number, target: Reg, width?: Width): void {
    this.#rex(0, 0, target, width);
    this.#code.byte(opcode);
    this.#code.byte(0xc0 | (extension << 3) | (target & 7));
  }

  /** add, or, …, cmp with an immediate; `extension` selects which. */
  #immediateGroup(extension: number, target: Reg, value: number, width?: Width): void {
    const isShort = value >= -128 && value <= 127;
    this.#withRegister(isShort ? 0x83 : 0x81, extension, target, width);
    if (isShort) this.#code.byte(value);
    else this.#code.dword(value);
  }

  /**
   * REX 0x40 | W << 3 | R << 2 | X << 1 | B: W for 64 bits, the others are the fourth bits of the register numbers.
   * A byte register from the fourth on needs it too: without, sil and dil would be dh and bh.
   */
  #rex(reg: number, index: number, base: number, { isByte = false, isQword = false }: Width = {}): void {
    const wide = isQword ? 1 << 3 : 0;
    const rex = wide | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3);
    if (rex !== 0 || (isByte && reg >= 4)) this.#code.byte(0x40 | rex);
  }

  /** An instruction of one register (or opcode extension) and one memory operand. */
  #withMemory(opcode: readonly number[], reg: number, memory: Memory, width?: Width): void {
    const { base, index, displacement } = memory;
    this.#rex(reg, index ?? 0, base, width);
    for (const byte of opcode) this.#code.byte(byte);
    // mod 0 with the base rbp would mean something else, and r13 shares its low bits.
    const isBare = displacement === 0 && (base & 7) !== Reg.rbp;
    const isShort = displacement >= -128 && displacement <= 127;
    const mod = isBare ? 0 : isShort ? 1 : 2;
    // rm = 4 announces a SIB byte; with the base rsp or r12 there is no other way. Index 4 = none.
    const hasSib = index !== undefined || (base & 7) === Reg.rsp;
    this.#code.byte((mod << 6) | ((reg & 7) << 3) | (hasSib ? 4 : base & 7));
    if (hasSib) this.#code.byte((((index ?? Reg.rsp) & 7) << 3) | (base & 7));
    if (isBare) return;
    if (isShort) this.#code.byte(displacement);
    else this.#code.dword(displacement);
  }
}
