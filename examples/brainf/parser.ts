import { ProgramError, positionAt } from "./program-error.ts";

/** The eight commands. Numbers, because the tiers below dispatch on them. */
export const Command = {
  Increment: 0,
  Decrement: 1,
  Right: 2,
  Left: 3,
  Output: 4,
  Input: 5,
  Open: 6,
  Close: 7,
} as const;

const commandOfCharacter: ReadonlyMap<string, number> = new Map([
  ["+", Command.Increment],
  ["-", Command.Decrement],
  [">", Command.Right],
  ["<", Command.Left],
  [".", Command.Output],
  [",", Command.Input],
  ["[", Command.Open],
  ["]", Command.Close],
]);

/** A program as it was written: one entry a command, comments dropped. */
export interface Program {
  readonly source: string;
  /** One {@link Command} each. */
  readonly commands: Uint8Array;
  /** The offset in `source` of each command. */
  readonly offsets: Int32Array;
  /** For a bracket the index of its partner; −1 for every other command. */
  readonly partners: Int32Array;
}

/**
 * Reads a program. Every character that is not one of `+ - < > . , [ ]` is a comment.
 * @throws ProgramError at a bracket without a partner: at the first stray `]`, or at the innermost open `[`.
 */
export function parse(source: string): Program {
  const commands: number[] = [];
  const offsets: number[] = [];
  const partners: number[] = [];
  const open: number[] = [];
  for (let offset = 0; offset < source.length; offset++) {
    const command = commandOfCharacter.get(source.charAt(offset));
    if (command === undefined) continue;
    const index = commands.length;
    commands.push(command);
    offsets.push(offset);
    partners.push(-1);
    if (command === Command.Open) open.push(index);
    if (command !== Command.Close) continue;
    const partner = open.pop();
    if (partner === undefined) {
      throw new ProgramError('this "]" closes no "["', positionAt(source, offset));
    }
    partners[index] = partner;
    partners[partner] = index;
  }
  const unclosed = open.pop();
  if (unclosed !== undefined) {
    throw new ProgramError('this "[" is never closed', positionAt(source, offsets[unclosed] ?? 0));
  }
  return {
    source,
    commands: Uint8Array.from(commands),
    offsets: Int32Array.from(offsets),
    partners: Int32Array.from(partners),
  };
}
