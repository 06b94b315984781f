/**
 * The instructions of AArch64 that filters need: no assembler on npm has both a licence that suits everybody and NEON.
 * Registers are numbers. Number 31 is the stack pointer as a base, and zero elsewhere.
 */

/** The base of the stack, and zero. */
export const SP = 31;
const ZERO = 31;

/** Two lanes of doubles: target, left, right. */
export const TwoOperands = {
  fadd: 0x4e60_d400,
  fsub: 0x4ee0_d400,
  fmul: 0x6e60_dc00,
  fdiv: 0x6e60_fc00,
  /** target - left * right */
  fmls: 0x4ee0_cc00,
  and: 0x4e20_1c00,
  orr: 0x4ea0_1c00,
  fcmeq: 0x4e60_e400,
  fcmge: 0x6e60_e400,
  fcmgt: 0x6ee0_e400,
} as const;

/** Two lanes: target, source. */
export const OneOperand = {
  /** Doubles of the lower two integers of 64 bits. */
  scvtf: 0x4e61_d800,
  /** Integers of 64 bits of the lower two of 32 bits. */
  sshll: 0x0f20_a400,
  fneg: 0x6ee0_f800,
  fabs: 0x4ee0_f800,
  frintz: 0x4ee1_9800,
  not: 0x6e20_5800,
} as const;

/** The conditions after a comparison of signed numbers. */
export const Condition = { greater: 0xc, lessOrEqual: 0xd } as const;

/** A place in the code. */
export class Label {
  offset: number | undefined;
  /** Instructions that wait for the offset: where they are, and what adds the distance in bytes to them. */
  readonly pending: { readonly offset: number; readonly encode: (bytes: number) => number }[] = [];
}

const IMMEDIATE_LIMIT = 4096;

export class Arm64Assembler {
  readonly #words: number[] = [];

  get length(): number {
    return this.#words.length * 4;
  }

  bind(label: Label): void {
    label.offset = this.length;
    for (const { offset, encode } of label.pending) {
      const index = offset / 4;
      this.#words[index] = (this.#words[index] ?? 0) | encode(this.length - offset);
    }
    label.pending.length = 0;
  }

  two(name: keyof typeof TwoOperands, target: number, left: number, right: number): void {
    this.#word(TwoOperands[name] | (right << 16) | (left << 5) | target);
  }

  one(name: keyof typeof OneOperand, target: number, source: number): void {
    this.#word(OneOperand[name] | (source << 5) | target);
  }

  /** A vector of 16 bytes; the offset is a multiple of 16, below 65,536. */
  loadVector(target: number, base: number, offset: number): void {
    this.#vectorAccess(0x3dc0_0000, target, base, offset);
  }

  /** As {@link loadVector}. */
  storeVector(source: number, base: number, offset: number): void {
    this.#vectorAccess(0x3d80_0000, source, base, offset);
  }

  /** The lower half of a vector; the rest becomes zero. */
  loadHalfVector(target: number, base: number): void {
    this.#word(0xfd40_0000 | (base << 5) | target);
  }

  /** Eight bytes; the offset is a multiple of 8. */
  load64(target: number, base: number, offset: number): void {
    this.#word(0xf940_0000 | ((offset / 8) << 10) | (base << 5) | target);
  }

  /** Four bytes at base + 4 * index. */
  store32Indexed(source: number, base: number, index: number): void {
    this.#word(0xb820_7800 | (index << 16) | (base << 5) | source);
  }

  /** A lane of 64 bits. */
  laneToRegister(target: number, source: number, lane: 0 | 1): void {
    this.#word(0x4e08_3c00 | (lane << 20) | (source << 5) | target);
  }

  /** The lower half, with zeros above it. */
  move32(target: number, source: number): void {
    this.#word(0x2a00_03e0 | (source << 16) | target);
  }

  not32(target: number, source: number): void {
    this.#word(0x2a20_03e0 | (source << 16) | target);
  }

  or64(target: number, left: number, right: number): void {
    this.#word(0xaa00_0000 | (right << 16) | (left << 5) | target);
  }

  subtract64(target: number, left: number, right: number): void {
    this.#word(0xcb00_0000 | (right << 16) | (left << 5) | target);
  }

  /** left + (right << shift) */
  addShifted64(target: number, left: number, right: number, shift: number): void {
    this.#word(0x8b00_0000 | (right << 16) | (shift << 10) | (left << 5) | target);
  }

  add32Immediate(target: number, source: number, value: number): void {
    this.#word(0x1100_0000 | (value << 10) | (source << 5) | target);
  }

  /** `value` may be negative; at most 24 bits. */
  add64Immediate(target: number, source: number, value: number): void {
    const opcode = value < 0 ? 0xd100_0000 : 0x9100_0000;
    const high = Math.floor(Math.abs(value) / IMMEDIATE_LIMIT);
    const low = Math.abs(value) % IMMEDIATE_LIMIT;
    if (high >= IMMEDIATE_LIMIT) throw new RangeError(`${value} does not fit in 24 bits`);
    if (high > 0) this.#word(opcode | 0x0040_0000 | (high << 10) | (source << 5) | target);
    if (low > 0 || high === 0)
      this.#word(opcode | (low << 10) | ((high > 0 ? target : source) << 5) | target);
  }

  compare64(left: number, right: number): void {
    this.#word(0xeb00_0000 | (right << 16) | (left << 5) | ZERO);
  }

  jump(label: Label): void {
    this.#toLabel(label, 0x1400_0000, (bytes) => (bytes >> 2) & 0x3ff_ffff);
  }

  jumpIf(condition: number, label: Label): void {
    this.#toLabel(label, 0x5400_0000 | condition, (bytes) => ((bytes >> 2) & 0x7_ffff) << 5);
  }

  jumpIfNotZero64(register: number, label: Label): void {
    this.#toLabel(label, 0xb500_0000 | register, (bytes) => ((bytes >> 2) & 0x7_ffff) << 5);
  }

  /** The address of a label within a megabyte. */
  addressOf(target: number, label: Label): void {
    this.#toLabel(
      label,
      0x1000_0000 | target,
      (bytes) => ((bytes & 3) << 29) | (((bytes >> 2) & 0x7_ffff) << 5),
    );
  }

  return(): void {
    this.#word(0xd65f_03c0);
  }

  /** Zeros up to a multiple of `bytes`, behind the last instruction. */
  align(bytes: number): void {
    while (this.length % bytes !== 0) this.#word(0);
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    const view = new DataView(bytes.buffer);
    for (const [index, word] of this.#words.entries()) view.setUint32(index * 4, word, true);
    return bytes;
  }

  #toLabel(label: Label, opcode: number, encode: (bytes: number) => number): void {
    const offset = this.length;
    if (label.offset === undefined) label.pending.push({ offset, encode });
    this.#word(opcode | (label.offset === undefined ? 0 : encode(label.offset - offset)));
  }

  #vectorAccess(opcode: number, register: number, base: number, offset: number): void {
    const scaled = offset / 16;
    if (!Number.isInteger(scaled) || scaled >= IMMEDIATE_LIMIT) {
      throw new RangeError(`There is no access to a vector at ${offset}`);
    }
    this.#word(opcode | (scaled << 10) | (base << 5) | register);
  }

  #word(word: number): void {
    this.#words.push(word >>> 0);
  }
}
