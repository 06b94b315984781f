import type { Address, JitModule, NativeCallback, Span, TypedFunction } from "jit-allocator";
import { JitAllocator, toFunction, toPointer } from "jit-allocator";
import type { Backend, EmittedFunction } from "./backend.ts";
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
  /** Functions compiled: one a loop, except those compiled in line. */
  readonly functions: number;
  /** Bytes allocated before the code was known, in all. */
  readonly askedBytes: number;
  /** Bytes of code emitted. */
  readonly codeBytes: number;
  /** Bytes the allocations kept once shrunk to the code: whole granules. */
  readonly keptBytes: number;
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
  readonly allocator = new JitAllocator({ maxReservedSize: RANGE_BYTES });
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
  #functions: readonly Span[] = [];
  #askedBytes = 0;
  #codeBytes = 0;

  /** @param takeOutput empties the machine's output buffer */
  constructor(ir: Ir, machine: Machine, backend: Backend, takeOutput: () => void) {
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
  }

  /** What has been done so far. */
  get report(): CompilerReport {
    return {
      functions: this.#functions.length,
      askedBytes: this.#askedBytes,
      codeBytes: this.#codeBytes,
      keptBytes: this.#functions.reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** Compiles the nest of a loop unless that has been done. Returns the loops that can be run from now on. */
  compile(body: number): readonly number[] {
    if (this.#entries.has(body)) return [];
    const loop = this.#ir.loops.find(({ open }) => open + 1 === body);
    const nest = loop === undefined ? undefined : this.#homes[loop.index]?.nest;
    if (nest === undefined) throw new Error(`No loop has its body at instruction ${body}`);
    const functions = [...new Set(this.#homes)].filter((each) => each.nest === nest);
    for (let guessFactor = 1; !this.#link(functions, guessFactor); guessFactor *= 2);
    return functions.flatMap(({ loops }) => loops.map(({ index }) => index));
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
    this.#functions = [...this.#functions, ...linked.spans];
    emitted.forEach(({ sizeBytes, entries }, index) => {
      const span = linked.spans[index];
      const behind = (functions[index]?.loop.close ?? 0) + 1;
      if (span === undefined) throw new Error("A module has a span for each part");
      this.#askedBytes += span.size;
      this.#codeBytes += sizeBytes;
      span.shrink(sizeBytes);
      for (const [loop, offset] of entries) {
        const open = this.#ir.loops[loop]?.open ?? 0;
        this.#entries.set(open + 1, { address: span.rx + offset, behind });
      }
    });
    return true;
  }
}
