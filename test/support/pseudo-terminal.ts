/** Runs a program on a terminal of its own, which Python makes: keys go in, and the size of the terminal changes. */
import { spawn } from "node:child_process";

/** Reads lines of JSON: keys, or a size. What the program writes is written on; at the end comes its status. */
const SCRIPT = `
import fcntl, json, os, pty, select, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
def resize(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
resize(30, 100)
pending = b""
sources = [terminal, 0]
while True:
    ready = select.select(sources, [], [])[0]
    if terminal in ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            break
        os.write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            sources.remove(0)
        pending += data
        while b"\\n" in pending:
            line, pending = pending.split(b"\\n", 1)
            what = json.loads(line)
            if isinstance(what, str):
                os.write(terminal, what.encode())
            else:
                resize(*what)
status = os.waitpid(pid, 0)[1]
os.write(1, ("\\nstatus %d" % os.waitstatus_to_exitcode(status)).encode())
`;

/** A program on a terminal of 30 rows and 100 columns. */
export interface OnTerminal {
  /** Waits until what the program has written since the last wait has a text, and returns that. */
  until(text: string | RegExp): Promise<string>;
  press(keys: string): void;
  resize(rows: number, columns: number): void;
  /** Everything that it has written, and its status as the last line. */
  readonly ended: Promise<string>;
}

/** Starts it. */
export function onTerminal(program: string, args: readonly string[]): OnTerminal {
  const running = spawn("python3", ["-c", SCRIPT, program, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, TERM: "xterm", NO_COLOR: "" },
  });
  let all = "";
  let seen = 0;
  let look = (): void => undefined;
  running.stdout.setEncoding("utf8").on("data", (text: string) => {
    all += text;
    look();
  });
  const send = (what: unknown): void => void running.stdin.write(`${JSON.stringify(what)}\n`);
  const ended = new Promise<string>((resolve) => {
    running.on("close", () => {
      look();
      resolve(all);
    });
  });
  return {
    until: (text) =>
      new Promise((resolve, reject) => {
        look = () => {
          const found = typeof text === "string" ? all.indexOf(text, seen) : all.slice(seen).search(text);
          if (found < 0) return;
          look = () => undefined;
          const part = all.slice(seen);
          seen = all.length;
          resolve(part);
        };
        void ended.then(() => reject(new Error(`it has ended, and not written ${String(text)}: ${all}`)));
        look();
      }),
    press: send,
    resize: (rows, columns) => send([rows, columns]),
    ended,
  };
}
