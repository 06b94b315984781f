import type { Memory } from "./assembler-x64.ts";
import { Condition, Label, Reg, X64Assembler } from "./assembler-x64.ts";
import type { Backend, EmittedFunction, FunctionJob } from "./backend.ts";
import { Op, STRIDE } from "./ir.ts";
import { KnownCells } from "./known-cells.ts";
import { OUTPUT_CAPACITY_BYTES, Register } from "./machine.ts";

/**
 * The registers that compiled code has under a calling convention: those of its four pointer arguments, and those it may
 * use besides. Functions of loops find and leave the machine in them when they call each other, and return in rax; the
 * stack need not be aligned until the callback is called.
 */
interface Convention {
  readonly tape: Reg;
  readonly registers: Reg;
  readonly output: Reg;
  readonly input: Reg;
  /** The index of the cell pointed at: 32 bits with zeros above, so that the register can index. */
  readonly pointer: Reg;
  readonly budget: Reg;
  readonly outputLength: Reg;
  /** Hold a value for no longer than one instruction of the intermediate representation; the first is rax. */
  readonly scratch: Reg;
  readonly scratch2: Reg;
  /** The registers among these that the code must save for its caller; at most four. */
  readonly saved: readonly Reg[];
}

/** Linux and macOS: rax and r8 to r11 besides the arguments are the callee's, so that nothing needs saving. */
const systemV: Convention = {
  tape: Reg.rdi,
  registers: Reg.rsi,
  output: Reg.rdx,
  input: Reg.rcx,
  pointer: Reg.r8,
  budget: Reg.r9,
  outputLength: Reg.r10,
  scratch: Reg.rax,
  scratch2: Reg.r11,
  saved: [],
};

/** Windows: of the registers needed, rsi and rdi must be saved for the caller. */
const windows: Convention = {
  tape: Reg.rcx,
  registers: Reg.rdx,
  output: Reg.r8,
  input: Reg.r9,
  pointer: Reg.r10,
  budget: Reg.r11,
  outputLength: Reg.rsi,
  scratch: Reg.rax,
  scratch2: Reg.rdi,
  saved: [Reg.rsi, Reg.rdi],
};

/** The end of a function, and what aligns its first loop in line, with room to spare. */
const FRAME_BYTES = 32 + 64;
/** An instruction takes 4 to 28 bytes, its exit 6 more; measured on the programs shipped, 13 on average. */
const INSTRUCTION_BYTES = 20;
/** Loops begin at a line of the cache, as functions do: the programs that ship run 5% faster so. */
const LOOP_ALIGNMENT_BYTES = 64;
/** The 32 bytes above the return address that Windows leaves to the callee; elsewhere they do no harm. */
const SHADOW_BYTES = 32;

/** x86-64, with the calling convention of the system that this runs on. */
export const x64: Backend = {
  name: "x64",
  isNative: process.arch === "x64",
  runtimeBytes: 256,
  emitCold: (code, instruction) => {
    const assembler = new X64Assembler(code);
    assembler.mov32Immediate(nativeConvention().scratch, instruction);
    assembler.return();
    return assembler.length;
  },
  emitRuntime: (code, rx, putchar) => emitRuntime(code, putchar - rx, nativeConvention()),
  guessSizeBytes: ({ instructions }) => FRAME_BYTES + instructions * INSTRUCTION_BYTES,
  emit: (job, code) => new Emitter(job, code, nativeConvention()).emit(),
};

function nativeConvention(): Convention {
  return process.platform === "win32" ? windows : systemV;
}

/** A place for a saved register: on Windows the caller leaves 32 bytes above the return address to the callee. */
function home(index: number): Memory {
  return { base: Reg.rsp, displacement: 8 + 8 * index };
}

function field({ registers }: Convention, register: number): Memory {
  return { base: registers, displacement: register * Int32Array.BYTES_PER_ELEMENT };
}

