/** A place in a program's text, counted from 1; columns count code points, so that an editor agrees. */
export interface SourcePosition {
  readonly line: number;
  readonly column: number;
}

/** A fault of the Brainf*** program, not of this one: its place, and what is wrong. */
export class ProgramError extends Error {
  readonly line: number;
  readonly column: number;
  /** The message without the position. */
  readonly reason: string;

  constructor(reason: string, position: SourcePosition) {
    super(`${position.line}:${position.column}: ${reason}`);
    this.name = "ProgramError";
    this.reason = reason;
    this.line = position.line;
    this.column = position.column;
  }
}

/** The position of the UTF-16 unit at `offset` in `source`. Lines end with a line feed. */
export function positionAt(source: string, offset: number): SourcePosition {
  const before = source.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  let line = 1;
  for (const character of before) if (character === "\n") line++;
  return { line, column: Array.from(before.slice(lineStart)).length + 1 };
}
