import type { Memory } from "./assembler-arm64.ts";
import {
  Arm64Assembler,
  Condition,
  Label,
  LEAST_DISPLACEMENT,
  MOST_DISPLACEMENT,
  Reg,
} from "./assembler-arm64.ts";
import type { Backend } from "./backend.ts";
import type { Ir, Loop } from "./ir.ts";
import { Op, STRIDE } from "./ir.ts";
import { OUTPUT_CAPACITY_BYTES, Register } from "./machine.ts";

// The procedure call standard passes the four pointers in x0 to x3, and leaves x0 to x17 to the callee: enough, so
// that nothing needs saving. x18 belongs to some systems.
const tape = Reg.x0;
const registers = Reg.x1;
const output = Reg.x2;
const input = Reg.x3;
/** The address of the cell pointed at: no access adds two registers and a displacement. */
const cellAddress = Reg.x4;
const budget = Reg.x5;
/** 32 bits with zeros above, so that the register can index. */
const outputLength = Reg.x6;
/** The instruction to go on at; the function's result is in the tape's register. */
const exitInstruction = Reg.x7;
/** Hold a value for no longer than one instruction of the intermediate representation. */
const scratch = Reg.x9;
const scratch2 = Reg.x10;
const scratch3 = Reg.x12;
/** Holds an address for one access. */
const farAddress = Reg.x11;

/** Prologue, epilogue and the exit behind the loop, with room to spare. */
const FRAME_BYTES = 128;
/** An instruction takes 4 to 36 bytes, its exit 8 more; measured on the programs shipped, 13 on average. */
const INSTRUCTION_BYTES = 20;

/** AArch64 with the procedure call standard. Systems differ only in parts of it that are not used here. */
export const arm64: Backend = {
  name: "arm64",
  isNative: process.arch === "arm64",
  guessSizeBytes: (loop) => FRAME_BYTES + (loop.close - loop.open) * INSTRUCTION_BYTES,
  emit: (ir, loop, cells, code) => new Emitter(ir, cells, code).emit(loop),
};

function field(register: number): Memory {
  return { base: registers, displacement: register * Int32Array.BYTES_PER_ELEMENT };
}

class Emitter {
  readonly #ir: Ir;
  readonly #cells: number;
  readonly #assembler: Arm64Assembler;
  /** Instructions that something jumps to, except loop bodies. */
  readonly #targets = new Map<number, Label>();
  /** The loop bodies' starts. */
  readonly #bodies = new Map<number, Label>();
  /** Ways out: the instruction to go on at, and the label of the code that says so. */
  readonly #exits = new Map<number, Label>();

  constructor(ir: Ir, cells: number, code: Uint8Array) {
    this.#ir = ir;
    this.#cells = cells;
    this.#assembler = new Arm64Assembler(code);
  }

  emit(loop: Loop): number {
    const assembler = this.#assembler;
    assembler.load32(cellAddress, field(Register.Pointer));
    assembler.add64(cellAddress, cellAddress, tape);
    assembler.load32(budget, field(Register.Budget));
    assembler.load32(outputLength, field(Register.OutputLength));
    this.#bindBody(loop.open + 1);
    for (let instruction = loop.open + 1; instruction <= loop.close; instruction++) {
      const target = this.#targets.get(instruction);
      if (target !== undefined) assembler.bind(target);
      this.#emitInstruction(instruction);
    }
    this.#emitExits(loop.close + 1);
    return assembler.length;
  }

