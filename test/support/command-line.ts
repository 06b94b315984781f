/** The command lines of programs that are no command of the package: the long runs and the benchmark of calls. */
import { type ArgsOptions, readArgs, UsageError } from "../../src/cli/args.ts";

/**
 * What `read` makes of the command line. Where the help is asked for it is printed, and where the command line cannot be
 * understood what is wrong with it; the process ends then, before it has begun anything.
 */
export function readCommandLine<const O extends ArgsOptions, T>(
  help: string,
  options: O,
  positionalCount: number,
  read: (parsed: ReturnType<typeof readArgs<O>>) => T,
): T {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    console.log(help);
    process.exit(0);
  }
  try {
    return read(readArgs(args, options, positionalCount));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${help}`);
    process.exit(2);
  }
}
