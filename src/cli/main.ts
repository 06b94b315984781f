#!/usr/bin/env node
/** `jit-allocator`: finds the command, runs it, and turns its errors into one line and an exit code. */
import type { JitError } from "../index.ts";
import { UsageError } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";
import { readStandardInput } from "./files.ts";
import { terminalOf } from "./screen.ts";
import { tableLines } from "./table.ts";
import { columnsOf, ownVariables, showsColor } from "./terminal.ts";
import { describeVersions, versions } from "./version.ts";
import { wrap } from "./wrap.ts";

interface CommandEntry {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** A command is loaded when it is asked for. */
  readonly load: () => Promise<Command>;
}

const commands: readonly CommandEntry[] = [
  {
    name: "demo",
    summary: "run a Brainf*** program by a just-in-time compiler",
    load: async () => (await import("./demo.ts")).demo,
  },
  {
    name: "doctor",
    summary: "what this machine and runtime can do, and why not",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "replay",
    summary: "run an allocation trace and print what each phase costs",
    load: async () => (await import("./replay.ts")).replay,
  },
  {
    name: "top",
    summary: "look into the heap of a running program, in the terminal",
    load: async () => (await import("./top.ts")).top,
  },
  {
    name: "view",
    summary: "make a page for the browser of a snapshot or a trace: a map of the heap",
    load: async () => (await import("./view.ts")).view,
  },
];

/** The pseudo-command `help`, for the list of commands. */
const HELP_SUMMARY = { name: "help", summary: "print this text, or with a COMMAND its own" };

const help = `Usage: jit-allocator [--help] [--version] COMMAND

Commands:
${tableLines(
  [...commands, HELP_SUMMARY].map(({ name, summary }) => [name, summary]),
  { indent: 2 },
).join("\n")}

Options:
  --help, -h     print this text; after a command, the command's own
  --version, -v  print the version, the runtime and how it calls native code;
                 with --json as JSON

A terminal is shown colours, unless NO_COLOR is set or TERM is dumb.
FORCE_COLOR shows them everywhere; FORCE_COLOR=0 shows none.

Exit codes: 0 done, 1 the work failed, 2 the command line was wrong.
`;

/** Other spellings of `--help` and `--version`. */
const ALIASES: Readonly<Record<string, string>> = { "-h": "--help", "-v": "--version", version: "--version" };

/** Runs the command line and returns the exit code. Never throws. */
async function main(args: readonly string[], io: CommandIo): Promise<number> {
  const [given, ...rest] = args;
  const say = (text: string): void => io.stderr(wrap(`jit-allocator${text}\n`, io.stderrColumns));
  if (given === undefined) {
    io.stderr(wrap(help, io.stderrColumns));
    return 2;
  }
  const name = Object.hasOwn(ALIASES, given) ? ALIASES[given] : given;
  if (name === "help") return await main([...rest, "--help"], io);
  if (name === "--help" || name === "--version") {
    const isJson = name === "--version" && rest.includes("--json");
    const extra = rest.find((word) => word !== "--help" && !(isJson && word === "--json"));
    if (extra !== undefined) {
      say(`: unexpected argument ${JSON.stringify(extra)} after ${given}`);
      return 2;
    }
    if (name === "--help") io.stdout(wrap(help, io.columns));
    else io.stdout(isJson ? `${JSON.stringify(versions())}\n` : `${describeVersions(versions())}\n`);
    return 0;
  }
  const command = commands.find((candidate) => candidate.name === given);
  if (command === undefined) {
    const kind = given.startsWith("-") ? "option" : "command";
    const known = commands.map((candidate) => candidate.name).join(", ");
    say(`: unknown ${kind} ${JSON.stringify(given)}; the commands are ${known} (see --help)`);
    return 2;
  }
  if (command.name !== "demo") leaveUnobserved();
  try {
    return await (await command.load()).run(rest, io);
  } catch (error) {
    if (error instanceof UsageError) {
      say(` ${given}: ${error.message} (see jit-allocator ${given} --help)`);
      return 2;
    }
    if (isJitError(error)) say(` ${given}: ${error.code}: ${error.message}`);
    // Any other error is a bug of this program; the stack helps to find it.
    else say(` ${given}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return 1;
  }
}

/**
 * Lets nothing be recorded or viewed that this process does: the variables are often exported for a program whose trace a
 * command reads, and would be replaced by the command's own.
 */
function leaveUnobserved(): void {
  for (const variable of ["JIT_ALLOCATOR_TRACE", "JIT_ALLOCATOR_VIEW"]) {
    if (ownVariables(variable) !== undefined) Reflect.deleteProperty(process.env, variable);
  }
}

/** Whether an error is a JitError, also one of the package itself, which the demo imports by its name as a user would. */
function isJitError(error: unknown): error is JitError {
  return error instanceof Error && error.name === "JitError" && "code" in error;
}

/**
 * Ends the program when a write fails. The reader of a pipe may leave before everything is written (`| head`): that is no
 * error here. Windows reports it as the end of the file (EOF) when a write was already under way.
 */
function leaveOnFailedWrite(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE" || error.code === "EOF") process.exit();
  process.stderr.write(`jit-allocator: cannot write: ${error.message}\n`);
  process.exit(1);
}

process.stdout.on("error", leaveOnFailedWrite);
process.stderr.on("error", () => process.exit(1)); // no stream is left to report it on

process.exitCode = await main(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  readStdin: () => (process.stdin.isTTY ? new Uint8Array(0) : readStandardInput()),
  isStdinTerminal: process.stdin.isTTY,
  columns: columnsOf(process.stdout),
  stderrColumns: columnsOf(process.stderr),
  isStderrTerminal: process.stderr.isTTY,
  color: showsColor(process.stdout),
  stderrColor: showsColor(process.stderr),
  terminal: terminalOf(process.stdin, process.stdout),
});