  #emitInstruction(instruction: number): void {
    const assembler = this.#assembler;
    const at = instruction * STRIDE;
    const [op, a = 0, b = 0, c = 0] = this.#ir.code.subarray(at, at + STRIDE);
    switch (op) {
      case Op.Guard:
        this.#emitGuard(a, b, this.#exit(instruction));
        break;
      case Op.SkipIfZero:
        this.#emitJumpIfZero(a, this.#target(instruction + 1 + b));
        break;
      case Op.Move:
        assembler.add64Immediate(cellAddress, cellAddress, a);
        break;
      case Op.Add: {
        const cell = this.#cell(a);
        assembler.load8(scratch, cell);
        assembler.add32Immediate(scratch, scratch, b);
        assembler.store8(cell, scratch);
        break;
      }
      case Op.Set:
        if (b !== 0) assembler.move32Immediate(scratch, b);
        assembler.store8(this.#cell(a), b === 0 ? Reg.zero : scratch);
        break;
      case Op.AddProduct:
        this.#emitAddProduct(a, b, c);
        break;
      case Op.Output:
        assembler.compare32Immediate(outputLength, OUTPUT_CAPACITY_BYTES, scratch);
        assembler.jumpIf(Condition.higherOrSame, this.#exit(instruction));
        assembler.load8(scratch, this.#cell(a));
        assembler.store8Indexed(output, outputLength, scratch);
        assembler.add32Immediate(outputLength, outputLength, 1);
        break;
      case Op.Input:
        // Input is rare, so its position stays in memory.
        assembler.load32(scratch, field(Register.InputPosition));
        assembler.load32(scratch2, field(Register.InputLength));
        assembler.compare32(scratch, scratch2);
        assembler.jumpIf(Condition.higherOrSame, this.#exit(instruction));
        assembler.load8Indexed(scratch2, input, scratch);
        assembler.store8(this.#cell(a), scratch2);
        assembler.add32Immediate(scratch, scratch, 1);
        assembler.store32(field(Register.InputPosition), scratch);
        break;
      case Op.Scan: {
        const next = new Label();
        const found = new Label();
        assembler.bind(next);
        this.#emitJumpIfZero(0, found);
        this.#emitGuard(Math.min(a, 0), Math.max(a, 0), this.#exit(instruction));
        assembler.add64Immediate(cellAddress, cellAddress, a);
        assembler.jump(next);
        assembler.bind(found);
        break;
      }
      case Op.If:
        this.#emitJumpIfZero(0, this.#target(a));
        break;
      case Op.Open:
        this.#emitJumpIfZero(0, this.#target(a));
        this.#bindBody(instruction + 1);
        break;
      case Op.Close: {
        const body = this.#bodies.get(a);
        if (body === undefined) throw new Error("A loop ends that did not begin");
        this.#emitJumpIfZero(0, this.#target(instruction + 1));
        assembler.decrement32AndTest(budget, budget);
        assembler.jumpIf(Condition.plus, body);
        // The Close runs again when there is budget. The −1 that is left means none, as 0 does.
        assembler.jump(this.#exit(instruction));
        break;
      }
      default:
        throw new Error(`No code for operation ${op}`);
    }
  }

  /** The cell at an offset. Where no displacement reaches it, its address is computed here. */
  #cell(offset: number): Memory {
    if (offset >= LEAST_DISPLACEMENT && offset <= MOST_DISPLACEMENT) {
      return { base: cellAddress, displacement: offset };
    }
    this.#assembler.add64Immediate(farAddress, cellAddress, offset);
    return { base: farAddress, displacement: 0 };
  }

  #emitJumpIfZero(offset: number, label: Label): void {
    this.#assembler.load8(scratch, this.#cell(offset));
    this.#assembler.jumpIfZero32(scratch, label);
  }

  /** Leaves unless 0 ≤ pointer + lowest and pointer + highest < cells. The pointer itself is on the tape. */
  #emitGuard(lowest: number, highest: number, exit: Label): void {
    const assembler = this.#assembler;
    const [low, high] = [Math.min(lowest, 0), Math.max(highest, 0)];
    if (high - low >= this.#cells) {
      assembler.jump(exit);
      return;
    }
    assembler.subtract32(scratch, cellAddress, tape);
    // One comparison for both ends: below the start, the sum wraps around and is huge.
    if (low !== 0) assembler.add32Immediate(scratch, scratch, low);
    assembler.compare32Immediate(scratch, this.#cells - (high - low), scratch2);
    assembler.jumpIf(Condition.higherOrSame, exit);
  }

  #emitAddProduct(source: number, target: number, factor: number): void {
    const assembler = this.#assembler;
    assembler.load8(scratch, this.#cell(source));
    const cell = this.#cell(target);
    assembler.load8(scratch2, cell);
    if (factor === 1) {
      assembler.add32(scratch2, scratch2, scratch);
    } else if (factor === 0xff) {
      assembler.subtract32(scratch2, scratch2, scratch);
    } else {
      assembler.move32Immediate(scratch3, factor);
      assembler.multiplyAdd32(scratch2, scratch, scratch3, scratch2);
    }
    assembler.store8(cell, scratch2);
  }

  /** All ways out meet in one epilogue that stores the machine's registers, and says where to go on. */
  #emitExits(behindLoop: number): void {
    const assembler = this.#assembler;
    const epilogue = new Label();
    const finished = this.#targets.get(behindLoop);
    if (finished !== undefined) assembler.bind(finished);
    assembler.move32Immediate(exitInstruction, behindLoop);
    assembler.bind(epilogue);
    assembler.subtract32(scratch, cellAddress, tape);
    assembler.store32(field(Register.Pointer), scratch);
    assembler.store32(field(Register.Budget), budget);
    assembler.store32(field(Register.OutputLength), outputLength);
    assembler.move32(tape, exitInstruction);
    assembler.return();
    for (const [instruction, label] of this.#exits) {
      assembler.bind(label);
      assembler.move32Immediate(exitInstruction, instruction);
      assembler.jump(epilogue);
    }
  }

  #bindBody(instruction: number): void {
    this.#assembler.bind(this.#label(this.#bodies, instruction));
  }

  #target(instruction: number): Label {
    return this.#label(this.#targets, instruction);
  }

  #exit(instruction: number): Label {
    return this.#label(this.#exits, instruction);
  }

  #label(labels: Map<number, Label>, key: number): Label {
    const label = labels.get(key) ?? new Label();
    labels.set(key, label);
    return label;
  }
}
