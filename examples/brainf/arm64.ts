import type { Memory } from "./assembler-arm64.ts";
import {
  Arm64Assembler,
  Condition,
  Label,
  LEAST_DISPLACEMENT,
  MOST_DISPLACEMENT,
  Reg,
} from "./assembler-arm64.ts";
import type { Backend, EmittedFunction, FunctionJob } from "./backend.ts";
import { Op, STRIDE } from "./ir.ts";
import { KnownCells } from "./known-cells.ts";
import { OUTPUT_CAPACITY_BYTES, Register } from "./machine.ts";

// The procedure call standard passes the four pointers in x0 to x3, and leaves x0 to x17 to the callee: enough, so
// that nothing needs saving. x18 belongs to some systems. Functions of loops find and leave the machine in these registers
// when they call each other.
const tape = Reg.x0;
const registers = Reg.x1;
const output = Reg.x2;
const input = Reg.x3;
/** The address of the cell pointed at: no access adds two registers and a displacement. */
const cellAddress = Reg.x4;
const budget = Reg.x5;
/** 32 bits with zeros above, so that the register can index. */
const outputLength = Reg.x6;
/** What a loop's function returns: the instruction to go on at, or 0. */
const exitInstruction = Reg.x7;
/** Hold a value for no longer than one instruction of the intermediate representation. */
const scratch = Reg.x9;
const scratch2 = Reg.x10;
const scratch3 = Reg.x12;
/** Holds an address for one access. */
const farAddress = Reg.x11;

/** The start and the end of a function, with room to spare. */
const FRAME_BYTES = 48;
/** An instruction takes 4 to 36 bytes, its exit 12 more; measured on the programs shipped, 13 on average. */
const INSTRUCTION_BYTES = 20;

/** From the call of the code that enters a function to that code. */
const ENTER_DISTANCE_BYTES = 32;

/** AArch64 with the procedure call standard. Systems differ only in parts of it that are not used here. */
export const arm64: Backend = {
  name: "arm64",
  isNative: process.arch === "arm64",
  runtimeBytes: 256,
  emitCold: (code, instruction) => {
    const assembler = new Arm64Assembler(code);
    assembler.move32Immediate(exitInstruction, instruction);
    assembler.return();
    return assembler.length;
  },
  emitRuntime: (code, rx, putchar) => emitRuntime(code, putchar - rx),
  guessSizeBytes: ({ instructions }) => FRAME_BYTES + instructions * INSTRUCTION_BYTES,
  emit: (job, code) => new Emitter(job, code).emit(),
};

function field(register: number): Memory {
  return { base: registers, displacement: register * Int32Array.BYTES_PER_ELEMENT };
}

function emitRuntime(code: Uint8Array, putcharDistance: number): number {
  const assembler = new Arm64Assembler(code);
  assembler.pushPair(Reg.x29, Reg.x30);
  assembler.load32(cellAddress, field(Register.Pointer));
  assembler.add64(cellAddress, cellAddress, tape);
  assembler.load32(budget, field(Register.Budget));
  assembler.load32(outputLength, field(Register.OutputLength));
  assembler.load64(scratch, field(Register.Target));
  const enter = assembler.length + ENTER_DISTANCE_BYTES;
  assembler.call(enter);
  assembler.store32(field(Register.Exit), exitInstruction);
  assembler.subtract32(scratch, cellAddress, tape);
  assembler.store32(field(Register.Pointer), scratch);
  assembler.store32(field(Register.Budget), budget);
  assembler.store32(field(Register.OutputLength), outputLength);
  assembler.popPair(Reg.x29, Reg.x30);
  assembler.return();
  if (assembler.length !== enter) throw new Error(`The code to enter begins at ${assembler.length}`);
  // Functions are entered behind their start, where they have saved what they return to.
  assembler.pushPair(Reg.x29, Reg.x30);
  assembler.jumpIndirect(scratch);

  const flush = assembler.length;
  assembler.pushPair(Reg.x29, Reg.x30);
  // What the callback may overwrite. It changes the length of the output on purpose.
  assembler.pushPair(tape, registers);
  assembler.pushPair(output, input);
  assembler.pushPair(cellAddress, budget);
  assembler.store32(field(Register.OutputLength), outputLength);
  assembler.call(putcharDistance);
  assembler.move32(exitInstruction, Reg.x0);
  assembler.popPair(cellAddress, budget);
  assembler.popPair(output, input);
  assembler.popPair(tape, registers);
  assembler.popPair(Reg.x29, Reg.x30);
  assembler.load32(outputLength, field(Register.OutputLength));
  assembler.return();
  return flush;
}

