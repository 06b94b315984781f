/** Instructions in, machine code out, through iced-x86: labels, and the choice among its constructors by operands. */
import type { Register } from "iced-x86";
import {
  BlockEncoder,
  BlockEncoderOptions,
  Code,
  Instruction,
  MemoryOperand,
  Register as Registers,
} from "iced-x86";

/** `[base + index * scale + displacement]` */
export interface Memory {
  readonly base: Register;
  readonly index?: Register;
  readonly scale?: 1 | 2 | 4 | 8;
  readonly displacement: number;
}

/** A constant that is part of the instruction. */
export interface Immediate {
  readonly immediate: number;
}

export type Operand = Register | Memory | Immediate;

/** A place in the code: what the encoder knows an instruction by until it has an address. */
export type Label = bigint;

/** The lanes that an instruction of AVX-512 writes. The others are kept, or become zero. */
export interface Masking {
  readonly mask: Register;
  readonly zeroing: boolean;
}

/** What the encoder calls the size of a displacement: the shortest that holds it; and that of a whole address. */
const SHORTEST = 1;
const WHOLE_ADDRESS = 8;
const BITS = 64;
/** Ends the code, so that a label at its end has an instruction: int3. */
const TRAP = 0xcc;

/** The encoder takes the operand over: each use needs one of its own. */
function toMemoryOperand({ base, index, scale, displacement }: Memory): MemoryOperand {
  return new MemoryOperand(
    base,
    index ?? Registers.None,
    scale ?? 1,
    BigInt(displacement),
    displacement === 0 ? 0 : SHORTEST,
    false,
    Registers.None,
  );
}

type Kind = "R" | "M" | "I";

function kindOf(operand: Operand): Kind {
  return typeof operand === "number" ? "R" : "immediate" in operand ? "I" : "M";
}

function register(operand: Operand | undefined): Register {
  if (typeof operand !== "number") throw new TypeError("A register belongs here");
  return operand;
}

function memory(operand: Operand | undefined): MemoryOperand {
  if (typeof operand !== "object" || !("base" in operand)) throw new TypeError("Memory belongs here");
  return toMemoryOperand(operand);
}

function immediate(operand: Operand | undefined): number {
  if (typeof operand !== "object" || !("immediate" in operand)) {
    throw new TypeError("An immediate belongs here");
  }
  return operand.immediate;
}

/** iced-x86 has a constructor for each kind of operands. */
function toInstruction(code: Code, operands: readonly Operand[]): Instruction {
  const [first, second, third, fourth] = operands;
  switch (operands.map(kindOf).join("")) {
    case "":
      return Instruction.create(code);
    case "R":
      return Instruction.createReg(code, register(first));
    case "RR":
      return Instruction.createRegReg(code, register(first), register(second));
    case "RM":
      return Instruction.createRegMem(code, register(first), memory(second));
    case "MR":
      return Instruction.createMemReg(code, memory(first), register(second));
    case "RI":
      return Instruction.createRegI32(code, register(first), immediate(second));
    case "RRR":
      return Instruction.createRegRegReg(code, register(first), register(second), register(third));
    case "RRM":
      return Instruction.createRegRegMem(code, register(first), register(second), memory(third));
    case "RRI":
      return Instruction.createRegRegI32(code, register(first), register(second), immediate(third));
    case "RMI":
      return Instruction.createRegMemI32(code, register(first), memory(second), immediate(third));
    case "RRRR":
      return Instruction.createRegRegRegReg(
        code,
        ...([register(first), register(second)] as const),
        ...([register(third), register(fourth)] as const),
      );
    case "RRRI":
      return Instruction.createRegRegRegI32(
        code,
        ...([register(first), register(second), register(third)] as const),
        immediate(fourth),
      );
    case "RRMI":
      return Instruction.createRegRegMemI32(
        code,
        ...([register(first), register(second)] as const),
        memory(third),
        immediate(fourth),
      );
    default:
      throw new TypeError(`There is no constructor for the operands of ${Code[code]}`);
  }
}

export class X64Assembler {
  readonly #instructions: Instruction[] = [];
  /** Labels are numbers that no instruction without a label has: those have 0. */
  #lastLabel = 0n;
  #bound: Label | undefined;

  label(): Label {
    return ++this.#lastLabel;
  }

  /** Makes the label stand for the next instruction. */
  bind(label: Label): void {
    this.#bound = label;
  }

  emit(code: Code, ...operands: readonly Operand[]): void {
    this.#add(toInstruction(code, operands));
  }

  /** An instruction of AVX-512 that writes some lanes only. */
  emitMasked({ mask, zeroing }: Masking, code: Code, ...operands: readonly Operand[]): void {
    const instruction = toInstruction(code, operands);
    instruction.opMask = mask;
    instruction.zeroingMasking = zeroing;
    this.#add(instruction);
  }

  /** A jump or a call. */
  branch(code: Code, target: Label): void {
    this.#add(Instruction.createBranch(code, target));
  }

  /** `lea register, [rip + …]` */
  addressOf(target: Register, label: Label): void {
    const operand = new MemoryOperand(
      Registers.RIP,
      Registers.None,
      1,
      label,
      WHOLE_ADDRESS,
      false,
      Registers.None,
    );
    this.#add(Instruction.createRegMem(Code.Lea_r64_m, target, operand));
  }

  /** The machine code, which runs at any address. What was emitted is used up. */
  finish(): Uint8Array {
    this.#add(Instruction.createDeclareByte_1(TRAP));
    const encoder = new BlockEncoder(BITS, BlockEncoderOptions.None);
    try {
      for (const instruction of this.#instructions) encoder.add(instruction);
      return encoder.encode(0n);
    } finally {
      encoder.free();
      for (const instruction of this.#instructions) instruction.free();
      this.#instructions.length = 0;
    }
  }

  #add(instruction: Instruction): void {
    if (this.#bound !== undefined) instruction.ip = this.#bound;
    this.#bound = undefined;
    this.#instructions.push(instruction);
  }
}
