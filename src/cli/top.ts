/** `jit-allocator top`: the heap of a running program, in the terminal. */
import type { HeapSnapshot } from "../index.ts";
import { readArgs, readInteger, UsageError } from "./args.ts";
import type { Command, CommandIo, InteractiveTerminal } from "./command.ts";
import { UnreadableFile } from "./files.ts";
import { openProcess, openSource, type SnapshotSource } from "./snapshot-source.ts";
import { frameLines, shares } from "./top-frame.ts";
import { FIRST_VIEW, KEY_HELP, ORDERS, pressed, type Order, type View } from "./top-view.ts";
import { tableLines } from "./table.ts";
import { wrap } from "./wrap.ts";

const help = `Usage: jit-allocator top PATH [options]
       jit-allocator top --pid N [options]

Shows the heap of a running program: counts, a map of all blocks, and a table
of allocations. The program is started with JIT_ALLOCATOR_VIEW=PATH, and
listens on a socket there, for its user alone. It answers between two turns
of its event loop. A second allocator of a program listens at the same path
with a number: of a.sock, that is a-2.sock.

PATH may also be a file with a snapshot as JSON.

Options:
  --pid N                  the program with this process number (Linux)
  --interval MS            milliseconds from one look to the next (default 1000)
  --sort ${ORDERS.join("|")}
                           what the table is sorted by (default size)
  --json                   print one snapshot as JSON, and end
  --help, -h               print this text

Without a terminal it prints what it sees, once. It says so where a program has
not answered after an interval, and gives up after ten.

Keys:
${tableLines(KEY_HELP, { indent: 2 }).join("\n")}

Exit codes: 0 done, 1 there is nothing to be seen, 2 the command line was
wrong.
`;

const NO_ANSWER = "no answer yet: the program is busy";
/** After so many intervals without an answer, who has no terminal waits no longer. */
const MOST_INTERVALS = 10;

/** The size of what is printed where there is no terminal. */
const PAGE = { columns: 100, rows: 40 };

interface TopRequest {
  readonly path: string | undefined;
  readonly pid: number | undefined;
  readonly interval: number;
  readonly order: Order;
  readonly json: boolean;
}

