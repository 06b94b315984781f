#!/usr/bin/env node
/** `jit-allocator`: finds the command, runs it, and turns what it throws into one line and an exit code. */
import { JitError } from "../index.ts";
import { UsageError } from "./args.ts";
import type { Command, CommandIo } from "./command.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { readStandardInput } from "./files.ts";
import { replay } from "./replay.ts";
import { showsColor } from "./terminal.ts";
import { VERSION } from "./version.ts";

const commands: readonly Command[] = [demo, doctor, replay];

const widestName = Math.max(...commands.map(({ name }) => name.length));

const help = `Usage: jit-allocator [--help] [--version] COMMAND

Commands:
${commands.map(({ name, summary }) => `  ${name.padEnd(widestName)}  ${summary}`).join("\n")}

Options:
  --help, -h     print this text; after a command, the command's own
  --version, -v  print the version

Exit codes: 0 done, 1 the work failed, 2 the command line was wrong.
`;

/** Runs the command line and returns the exit code. Never throws. */
async function main(args: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    io.stderr(help);
    return 2;
  }
  if (name === "--help" || name === "-h" || name === "--version" || name === "-v") {
    const [extra] = rest;
    if (extra !== undefined) {
      io.stderr(`jit-allocator: unexpected argument ${JSON.stringify(extra)} after ${name}\n`);
      return 2;
    }
    io.stdout(name === "--help" || name === "-h" ? help : `${VERSION}\n`);
    return 0;
  }
  const command = commands.find((candidate) => candidate.name === name);
  if (command === undefined) {
    const kind = name.startsWith("-") ? "option" : "command";
    const known = commands.map((candidate) => candidate.name).join(", ");
    io.stderr(
      `jit-allocator: unknown ${kind} ${JSON.stringify(name)}; the commands are ${known} (see --help)\n`,
    );
    return 2;
  }
  try {
    return await command.run(rest, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr(`jit-allocator ${name}: ${error.message} (see jit-allocator ${name} --help)\n`);
      return 2;
    }
    if (error instanceof JitError) io.stderr(`jit-allocator ${name}: ${error.code}: ${error.message}\n`);
    // Whatever else comes here is a mistake in this program; the stack helps whoever looks for it.
    else
      io.stderr(
        `jit-allocator ${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
    return 1;
  }
}

/**
 * The reader of a pipe may leave before everything is written (`| head`): that is no error of ours. Windows calls it
 * the end of the file when a write was already under way.
 */
function leaveOnFailedWrite(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE" || error.code === "EOF") process.exit();
  process.stderr.write(`jit-allocator: cannot write: ${error.message}\n`);
  process.exit(1);
}

process.stdout.on("error", leaveOnFailedWrite);
process.stderr.on("error", () => process.exit(1)); // there is nobody to tell

process.exitCode = await main(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  readStdin: () => (process.stdin.isTTY ? new Uint8Array(0) : readStandardInput()),
  color: showsColor(process.stdout),
  stderrColor: showsColor(process.stderr),
});
