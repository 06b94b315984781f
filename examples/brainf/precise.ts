import type { Machine } from "./machine.ts";
import { OUTPUT_CAPACITY_BYTES, Register } from "./machine.ts";
import type { Program } from "./parser.ts";
import { Command } from "./parser.ts";
import { positionAt, ProgramError } from "./program-error.ts";

/** The reason why {@link runPrecisely} returned. */
export type PreciseStop = "done" | "limit" | "output-full";

/** The position of {@link runPrecisely}. */
export interface PreciseState {
  /** The next command. */
  command: number;
  /** Commands that may still run. */
  limit: number;
}

/**
 * Runs a program to the letter of the language: one command after the other, no optimisation. The faster tiers are
 * measured against it. Once one of them has seen that a stretch of the program leads off the tape, this finds the exact
 * command.
 * @throws ProgramError where the pointer leaves the tape.
 */
export function runPrecisely(program: Program, machine: Machine, state: PreciseState): PreciseStop {
  const { commands, partners } = program;
  const { tape, registers, output, input } = machine;
  for (; state.command < commands.length; state.command++, state.limit--) {
    if (state.limit <= 0) return "limit";
    const pointer = machine.pointer;
    switch (commands[state.command]) {
      case Command.Increment:
        tape[pointer] = (tape[pointer] ?? 0) + 1;
        break;
      case Command.Decrement:
        tape[pointer] = (tape[pointer] ?? 0) - 1;
        break;
      case Command.Right:
        if (pointer + 1 >= tape.length) throw offTape(program, state.command, "right", tape.length);
        registers[Register.Pointer] = pointer + 1;
        break;
      case Command.Left:
        if (pointer === 0) throw offTape(program, state.command, "left", tape.length);
        registers[Register.Pointer] = pointer - 1;
        break;
      case Command.Output: {
        const length = registers[Register.OutputLength] ?? 0;
        if (length >= OUTPUT_CAPACITY_BYTES) return "output-full";
        output[length] = tape[pointer] ?? 0;
        registers[Register.OutputLength] = length + 1;
        break;
      }
      case Command.Input: {
        const position = registers[Register.InputPosition] ?? 0;
        const isAtEnd = position >= (registers[Register.InputLength] ?? 0);
        tape[pointer] = isAtEnd ? 0 : (input[position] ?? 0);
        if (!isAtEnd) registers[Register.InputPosition] = position + 1;
        break;
      }
      case Command.Open:
        if (tape[pointer] === 0) state.command = partners[state.command] ?? 0;
        break;
      case Command.Close:
        if (tape[pointer] !== 0) state.command = partners[state.command] ?? 0;
        break;
    }
  }
  return "done";
}

function offTape(program: Program, command: number, side: "left" | "right", cells: number): ProgramError {
  const position = positionAt(program.source, program.offsets[command] ?? 0);
  return new ProgramError(
    `the pointer leaves the tape to the ${side} (the tape has ${cells} cells, and the pointer starts at the first)`,
    position,
  );
}
