import type { JitAllocator } from "jit-allocator";
import type { Backend } from "./backend.ts";
import type { CompilerReport } from "./compiler.ts";
import { Compiler } from "./compiler.ts";
import type { CodeCacheReport } from "../code-cache/cache.ts";
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

/** A count that no loop gets hot from. */
const STAYS_COLD = -0x7fff_ffff;

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
  /** Bytes that compiled code may take; what does not fit is evicted, and interpreted. Default: no bound. */
  readonly codeBudget?: number | undefined;
  /** Receives the program's output, piece by piece, and may keep the array. */
  readonly onOutput?: (bytes: Uint8Array) => void;
}

/**
 * A just-in-time compiler for Brainf***: interprets and counts until a loop gets hot, compiles the nest that it lies in, and
 * enters the machine code from then on, which calls a function of TypeScript when the output buffer is full. Whenever the
 * machine code cannot go on, the interpreter does.
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
  readonly #ir: Ir;
  readonly #compiler: Compiler | undefined;
  readonly #hotThreshold: number;
  readonly #onOutput: (bytes: Uint8Array) => void;
  readonly #counts: LoopCounts;
  #isDone = false;

  constructor(program: Program, options: EngineOptions = {}) {
    this.#ir = optimise(program);
    this.machine = new Machine(options.cells, options.input);
    this.#hotThreshold = options.backend === undefined ? NEVER_HOT : (options.hotThreshold ?? HOT_THRESHOLD);
    this.#onOutput = options.onOutput ?? (() => undefined);
    this.#counts = new Int32Array(this.#ir.loops.length);
    if (options.backend !== undefined) {
      const takeOutput = this.#flush.bind(this);
      const onEvict = (loops: readonly number[]): void => {
        for (const loop of loops) this.#counts[loop] = 0;
      };
      const { codeBudget } = options;
      const budget = codeBudget === undefined ? undefined : { bytes: codeBudget, onEvict };
      this.#compiler = new Compiler(this.#ir, this.machine, options.backend, takeOutput, budget);
    }
  }

  /** Holds the compiled loops; undefined where nothing is to be compiled. */
  get allocator(): JitAllocator | undefined {
    return this.#compiler?.allocator;
  }

  /** What the cache of code has done so far; undefined where its size has no bound. */
  get cacheReport(): CodeCacheReport | undefined {
    return this.#compiler?.cacheReport;
  }

  /** What the compiler has done so far. */
  get report(): CompilerReport {
    return this.#compiler?.report ?? { functions: 0, askedBytes: 0, codeBytes: 0, keptBytes: 0 };
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
    this.#compiler?.[Symbol.dispose]();
  }

  #runCompiled(body: number): void {
    const compiler = this.#compiler;
    if (compiler === undefined) throw new Error("A loop is hot though nothing is compiled");
    // All loops of the nest are as good as hot.
    for (const loop of compiler.compile(body)) this.#counts[loop] = this.#hotThreshold;
    if (compiler.has(body)) compiler.run(body);
    // Too large for the budget: it stays cold.
    else for (const loop of compiler.loopsWith(body)) this.#counts[loop] = STAYS_COLD;
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
