import type { Address, JitModule, NativeCallback, Span, TypedFunction } from "jit-allocator";
import { JitAllocator, toFunction, toPointer } from "jit-allocator";
import type { Backend, EmittedFunction } from "./backend.ts";
import { CodeCache, type CodeCacheReport } from "../code-cache/cache.ts";
import { CodeBufferFull } from "./code-buffer.ts";
import type { LoopFunction } from "./functions.ts";
import { divide } from "./functions.ts";
import type { Ir } from "./ir.ts";
import type { Machine } from "./machine.ts";
import { Register } from "./machine.ts";

/** All code lies in a range of this size, within reach of a relative call of every processor: AArch64's is the shortest. */
const RANGE_BYTES = 2 ** 27;

/** The signature of the code that enters a loop's function: see {@link Backend.emitRuntime}. */
const enterSignature = { parameters: ["buffer", "buffer", "buffer", "buffer"], result: "void" } as const;
/** What compiled code calls when the output buffer is full. It returns 1, or 0 where it has thrown. */
const putcharSignature = { parameters: [], result: "i32" } as const;

/** What the compiler has done. */
export interface CompilerReport {
  /** Functions compiled and kept, each as often as that was: one a loop, except those compiled in line. */
  readonly functions: number;
  /** Bytes allocated for them before the code was known, in all. */
  readonly askedBytes: number;
  /** Bytes of their code, in all. */
  readonly codeBytes: number;
  /** Bytes the allocations kept once shrunk to the code, in all: whole granules. What was evicted later was kept at first. */
  readonly keptBytes: number;
}

/** A bound of the code that is kept. */
export interface CodeBudget {
  /** Bytes of all functions together. */
  readonly bytes: number;
  /** Called with the loops, by their indices, that have no code any more. */
  readonly onEvict: (loops: readonly number[]) => void;
}

/** A loop that has been compiled. */
interface Entry {
  /** Where its body begins. */
  readonly address: Address;
  /** The instruction behind the loop whose function it is in. */
  readonly behind: number;
}

/**
 * Compiles loops, a nest of them at a time: a function for each loop that has loops inside, linked to call each other, and
 * to call a function of TypeScript when the output buffer is full.
 *
 * Dispose of it to release all code.
 */
export class Compiler implements Disposable {
  readonly allocator: JitAllocator;
  readonly #ir: Ir;
  readonly #machine: Machine;
  readonly #backend: Backend;
  /** For each loop, by its index, the function that has its code. */
  readonly #homes: readonly LoopFunction[];
  readonly #putchar: NativeCallback;
  readonly #enter: TypedFunction<typeof enterSignature>;
  /** The address of the code that calls putchar. */
  readonly #flush: Address;
  /** By the instruction at which a loop's body starts. */
  readonly #entries = new Map<number, Entry>();
  readonly #modules: JitModule[] = [];
  /** Where there is a budget: it has all functions, and {@link #modules} the runtime alone. */
  readonly #cache: CodeCache<number> | undefined;
  /** Where there is a budget: where code calls each function, by its loop's index. */
  readonly #addresses = new Map<number, Address>();
  readonly #onEvict: (loops: readonly number[]) => void;
  #report: CompilerReport = { functions: 0, askedBytes: 0, codeBytes: 0, keptBytes: 0 };

