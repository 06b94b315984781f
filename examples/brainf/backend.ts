import type { Address } from "jit-allocator";
import { arm64 } from "./arm64.ts";
import type { LoopFunction } from "./functions.ts";
import type { Ir } from "./ir.ts";
import { x64 } from "./x64.ts";

/** A loop's function that is to be emitted, and the addresses that it is linked to. */
export interface FunctionJob {
  readonly ir: Ir;
  readonly body: LoopFunction;
  /** The length of the tape, which is built into the code's bounds checks. */
  readonly cells: number;
  /** Where the function will be. */
  readonly rx: Address;
  /** Where the functions of other loops begin, by the loops' indices: of those at least that this one calls. */
  readonly functions: ReadonlyMap<number, Address>;
  /** The function that takes the output: see {@link Backend.emitRuntime}. */
  readonly flush: Address;
}

/** What was emitted. */
export interface EmittedFunction {
  /** Bytes of code. */
  readonly sizeBytes: number;
  /** Where each loop in the function can be entered, by the loops' indices: how many bytes from the function's start. */
  readonly entries: ReadonlyMap<number, number>;
}

/**
 * A processor to compile for; there is one file for each beside this one.
 *
 * Each loop, or the loop around it, is a function that is linked to the others: they call each other, and keep the machine's
 * registers in those of the processor all the while. A function is entered at the body of one of its loops (the cell
 * pointed at is not 0), and returns 0 when its own loop has ended. It may be left at any other instruction: it returns that
 * instruction then, and so do all functions that have called it, and the interpreter goes on there. It has to be left at a
 * Guard that fails, at an Output that nobody takes, at an Input with nothing left to read, and at a Close with the budget
 * used up.
 */
export interface Backend {
  /** The processor's name in `process.arch`. */
  readonly name: string;
  /** True where it emits for this processor and this system's calling convention. */
  readonly isNative: boolean;
  /** Bytes that {@link emitRuntime} needs at most. */
  readonly runtimeBytes: number;
  /**
   * Writes what all functions need: at the start, a function of four pointers — the machine's tape, registers, output and
   * input — that enters the code at `Register.Target`, and leaves tape and registers as the interpreter would have;
   * elsewhere, a function for compiled code that calls the callback `putchar`.
   * @param rx where the code will be
   * @param putchar the address of a function that takes the waiting output, and returns whether it did
   * @returns how far the second function lies from the start
   */
  emitRuntime(code: Uint8Array, rx: Address, putchar: Address): number;
  /**
   * Writes code that stands for the function of a loop which has none: it returns the loop's first instruction, so that the
   * interpreter goes on there. Returns how many bytes it took, 16 at most.
   */
  emitCold(code: Uint8Array, instruction: number): number;
  /** Bytes of machine code that the function will take, roughly; more than enough in most cases. */
  guessSizeBytes(body: LoopFunction): number;
  /**
   * Writes the code of a loop's function.
   * @throws CodeBufferFull (code-buffer.ts) if `code` is too small.
   */
  emit(job: FunctionJob, code: Uint8Array): EmittedFunction;
}

const backends: readonly Backend[] = [x64, arm64];

/** The back end for this machine; undefined where there is none yet, and everything is interpreted. */
export function nativeBackend(): Backend | undefined {
  return backends.find(({ isNative }) => isNative);
}
