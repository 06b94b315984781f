import type { Ir } from "./ir.ts";
import { Op, STRIDE } from "./ir.ts";
import type { Machine } from "./machine.ts";
import { OUTPUT_CAPACITY_BYTES, Register } from "./machine.ts";

/** The reason why {@link interpret} returned. */
export type Stop =
  | "done"
  /**
   * The next few commands lead off the tape. {@link runPrecisely} from the command of `machine.instruction` tells where;
   * it never fails to throw.
   */
  | "off-tape"
  /** The budget of loop iterations is used up. */
  | "budget"
  /** The output buffer is full: take the output. */
  | "output-full"
  /** A loop that has iterated often enough is about to begin its body, at `machine.instruction`. */
  | "hot";

/** Counts that are never reached: everything is interpreted. */
export const NEVER_HOT = 0x7fff_ffff;

/** For each loop, how often it has gone back to its start. */
export type LoopCounts = Int32Array;

/**
 * Interprets from where the machine stands.
 * @param counts one counter a loop of `ir`; a loop counted up to `hotThreshold` is reported each time it begins.
 * Except after "done" and "off-tape" it can be called again to go on.
 */
export function interpret(ir: Ir, machine: Machine, counts: LoopCounts, hotThreshold: number): Stop {
  const { code } = ir;
  const { tape, registers, output, input } = machine;
  const cells = tape.length;
  const inputLength = registers[Register.InputLength] ?? 0;
  // Kept in locals while the loop runs: fields of the machine are memory, which any call could change.
  let pointer = registers[Register.Pointer] ?? 0;
  let budget = registers[Register.Budget] ?? 0;
  let outputLength = registers[Register.OutputLength] ?? 0;
  let inputPosition = registers[Register.InputPosition] ?? 0;
  let at = machine.instruction * STRIDE;

  let reason: Stop;

  running: for (;;) {
    const a = code[at + 1] ?? 0;
    switch (code[at]) {
      case Op.Guard:
        if (pointer + a < 0 || pointer + (code[at + 2] ?? 0) >= cells) {
          pointer += code[at + 3] ?? 0;
          reason = "off-tape";
          break running;
        }
        break;
      case Op.SkipIfZero:
        if (tape[pointer + a] === 0) at += (code[at + 2] ?? 0) * STRIDE;
        break;
      case Op.Move:
        pointer += a;
        break;
      case Op.Add:
        tape[pointer + a] = (tape[pointer + a] ?? 0) + (code[at + 2] ?? 0);
        break;
      case Op.Set:
        tape[pointer + a] = code[at + 2] ?? 0;
        break;
      case Op.AddProduct: {
        const target = pointer + (code[at + 2] ?? 0);
        tape[target] = (tape[target] ?? 0) + (tape[pointer + a] ?? 0) * (code[at + 3] ?? 0);
        break;
      }
      case Op.Output:
        if (outputLength >= OUTPUT_CAPACITY_BYTES) {
          reason = "output-full";
          break running;
        }
        output[outputLength++] = tape[pointer + a] ?? 0;
        break;
      case Op.Input:
        tape[pointer + a] = inputPosition < inputLength ? (input[inputPosition++] ?? 0) : 0;
        break;
      case Op.Scan:
        while (tape[pointer] !== 0) {
          if (pointer + a < 0 || pointer + a >= cells) {
            reason = "off-tape";
            break running;
          }
          pointer += a;
        }
        break;
      case Op.Open:
        if (tape[pointer] === 0) {
          at = a * STRIDE;
          continue;
        }
        if ((counts[code[at + 2] ?? 0] ?? 0) >= hotThreshold) {
          at += STRIDE;
          reason = "hot";
          break running;
        }
        break;
      case Op.If:
        if (tape[pointer] === 0) {
          at = a * STRIDE;
          continue;
        }
        break;
      case Op.Close:
        if (tape[pointer] !== 0) {
          if (budget <= 0) {
            reason = "budget";
            break running;
          }
          budget--;
          at = a * STRIDE;
          const loop = code[at - STRIDE + 2] ?? 0;
          const count = (counts[loop] ?? 0) + 1;
          counts[loop] = count;
          if (count >= hotThreshold) {
            reason = "hot";
            break running;
          }
          continue;
        }
        break;
      default:
        reason = "done";
        break running;
    }
    at += STRIDE;
  }
  // Not done in a closure, which would keep the locals in memory.
  registers[Register.Pointer] = pointer;
  registers[Register.Budget] = budget;
  registers[Register.OutputLength] = outputLength;
  registers[Register.InputPosition] = inputPosition;
  machine.instruction = at / STRIDE;
  return reason;
}