/** An Output whose buffer may be full. */
interface FullOutput {
  readonly instruction: number;
  /** Where it is found to be full, and where it goes on. */
  readonly full: Label;
  readonly taken: Label;
}

class Emitter {
  readonly #job: FunctionJob;
  readonly #cells: number;
  readonly #assembler: Arm64Assembler;
  /** Instructions that something jumps to, except loop bodies. */
  readonly #targets = new Map<number, Label>();
  /** The loop bodies' starts. */
  readonly #bodies = new Map<number, Label>();
  /** Ways out: the instruction to go on at, and the label of the code that says so. */
  readonly #exits = new Map<number, Label>();
  readonly #outputs: FullOutput[] = [];
  readonly #known = new KnownCells();
  /** Passes on what a function that was called returns. */
  readonly #passOn = new Label();

  constructor(job: FunctionJob, code: Uint8Array) {
    this.#job = job;
    this.#cells = job.cells;
    this.#assembler = new Arm64Assembler(code);
  }

  emit(): EmittedFunction {
    const assembler = this.#assembler;
    const { loop, loops } = this.#job.body;
    assembler.pushPair(Reg.x29, Reg.x30);
    this.#bindBody(loop.open + 1);
    for (let instruction = loop.open + 1; instruction <= loop.close; instruction++) {
      const target = this.#targets.get(instruction);
      if (target !== undefined) assembler.bind(target);
      this.#known.arrive(instruction);
      instruction = this.#emitInstruction(instruction);
    }
    this.#emitExits(loop.close + 1);
    const entries = new Map(loops.map(({ index, open }) => [index, this.#bodies.get(open + 1)?.offset ?? 0]));
    return { sizeBytes: assembler.length, entries };
  }

  /** Returns the last instruction that it has emitted: of a loop that is called, its Close. */
  #emitInstruction(instruction: number): number {
    const assembler = this.#assembler;
    const at = instruction * STRIDE;
    const [op, a = 0, b = 0, c = 0] = this.#job.ir.code.subarray(at, at + STRIDE);
    switch (op) {
      case Op.Guard:
        if (this.#known.guard(a, b)) this.#emitGuard(a, b, this.#exit(instruction));
        break;
      case Op.SkipIfZero:
        this.#emitJumpIfZero(a, this.#target(instruction + 1 + b));
        break;
      case Op.Move:
        this.#known.move(a);
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
        this.#emitRoomForOutput(instruction);
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
        this.#known.forget();
        break;
      }
      case Op.If:
        this.#emitJumpIfZero(0, this.#target(a));
        break;
      case Op.Open:
        this.#emitJumpIfZero(0, this.#target(a));
        if (this.#emitCall(b)) {
          this.#known.forget();
          // Open goes where its loop has ended: behind the Close.
          return a - 1;
        }
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
    return instruction;
  }

  /** Calls the function of a loop. Returns false where it has none, and is compiled in line. */
  #emitCall(loop: number): boolean {
    const { functions, rx } = this.#job;
    const target = functions.get(loop);
    if (target === undefined) return false;
    this.#assembler.call(target - rx);
    this.#assembler.jumpIfNotZero32(exitInstruction, this.#passOn);
    return true;
  }

  #emitRoomForOutput(instruction: number): void {
    const assembler = this.#assembler;
    const output = { instruction, full: new Label(), taken: new Label() };
    assembler.compare32Immediate(outputLength, OUTPUT_CAPACITY_BYTES, scratch);
    assembler.jumpIf(Condition.higherOrSame, output.full);
    assembler.bind(output.taken);
    this.#outputs.push(output);
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

  /** Behind the code: the calls for output, and all ways out. What is returned says where to go on. */
  #emitExits(behindLoop: number): void {
    const assembler = this.#assembler;
    const finished = this.#targets.get(behindLoop);
    if (finished !== undefined) assembler.bind(finished);
    assembler.move32Immediate(exitInstruction, 0);
    assembler.bind(this.#passOn);
    assembler.popPair(Reg.x29, Reg.x30);
    assembler.return();
    for (const { instruction, full, taken } of this.#outputs) {
      assembler.bind(full);
      assembler.call(this.#job.flush - this.#job.rx);
      assembler.jumpIfNotZero32(exitInstruction, taken);
      assembler.jump(this.#exit(instruction));
    }
    for (const [instruction, label] of this.#exits) {
      assembler.bind(label);
      assembler.move32Immediate(exitInstruction, instruction);
      assembler.jump(this.#passOn);
    }
  }

  #bindBody(instruction: number): void {
    this.#known.forget();
    this.#assembler.bind(this.#label(this.#bodies, instruction));
  }

  /** The label of an instruction ahead, for a jump from here. */
  #target(instruction: number): Label {
    this.#known.jump(instruction);
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
