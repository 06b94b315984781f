/** Shows how far something has come that takes longer than a second: one line on a terminal, and nothing anywhere else. */

import type { CommandIo } from "./command.ts";

/** Milliseconds: before that, nothing is shown, and then not more often. */
const FIRST_MS = 1000;
const NEXT_MS = 250;

/** Goes back to the start of the line and clears it. */
const CLEAR = "\r\u001b[K";

/** Where a progress goes. */
export interface ProgressStream {
  /** Whether it is a terminal: else nothing is shown. */
  readonly isTerminal: boolean;
  /** The columns of the terminal; a longer line is cut, since a broken one cannot be cleared. */
  readonly columns?: number | undefined;
  write(text: string): void;
}

/** The standard error of a command. */
export function progressOn(io: CommandIo): ProgressStream {
  const write = (text: string): void => io.stderr(text);
  return { isTerminal: io.isStderrTerminal === true, columns: io.stderrColumns, write };
}

/** The standard error of this process. */
export const standardError: ProgressStream = {
  get isTerminal(): boolean {
    return process.stderr.isTTY;
  },
  get columns(): number {
    return process.stderr.columns;
  },
  write: (text) => void process.stderr.write(text),
};

/** One progress. Dispose it before anything else is printed: that clears its line. */
export class Progress implements Disposable {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #nextMs: number;
  #isShown = false;

  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
    this.#nextMs = now() + FIRST_MS;
  }

  /** Shows a line, if it is time to. `text` is only made then. */
  show(text: () => string): void {
    if (!this.#stream.isTerminal) return;
    const now = this.#now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + NEXT_MS;
    this.#isShown = true;
    this.#stream.write(CLEAR + text().slice(0, Math.max(0, (this.#stream.columns ?? Infinity) - 1)));
  }

  /** Clears the line. A later {@link show} begins anew. */
  [Symbol.dispose](): void {
    if (this.#isShown) this.#stream.write(CLEAR);
    this.#isShown = false;
  }
}
