/** Reading the files that a command line names. */
import { readFileSync } from "node:fs";

/** A file that could not be read, with the system's reason. */
export class UnreadableFile extends Error {}

/** @throws UnreadableFile */
export function readFile(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnreadableFile(`cannot read ${path}: ${reason.replace(/, [a-z]+( '.*')?$/, "")}`, {
      cause: error,
    });
  }
}