  /** @param takeOutput empties the machine's output buffer */
  constructor(ir: Ir, machine: Machine, backend: Backend, takeOutput: () => void, budget?: CodeBudget) {
    this.allocator = new JitAllocator({ maxReservedSize: RANGE_BYTES });
    this.#onEvict = budget?.onEvict ?? (() => undefined);
    this.#ir = ir;
    this.#machine = machine;
    this.#backend = backend;
    this.#homes = divide(ir);
    this.#putchar = toPointer(() => {
      takeOutput();
      return 1;
    }, putcharSignature);
    using builder = this.allocator.module();
    const runtime = builder.code(backend.runtimeBytes, { name: "runtime" });
    const putchar = builder.veneer(this.#putchar.address);
    this.#flush = runtime.rx + backend.emitRuntime(runtime.bytes, runtime.rx, putchar);
    this.#modules.push(builder.commit());
    this.#enter = toFunction(this.allocator.query(runtime.rx), enterSignature);
    this.#cache = budget === undefined ? undefined : this.#makeCache(budget.bytes);
  }

  /** Every function can be called from the first on: the cold code of one that is not compiled goes back to the interpreter. */
  #makeCache(budgetBytes: number): CodeCache<number> {
    const { allocator } = this;
    const cache = new CodeCache<number>({ allocator, budgetBytes, onEvict: (loop) => this.#evicted(loop) });
    for (const { loop } of new Set(this.#homes)) {
      const code = new Uint8Array(16);
      const cold = code.subarray(0, this.#backend.emitCold(code, loop.open));
      this.#addresses.set(loop.index, cache.declare(loop.index, cold));
    }
    return cache;
  }

  /** What the cache of code has done; undefined where there is no budget. */
  get cacheReport(): CodeCacheReport | undefined {
    return this.#cache?.report;
  }

  /** What has been done so far. */
  get report(): CompilerReport {
    return this.#report;
  }

  /** Notes that a function was compiled and is kept. */
  #note(askedBytes: number, codeBytes: number, span: Span): void {
    const report = this.#report;
    this.#report = {
      functions: report.functions + 1,
      askedBytes: report.askedBytes + askedBytes,
      codeBytes: report.codeBytes + codeBytes,
      keptBytes: report.keptBytes + span.size,
    };
  }

  /** Compiles the nest of a loop unless that has been done. Returns the loops that can be run from now on. */
  compile(body: number): readonly number[] {
    if (this.#entries.has(body)) return [];
    const loop = this.#ir.loops.find(({ open }) => open + 1 === body);
    const home = loop === undefined ? undefined : this.#homes[loop.index];
    const nest = home?.nest;
    if (home !== undefined && this.#cache !== undefined) return this.#compileCached(this.#cache, home);
    if (nest === undefined) throw new Error(`No loop has its body at instruction ${body}`);
    const functions = [...new Set(this.#homes)].filter((each) => each.nest === nest);
    for (let guessFactor = 1; !this.#link(functions, guessFactor); guessFactor *= 2);
    return functions.flatMap(({ loops }) => loops.map(({ index }) => index));
  }

  /** Compiles one function, as long as it fits in the budget. */
  #compileCached(cache: CodeCache<number>, body: LoopFunction): readonly number[] {
    const backend = this.#backend;
    const functions = this.#addresses;
    let emitted: EmittedFunction | undefined;
    let askedBytes = 0;
    const hot = cache.compile(body.loop.index, backend.guessSizeBytes(body), (code, rx) => {
      const job = { ir: this.#ir, body, cells: this.#machine.tape.length, rx, functions, flush: this.#flush };
      try {
        emitted = backend.emit(job, code);
        askedBytes = code.length;
        return emitted.sizeBytes;
      } catch (error) {
        if (error instanceof CodeBufferFull) return undefined;
        throw error;
      }
    });
    if (hot === undefined || emitted === undefined) return [];
    this.#note(askedBytes, emitted.sizeBytes, hot);
    for (const [loop, offset] of emitted.entries) {
      const open = this.#ir.loops[loop]?.open ?? 0;
      this.#entries.set(open + 1, { address: hot.rx + offset, behind: body.loop.close + 1 });
    }
    return body.loops.map(({ index }) => index);
  }

  /** A function has no code any more: the interpreter counts its loops again. */
  #evicted(home: number): void {
    const loops = this.#homes[home]?.loops ?? [];
    for (const { open } of loops) this.#entries.delete(open + 1);
    this.#onEvict(loops.map(({ index }) => index));
  }

  /** The loops whose code is where that of a loop is: they are hot, and cold, together. */
  loopsWith(body: number): readonly number[] {
    const loop = this.#ir.loops.find(({ open }) => open + 1 === body);
    return (loop === undefined ? undefined : this.#homes[loop.index])?.loops.map(({ index }) => index) ?? [];
  }

  /** Whether a loop's body has code to run. Notes that it is used. */
  has(body: number): boolean {
    const [loop] = this.loopsWith(body);
    if (this.#cache !== undefined && loop !== undefined)
      this.#cache.use(this.#homes[loop]?.loop.index ?? loop);
    return this.#entries.has(body);
  }

  /** Runs the machine from the body of a compiled loop, where it stands, to where the interpreter has to go on. */
  run(body: number): void {
    const entry = this.#entries.get(body);
    if (entry === undefined) throw new Error(`No compiled loop has its body at instruction ${body}`);
    const machine = this.#machine;
    const { registers } = machine;
    machine.target = entry.address;
    registers[Register.Exit] = body;
    try {
      this.#enter(machine.tape, registers, machine.output, machine.input);
    } finally {
      // Also where taking the output has thrown: the machine is whole, and can go on.
      const exit = registers[Register.Exit] ?? 0;
      machine.instruction = exit === 0 ? entry.behind : exit;
    }
  }

  [Symbol.dispose](): void {
    this.#cache?.[Symbol.dispose]();
    this.allocator[Symbol.dispose]();
    this.#putchar[Symbol.dispose]();
  }

  /**
   * Allocates a guessed size for each function, emits them all for where they will be, and shrinks each to the size used.
   * @returns false where a guess was too small; nothing is left then.
   */
  #link(functions: readonly LoopFunction[], guessFactor: number): boolean {
    const backend = this.#backend;
    using builder = this.allocator.module();
    const parts = functions.map((body) => {
      const name = `loop_at_${body.loop.open}`;
      return { body, part: builder.code(backend.guessSizeBytes(body) * guessFactor, { name }) };
    });
    const addresses = new Map(parts.map(({ body, part }) => [body.loop.index, part.rx]));
    const emitted: EmittedFunction[] = [];
    try {
      for (const { body, part } of parts) {
        const { rx, bytes } = part;
        const cells = this.#machine.tape.length;
        const job = { ir: this.#ir, body, cells, rx, functions: addresses, flush: this.#flush };
        emitted.push(backend.emit(job, bytes));
      }
    } catch (error) {
      if (error instanceof CodeBufferFull) return false;
      throw error;
    }
    const linked = builder.commit();
    this.#modules.push(linked);
    emitted.forEach(({ sizeBytes, entries }, index) => {
      const span = linked.spans[index];
      const behind = (functions[index]?.loop.close ?? 0) + 1;
      if (span === undefined) throw new Error("A module has a span for each part");
      const askedBytes = span.size;
      span.shrink(sizeBytes);
      this.#note(askedBytes, sizeBytes, span);
      for (const [loop, offset] of entries) {
        const open = this.#ir.loops[loop]?.open ?? 0;
        this.#entries.set(open + 1, { address: span.rx + offset, behind });
      }
    });
    return true;
  }
}