/** @returns undefined where only the help is asked for. @throws UsageError */
function parseRequest(args: readonly string[]): TopRequest | undefined {
  const { values, positionals } = readArgs(
    args,
    {
      pid: { type: "string" },
      interval: { type: "string" },
      sort: { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
    1,
  );
  if (values.help === true) return undefined;
  const [path] = positionals;
  const pid = values.pid === undefined ? undefined : readInteger("--pid", values.pid, 1, 0x7fff_ffff);
  if ((path === undefined) === (pid === undefined))
    throw new UsageError("it takes either a PATH or --pid: what is to be seen");
  const order = ORDERS.find((known) => known === (values.sort ?? "size"));
  if (order === undefined)
    throw new UsageError(`--sort takes ${ORDERS.join(", ")}, not ${JSON.stringify(values.sort)}`);
  const interval = readInteger("--interval", values.interval ?? "1000", 50, 3_600_000);
  return { path, pid, interval, order, json: values.json === true };
}

/** Shows snapshot after snapshot until somebody quits, or there are no more. */
class Top {
  readonly #source: SnapshotSource;
  readonly #terminal: InteractiveTerminal;
  readonly #request: TopRequest;
  readonly #color: boolean;
  #view: View;
  /** The last one; undefined where none has come yet. */
  #snapshot: HeapSnapshot | undefined;
  #isAsking = false;
  #timer: NodeJS.Timeout | undefined;
  #end: ((error?: Error) => void) | undefined;

  constructor(
    source: SnapshotSource,
    first: HeapSnapshot | undefined,
    request: TopRequest,
    terminal: InteractiveTerminal,
    color: boolean,
  ) {
    this.#source = source;
    this.#snapshot = first;
    this.#request = request;
    this.#terminal = terminal;
    this.#color = color;
    this.#view = { ...FIRST_VIEW, order: request.order };
  }

  /** Whether there was something to be seen. */
  get hasSeen(): boolean {
    return this.#snapshot !== undefined;
  }

  /** @param asked what the source was asked for already */
  async run(asked: Promise<HeapSnapshot>): Promise<void> {
    const ended = new Promise<void>((resolve, reject) => {
      this.#end = (error) => (error === undefined ? resolve() : reject(error));
    });
    const giveBack = this.#terminal.take(
      (key) => this.#press(key),
      () => this.#draw(),
    );
    try {
      if (!this.hasSeen) void this.#take(asked);
      this.#draw();
      this.#timer = setInterval(() => this.#ask(), this.#request.interval);
      await ended;
    } finally {
      clearInterval(this.#timer);
      giveBack();
    }
  }

  #press(key: string): void {
    const page = shares(this.#terminal.rows).table - 1;
    const view = pressed(this.#view, key, page, this.#snapshot?.spans.length ?? 0);
    if (view === undefined) {
      this.#end?.();
      return;
    }
    this.#view = view;
    this.#draw();
  }

  #ask(): void {
    if (this.#isAsking) this.#draw();
    else if (!this.#view.isPaused) void this.#take(this.#source.next());
  }

  async #take(next: Promise<HeapSnapshot>): Promise<void> {
    this.#isAsking = true;
    try {
      this.#snapshot = await next;
      this.#isAsking = false;
      this.#draw();
    } catch (error) {
      this.#end?.(asError(error));
    }
  }

  #draw(): void {
    try {
      const { columns, rows } = this.#terminal;
      const note = this.#isAsking ? NO_ANSWER : undefined;
      const lines = frameLines(this.#snapshot, this.#view, { columns, rows, color: this.#color }, note);
      this.#terminal.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
    } catch (error) {
      this.#end?.(asError(error));
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The command. */
export const top: Command = {
  help,
  async run(args: readonly string[], io: CommandIo): Promise<number> {
    const request = parseRequest(args);
    if (request === undefined) {
      io.stdout(wrap(help, io.columns));
      return 0;
    }
    let source: SnapshotSource | undefined;
    let screen: Top | undefined;
    try {
      source = request.pid === undefined ? openSource(request.path ?? "") : openProcess(request.pid);
      const asked = source.next();
      if (request.json || io.terminal === undefined) {
        const snapshot = await answerOf(asked, request, io);
        io.stdout(request.json ? `${JSON.stringify(snapshot)}\n` : page(snapshot, request, io));
        return 0;
      }
      // What cannot be seen at all is said without taking the terminal.
      const first = await within(asked, request.interval);
      screen = new Top(source, first, request, io.terminal, io.color);
      await screen.run(asked);
      return 0;
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      if (request.json) io.stdout(`${JSON.stringify({ error: { message: error.message } })}\n`);
      else io.stderr(wrap(`jit-allocator top: ${error.message}\n`, io.stderrColumns));
      // A program that has ended was seen.
      return screen?.hasSeen === true ? 0 : 1;
    } finally {
      source?.close();
    }
  },
};

/** The answer, for who has no terminal. @throws UnreadableFile where it takes too long */
async function answerOf(
  answer: Promise<HeapSnapshot>,
  { interval }: TopRequest,
  io: CommandIo,
): Promise<HeapSnapshot> {
  const early = await within(answer, interval);
  if (early !== undefined) return early;
  io.stderr(`jit-allocator top: ${NO_ANSWER}\n`);
  const late = await within(answer, (MOST_INTERVALS - 1) * interval);
  if (late !== undefined) return late;
  throw new UnreadableFile(
    `no answer in ${(MOST_INTERVALS * interval) / 1000} s: the program is busy, or stopped`,
  );
}

/** What a promise gives; undefined where it takes longer. */
async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One frame, for who has no terminal. */
function page(snapshot: HeapSnapshot, { order }: TopRequest, { columns, color }: CommandIo): string {
  const extent = { ...PAGE, ...(columns === undefined ? {} : { columns }), color };
  const lines = frameLines(snapshot, { ...FIRST_VIEW, order }, extent).slice(0, -1);
  return `${lines.join("\n").trimEnd()}\n`;
}
