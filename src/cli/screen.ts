/** The terminal as a screen that a command has for itself, and gives back as it was. */
import type { InteractiveTerminal } from "./command.ts";

const ESCAPE = "\x1b";

/** The other screen, without a cursor; and back. */
const TAKE = `${ESCAPE}[?1049h${ESCAPE}[?25l`;
const GIVE_BACK = `${ESCAPE}[?25h${ESCAPE}[?1049l`;

/** One key: an escape sequence, or a character. */
const KEYS = new RegExp(`${ESCAPE}\\[[0-9;]*[A-Za-z~]|${ESCAPE}O[A-Z]|[\\s\\S]`, "gu");

/** Signals that end the process, and the status that tells of them. */
const ENDS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** The terminal of two streams; undefined where one of them is none. */
export function terminalOf(
  input: NodeJS.ReadStream,
  output: NodeJS.WriteStream,
): InteractiveTerminal | undefined {
  if (!input.isTTY || !output.isTTY) return undefined;
  return {
    get columns() {
      return output.columns;
    },
    get rows() {
      return output.rows;
    },
    write: (text) => void output.write(text),
    take: (onKey, onResize) => take(input, output, onKey, onResize),
  };
}

function take(
  input: NodeJS.ReadStream,
  output: NodeJS.WriteStream,
  onKey: (key: string) => void,
  onResize: () => void,
): () => void {
  const read = (text: string): void => {
    for (const [key] of text.matchAll(KEYS)) onKey(key);
  };
  let isTaken = true;
  const giveBack = (): void => {
    if (!isTaken) return;
    isTaken = false;
    for (const [signal, end] of ends) process.off(signal, end);
    process.off("exit", giveBack);
    output.off("resize", onResize);
    input.off("data", read);
    input.setRawMode(false);
    input.pause();
    output.write(GIVE_BACK);
  };
  const ends = Object.entries(ENDS).map(([signal, status]) => {
    const end = (): void => {
      giveBack();
      process.exit(status);
    };
    process.on(signal, end);
    return [signal, end] as const;
  });
  process.on("exit", giveBack);
  output.on("resize", onResize);
  input.setEncoding("utf8");
  input.setRawMode(true);
  input.on("data", read);
  input.resume();
  output.write(TAKE);
  return giveBack;
}
