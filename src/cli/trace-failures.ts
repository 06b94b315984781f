/** What may be wrong with a trace, or with running it, in words. */
import { JitError } from "../index.ts";
import { UnreadableFile } from "./files.ts";
import { ReplayError } from "./replay-rounds.ts";
import { lineOfOperation, TraceError, type Trace } from "./trace.ts";

/** A failure in one sentence, and what the command exits with. */
export interface Failure {
  readonly message: string;
  readonly exitCode: 1 | 2;
}

/**
 * Says what went wrong with a trace.
 * @param path as the command line names the file
 * @param bytes of the file, as far as it was read
 * @throws the error itself, where it is no such failure
 */
export function traceFailure(error: unknown, path: string, bytes: Uint8Array): Failure {
  const name = nameOf(path);
  const failed = (message: string): Failure => ({ message, exitCode: 1 });
  if (error instanceof UnreadableFile) return failed(error.message);
  if (error instanceof TraceError) return failed(`${name}: ${error.message}`);
  if (error instanceof ReplayError && error.cause instanceof JitError) {
    return failed(`${name}: line ${lineOfOperation(path, bytes, error.operationIndex)}: ${error.message}`);
  }
  if (error instanceof JitError) {
    // The constructor threw it: the flags were wrong, or the system gives no memory at all.
    return { message: error.message, exitCode: error.code === "ERR_INVALID_ARGUMENT" ? 2 : 1 };
  }
  if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
    return failed(`${name}: it unpacks to more bytes than there can be in one buffer`);
  }
  if (error instanceof Error && "code" in error && String(error.code).startsWith("Z_")) {
    return failed(`${name}: not a gzip file, though its name says so: ${error.message}`);
  }
  throw error;
}

/** What was left out of a trace, in sentences. @param path as the command line names the file */
export function omissionsOf({ isCut, lostCount }: Trace, path: string): string[] {
  const omissions: string[] = [];
  if (isCut)
    omissions.push("the last line is not whole, and was left out: the process ended while it was written");
  if (lostCount > 0) {
    const what = lostCount === 1 ? "1 operation was" : `${lostCount} operations were`;
    omissions.push(`${what} left out, on allocations that no thread has recorded`);
  }
  return omissions.map((omission) => `${nameOf(path)}: ${omission}`);
}

function nameOf(path: string): string {
  return path === "-" ? "standard input" : path;
}
