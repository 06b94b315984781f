/** The interface of a subcommand, and the input and output that it gets. */

/** Where a command writes and reads. Tests pass their own. */
export interface CommandIo {
  /** Bytes are written unchanged: a program's output need not be text. */
  stdout(text: string | Uint8Array): void;
  stderr(text: string): void;
  /** All of standard input, as bytes; empty where it is a terminal. */
  readStdin(): Uint8Array;
  /** Whether standard input is a terminal: nothing is read from it then. */
  readonly isStdinTerminal?: boolean;
  /** The columns of the terminal that stdout is; absent where it is no terminal. Lines are broken there, between words. */
  readonly columns?: number | undefined;
  /** The columns of the terminal that stderr is. */
  readonly stderrColumns?: number | undefined;
  /** Whether stderr is a terminal: progress is shown there, and nowhere else. */
  readonly isStderrTerminal?: boolean;
  /** True where stdout is a terminal that shows colour (and NO_COLOR is not set). */
  readonly color: boolean;
  /** True where stderr shows colour, for commands whose report goes there; absent: no colour. */
  readonly stderrColor?: boolean;
  /** Present where standard input and stdout are one. */
  readonly terminal?: InteractiveTerminal | undefined;
}

/** A terminal that a command may take for itself. */
export interface InteractiveTerminal {
  readonly columns: number;
  readonly rows: number;
  write(text: string): void;
  /**
   * Takes the whole terminal: keys come one by one, and what was on it comes back at the end. Returns what ends that;
   * whatever else ends the process does it too.
   */
  take(onKey: (key: string) => void, onResize: () => void): () => void;
}

/** A subcommand of `jit-allocator`. */
export interface Command {
  /** The whole text of `--help`. */
  readonly help: string;
  /**
   * Runs the command.
   * @returns the exit code: 0 done, 1 the work failed, 2 the command line was wrong.
   * @throws UsageError where the command line is wrong; the caller prints it, and exits with 2.
   */
  run(args: readonly string[], io: CommandIo): number | Promise<number>;
}
