import { arm64 } from "./arm64.ts";
import type { Ir, Loop } from "./ir.ts";
import { x64 } from "./x64.ts";

/**
 * A processor to compile for; there is one file for each beside this one.
 *
 * It emits a function of four pointers — the machine's tape, registers, output and input — that runs one loop from the
 * start of its body (the cell pointed at is not 0), and returns the instruction at which to go on interpreting, with tape
 * and registers as the interpreter would have left them there. It may return at any instruction; it has to at a Guard
 * that fails, at an Output with a full buffer, at an Input with nothing left to read, at a Close with the budget used up,
 * and behind its loop.
 */
export interface Backend {
  /** The processor's name in `process.arch`. */
  readonly name: string;
  /** True where it emits for this processor and this system's calling convention. */
  readonly isNative: boolean;
  /** Bytes of machine code that the loop will take, roughly; more than enough in most cases. */
  guessSizeBytes(loop: Loop): number;
  /**
   * Writes the loop's code.
   * @param cells the length of the tape, which is built into the code's bounds checks.
   * @returns the bytes used.
   * @throws CodeBufferFull (code-buffer.ts) if `code` is too small.
   */
  emit(ir: Ir, loop: Loop, cells: number, code: Uint8Array): number;
}

const backends: readonly Backend[] = [x64, arm64];

/** The back end for this machine; undefined where there is none yet, and everything is interpreted. */
export function nativeBackend(): Backend | undefined {
  return backends.find(({ isNative }) => isNative);
}
