/** Reads the files that a command line names. */
import { readFileSync } from "node:fs";
import type { CommandIo } from "./command.ts";

/** A file that could not be read, with the system's reason. */
export class UnreadableFile extends Error {}

/** @throws UnreadableFile */
export function readFile(path: string): Uint8Array {
  return read(path, path);
}

/**
 * Standard input, as `-` names it. @param what the name of its content in messages. @throws UnreadableFile also where it
 * is a terminal
 */
export function inputOf(what: string, io: CommandIo): Uint8Array {
  if (io.isStdinTerminal === true) {
    throw new UnreadableFile(
      `cannot read ${what}: standard input is a terminal; pipe something into it, or name a file`,
    );
  }
  return io.readStdin();
}

/** All of standard input. @throws UnreadableFile */
export function readStandardInput(): Uint8Array {
  return read(0, "standard input");
}

function read(file: string | number, name: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw unreadable(name, error);
  }
}

/** The error for a file that could not be read or found. */
export function unreadable(name: string, cause: unknown): UnreadableFile {
  const reason = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
  return new UnreadableFile(`cannot read ${name}: ${reason.replace(/, [a-z]+( '.*')?$/, "")}`, { cause });
}