function emitRuntime(code: Uint8Array, putcharDistance: number, convention: Convention): number {
  const assembler = new X64Assembler(code);
  const { tape, registers, output, input, pointer, budget, outputLength, scratch, saved } = convention;
  const fieldOf = (register: number): Memory => field(convention, register);
  saved.forEach((register, index) => {
    assembler.store64(home(index), register);
  });
  assembler.load32(pointer, fieldOf(Register.Pointer));
  assembler.load32(budget, fieldOf(Register.Budget));
  assembler.load32(outputLength, fieldOf(Register.OutputLength));
  assembler.callIndirect(fieldOf(Register.Target));
  assembler.store32(fieldOf(Register.Exit), scratch);
  assembler.store32(fieldOf(Register.Pointer), pointer);
  assembler.store32(fieldOf(Register.Budget), budget);
  assembler.store32(fieldOf(Register.OutputLength), outputLength);
  saved.forEach((register, index) => {
    assembler.load64(register, home(index));
  });
  assembler.return();

  const flush = assembler.length;
  /** What the callback may overwrite. It changes the length of the output on purpose. */
  const kept = [tape, registers, output, input, pointer, budget];
  assembler.push(Reg.rbp);
  assembler.lea64(Reg.rbp, { base: Reg.rsp, displacement: 0 });
  for (const register of kept) assembler.push(register);
  assembler.store32(fieldOf(Register.OutputLength), outputLength);
  assembler.lea64(Reg.rsp, { base: Reg.rsp, displacement: -SHADOW_BYTES });
  assembler.and64Immediate(Reg.rsp, -16);
  assembler.call(putcharDistance);
  assembler.lea64(Reg.rsp, { base: Reg.rbp, displacement: -8 * kept.length });
  for (const register of kept.toReversed()) assembler.pop(register);
  assembler.pop(Reg.rbp);
  assembler.load32(outputLength, fieldOf(Register.OutputLength));
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
  readonly #assembler: X64Assembler;
  readonly #convention: Convention;
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

  constructor(job: FunctionJob, code: Uint8Array, convention: Convention) {
    this.#job = job;
    this.#cells = job.cells;
    this.#assembler = new X64Assembler(code);
    this.#convention = convention;
  }

  emit(): EmittedFunction {
    const assembler = this.#assembler;
    const { loop, loops } = this.#job.body;
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
    const { output, input, pointer, budget, outputLength, scratch, scratch2 } = this.#convention;
    const at = instruction * STRIDE;
    const [op, a = 0, b = 0, c = 0] = this.#job.ir.code.subarray(at, at + STRIDE);
    switch (op) {
      case Op.Guard:
        if (this.#known.guard(a, b)) this.#emitGuard(a, b, this.#exit(instruction));
        break;
      case Op.SkipIfZero:
        assembler.compare8Immediate(this.#cell(a), 0);
        assembler.jumpIf(Condition.equal, this.#target(instruction + 1 + b));
        break;
      case Op.Move:
        this.#known.move(a);
        assembler.add32Immediate(pointer, a);
        break;
      case Op.Add:
        assembler.add8Immediate(this.#cell(a), b);
        break;
      case Op.Set:
        assembler.store8Immediate(this.#cell(a), b);
        break;
      case Op.AddProduct:
        this.#emitAddProduct(a, b, c);
        break;
      case Op.Output:
        this.#emitRoomForOutput(instruction);
        assembler.load8(scratch, this.#cell(a));
        assembler.store8({ base: output, index: outputLength, displacement: 0 }, scratch);
        assembler.increment32(outputLength);
        break;
      case Op.Input:
        // Input is rare, so its position stays in memory.
        assembler.load32(scratch, this.#field(Register.InputPosition));
        assembler.compare32(scratch, this.#field(Register.InputLength));
        assembler.jumpIf(Condition.aboveOrEqual, this.#exit(instruction));
        assembler.load8(scratch2, { base: input, index: scratch, displacement: 0 });
        assembler.store8(this.#cell(a), scratch2);
        assembler.incrementMemory32(this.#field(Register.InputPosition));
        break;
      case Op.Scan: {
        const next = new Label();
        const found = new Label();
        assembler.bind(next);
        assembler.compare8Immediate(this.#cell(0), 0);
        assembler.jumpIf(Condition.equal, found);
        this.#emitGuard(Math.min(a, 0), Math.max(a, 0), this.#exit(instruction));
        assembler.add32Immediate(pointer, a);
        assembler.jump(next);
        assembler.bind(found);
        this.#known.forget();
        break;
      }
      case Op.If:
        assembler.compare8Immediate(this.#cell(0), 0);
        assembler.jumpIf(Condition.equal, this.#target(a));
        break;
      case Op.Open:
        assembler.compare8Immediate(this.#cell(0), 0);
        assembler.jumpIf(Condition.equal, this.#target(a));
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
        assembler.compare8Immediate(this.#cell(0), 0);
        assembler.jumpIf(Condition.equal, this.#target(instruction + 1));
        assembler.decrement32(budget);
        assembler.jumpIf(Condition.notSign, body);
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
    const assembler = this.#assembler;
    const { functions, rx } = this.#job;
    const target = functions.get(loop);
    if (target === undefined) return false;
    assembler.call(target - rx);
    assembler.compare32Immediate(this.#convention.scratch, 0);
    assembler.jumpIf(Condition.notEqual, this.#passOn);
    return true;
  }

  #emitRoomForOutput(instruction: number): void {
    const assembler = this.#assembler;
    const output = { instruction, full: new Label(), taken: new Label() };
    assembler.compare32Immediate(this.#convention.outputLength, OUTPUT_CAPACITY_BYTES);
    assembler.jumpIf(Condition.aboveOrEqual, output.full);
    assembler.bind(output.taken);
    this.#outputs.push(output);
  }

  /** Leaves unless 0 ≤ pointer + lowest and pointer + highest < cells. The pointer itself is on the tape. */
  #emitGuard(lowest: number, highest: number, exit: Label): void {
    const assembler = this.#assembler;
    const { pointer, scratch } = this.#convention;
    const [low, high] = [Math.min(lowest, 0), Math.max(highest, 0)];
    if (low === 0) {
      if (high >= this.#cells) assembler.jump(exit);
      assembler.compare32Immediate(pointer, this.#cells - high);
      assembler.jumpIf(Condition.aboveOrEqual, exit);
    } else if (high === 0) {
      assembler.compare32Immediate(pointer, -low);
      assembler.jumpIf(Condition.below, exit);
    } else {
      // One comparison for both ends: below the start, the sum wraps around and is huge.
      if (high - low >= this.#cells) assembler.jump(exit);
      assembler.lea32(scratch, { base: pointer, displacement: low });
      assembler.compare32Immediate(scratch, this.#cells - (high - low));
      assembler.jumpIf(Condition.aboveOrEqual, exit);
    }
  }

  #emitAddProduct(source: number, target: number, factor: number): void {
    const assembler = this.#assembler;
    const { scratch } = this.#convention;
    assembler.load8(scratch, this.#cell(source));
    if (factor === 1) {
      assembler.add8(this.#cell(target), scratch);
    } else if (factor === 0xff) {
      assembler.sub8(this.#cell(target), scratch);
    } else {
      assembler.multiply32Immediate(scratch, scratch, factor);
      assembler.add8(this.#cell(target), scratch);
    }
  }

  /** Behind the code: the calls for output, and all ways out. What is returned says where to go on. */
  #emitExits(behindLoop: number): void {
    const assembler = this.#assembler;
    const { scratch } = this.#convention;
    const finished = this.#targets.get(behindLoop);
    if (finished !== undefined) assembler.bind(finished);
    assembler.mov32Immediate(scratch, 0);
    assembler.bind(this.#passOn);
    assembler.return();
    for (const { instruction, full, taken } of this.#outputs) {
      assembler.bind(full);
      assembler.call(this.#job.flush - this.#job.rx);
      assembler.compare32Immediate(scratch, 0);
      assembler.jumpIf(Condition.notEqual, taken);
      assembler.jump(this.#exit(instruction));
    }
    for (const [instruction, label] of this.#exits) {
      assembler.bind(label);
      assembler.mov32Immediate(scratch, instruction);
      assembler.return();
    }
  }

  #cell(offset: number): Memory {
    const { tape, pointer } = this.#convention;
    return { base: tape, index: pointer, displacement: offset };
  }

  #field(register: number): Memory {
    return field(this.#convention, register);
  }

  #bindBody(instruction: number): void {
    this.#known.forget();
    this.#assembler.align(LOOP_ALIGNMENT_BYTES);
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
