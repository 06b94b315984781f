import type { Span, TypedFunction } from "jit-allocator";
import { JitAllocator, toFunction } from "jit-allocator";
import type { Backend } from "./backend.ts";
import { CodeBufferFull } from "./code-buffer.ts";
import type { LoopCounts } from "./interpreter.ts";
import { interpret, NEVER_HOT } from "./interpreter.ts";
import type { Ir } from "./ir.ts";
import { optimise } from "./ir.ts";
import { Machine, Register } from "./machine.ts";
import type { Program } from "./parser.ts";
import { runPrecisely } from "./precise.ts";

/**
 * A loop is compiled when it has gone back to its start this often: soon, because compiling takes well under a
 * millisecond.
 */
export const HOT_THRESHOLD = 1000;

/** Loop iterations between two returns of {@link Engine.run}: some ten milliseconds compiled, a third of a second interpreted. */
export const SLICE_ITERATIONS = 1 << 21;

/** The signature of compiled code: see {@link Backend}. */
const loopSignature = { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "u32" } as const;

interface CompiledLoop {
  readonly span: Span;
  readonly call: TypedFunction<typeof loopSignature>;
}

/** The options of an engine. */
export interface EngineOptions {
  /** Cells on the tape; default {@link DEFAULT_CELLS}. */
  readonly cells?: number;
  /** The program's input; default none. */
  readonly input?: Uint8Array;
  /** Compiles hot loops; undefined: everything is interpreted. */
  readonly backend?: Backend | undefined;
  /** Iterations after which a loop is hot; default {@link HOT_THRESHOLD}. */
  readonly hotThreshold?: number;
  /** Receives the program's output, piece by piece, and may keep the array. */
  readonly onOutput?: (bytes: Uint8Array) => void;
}

/** What the compiler has done. */
export interface CompilerReport {
  /** Functions compiled: one a hot loop. */
  readonly functions: number;
  /** Bytes allocated before the code was known, in all. */
  readonly askedBytes: number;
  /** Bytes of code emitted. */
  readonly codeBytes: number;
  /** Bytes the allocations kept once shrunk to the code: whole granules. */
  readonly keptBytes: number;
}

/**
 * A just-in-time compiler for Brainf***: interprets, counts, compiles each loop that gets hot, and calls the
 * machine code from then on. Whenever the machine code cannot go on, the interpreter does.
 *
 * Dispose of it to release all code.
 *
 * @example
 * ```ts
 * using engine = new Engine(parse(source), { backend: nativeBackend(), onOutput });
 * while (engine.run() === "paused");
 * ```
 */
export class Engine implements Disposable {
  readonly machine: Machine;
  /** Holds the compiled loops; undefined where nothing is to be compiled. */
  readonly allocator: JitAllocator | undefined;

  readonly #ir: Ir;
  readonly #backend: Backend | undefined;
  readonly #hotThreshold: number;
  readonly #onOutput: (bytes: Uint8Array) => void;
  readonly #counts: LoopCounts;
  /** The compiled loops, by the instruction at which the loop's body starts. */
  readonly #compiled = new Map<number, CompiledLoop>();
  #askedBytes = 0;
  #codeBytes = 0;
  #isDone = false;

  constructor(program: Program, options: EngineOptions = {}) {
    this.#ir = optimise(program);
    this.machine = new Machine(options.cells, options.input);
    this.#backend = options.backend;
    this.#hotThreshold = this.#backend === undefined ? NEVER_HOT : (options.hotThreshold ?? HOT_THRESHOLD);
    this.#onOutput = options.onOutput ?? (() => undefined);
    this.#counts = new Int32Array(this.#ir.loops.length);
    this.allocator = this.#backend === undefined ? undefined : new JitAllocator();
  }

  /** What the compiler has done so far. */
  get report(): CompilerReport {
    let keptBytes = 0;
    for (const { span } of this.#compiled.values()) keptBytes += span.size;
    return {
      functions: this.#compiled.size,
      askedBytes: this.#askedBytes,
      codeBytes: this.#codeBytes,
      keptBytes,
    };
  }

  /**
   * Runs, or goes on, until the program is done or has iterated loops `iterations` times, so that control always comes
   * back. By then all output so far has been handed on.
   * @throws ProgramError where the pointer leaves the tape; there is nothing more to run then.
   */
  run(iterations: number = SLICE_ITERATIONS): "done" | "paused" {
    const { machine } = this;
    machine.registers[Register.Budget] = iterations;
    while (!this.#isDone) {
      const stop = interpret(this.#ir, machine, this.#counts, this.#hotThreshold);
      switch (stop) {
        case "hot":
          this.#runCompiled(machine.instruction);
          break;
        case "output-full":
          this.#flush();
          break;
        case "off-tape":
          return this.#leaveTape();
        case "budget":
          this.#flush();
          return "paused";
        case "done":
          this.#isDone = true;
      }
    }
    this.#flush();
    return "done";
  }

  [Symbol.dispose](): void {
    for (const { span } of this.#compiled.values()) this.allocator?.release(span);
    this.#compiled.clear();
    this.allocator?.[Symbol.dispose]();
  }

  #runCompiled(body: number): void {
    let loop = this.#compiled.get(body);
    if (loop === undefined) {
      loop = this.#compile(body);
      this.#compiled.set(body, loop);
    }
    const { machine } = this;
    machine.instruction = loop.call(machine.tape, machine.registers, machine.output, machine.input);
  }

  /**
   * Allocates a guessed size, emits, and shrinks to the size used; where the guess is too small, it is released and
   * doubled.
   */
  #compile(body: number): CompiledLoop {
    const loop = this.#ir.loops.find(({ open }) => open + 1 === body);
    const { allocator } = this;
    const backend = this.#backend;
    if (loop === undefined || backend === undefined || allocator === undefined) {
      throw new Error(`No loop to compile has its body at instruction ${body}`);
    }
    for (let sizeBytes = backend.guessSizeBytes(loop); ; sizeBytes *= 2) {
      const span = allocator.alloc(sizeBytes, { name: `loop_at_${loop.open}` });
      try {
        const askedBytes = span.size;
        let codeBytes = 0;
        allocator.write(span, (code) => {
          codeBytes = backend.emit(this.#ir, loop, this.machine.tape.length, code);
          return codeBytes;
        });
        const call = toFunction(span, loopSignature);
        this.#askedBytes += askedBytes;
        this.#codeBytes += codeBytes;
        return { span, call };
      } catch (error) {
        allocator.release(span);
        if (!(error instanceof CodeBufferFull)) throw error;
      }
    }
  }

  /** Runs the few commands that lead off the tape one by one, for their output and for the position of the error. */
  #leaveTape(): never {
    const { machine } = this;
    const state = { command: this.#ir.commands[machine.instruction] ?? 0, limit: Infinity };
    try {
      while (runPrecisely(this.#ir.program, machine, state) === "output-full") this.#flush();
    } finally {
      this.#flush();
    }
    throw new Error("A guard refused what precise execution allows");
  }

  #flush(): void {
    if ((this.machine.registers[Register.OutputLength] ?? 0) > 0) this.#onOutput(this.machine.takeOutput());
  }
}
