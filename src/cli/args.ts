/** Reads a command line, and says what is wrong with it. */
import type { ParseArgsConfig } from "node:util";
import { parseArgs } from "node:util";

/** A wrong command line: printed as one line, exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** The options that {@link readArgs} can read: those of node:util's parseArgs. */
export type ArgsOptions = NonNullable<ParseArgsConfig["options"]>;

/**
 * Reads options and positional arguments, in any order; `--` ends the options.
 * @throws UsageError at an unknown option, at one without its value, or at more positional arguments than `positionalCount`.
 */
export function readArgs<const O extends ArgsOptions>(
  args: readonly string[],
  options: O,
  positionalCount: number,
): ReturnType<typeof parseArgs<{ args: string[]; options: O; allowPositionals: true; strict: true }>> {
  const parsed = (() => {
    try {
      return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    } catch (error) {
      throw new UsageError(firstSentence(error instanceof Error ? error.message : String(error)));
    }
  })();
  const extra = parsed.positionals[positionalCount];
  if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`);
  return parsed;
}

/**
 * Reads a whole number within limits.
 * @throws UsageError that names the option.
 */
export function readInteger(option: string, text: string, lowest: number, highest: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < lowest || value > highest) {
    throw new UsageError(
      `${option} takes a whole number from ${lowest} to ${highest}, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}

/** The first sentence of a message of parseArgs says what is wrong; the rest explains `--` at length. */
function firstSentence(message: string): string {
  const sentence = message.split(/\.\s|\n/)[0] ?? message;
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}
