/**
 * Where a trace may be written: what is at a path, and who takes it of several that start at the same time.
 *
 * To look whether a file is free, to remove it and to make one are three steps. Who takes a file holds a second one
 * meanwhile, with `.lock` behind its name. Only one can make that, and nobody waits for it: others take the next number.
 */
import { builtin } from "../base/builtins.ts";
import { JitError } from "../base/errors.ts";
import { isPacked, unpack } from "./gzip.ts";
import { isRunning, ownProcess } from "./process-start.ts";
import { isTrace, readOrigin, type TraceOrigin } from "./trace-format.ts";

/** Bytes of a file that are read to see what it is. */
const READ_BYTES = 8 * 1024;

/** Only the user may read it: it tells where code lies. */
export const OWNER_ONLY = 0o600;

/** What is at a path. A link is not followed: it counts as no file. */
export interface Place {
  readonly what: "nothing" | "empty" | "trace" | "other" | "unreadable" | "no file";
  /** Whose trace it is, where that can be told. */
  readonly origin: TraceOrigin | undefined;
}

/** @throws JitError where that cannot be told */
export function lookAt(path: string): Place {
  const fs = builtin("node:fs");
  try {
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return { what: "nothing", origin: undefined };
    // Opened, a FIFO would wait for somebody, and a device may act.
    if (!found.isFile()) return { what: "no file", origin: undefined };
    if (found.size === 0) return { what: "empty", origin: undefined };
  } catch (cause) {
    throw refused(path, cause);
  }
  const text = readStart(path);
  // Somebody may have removed it since, or be about to. It belongs to others in any case.
  if (text === undefined) return { what: "unreadable", origin: undefined };
  return { what: isTrace(text) ? "trace" : "other", origin: readOrigin(text) };
}

/** Refuses a place where there can be no trace. @throws JitError */
export function mustBeFile(path: string, { what }: Place): void {
  if (what === "no file") throw refused(path, "it is no file");
}

/** Whether a program goes on that has begun the trace there. */
export function isTaken({ origin }: Place): boolean {
  return origin !== undefined && isRunning(origin);
}

/**
 * Makes a file at a path that is free: nothing is there, or an empty file, or a trace that nobody records into any more.
 * @param make replaces what is there
 * @returns whether it was free, and nobody else is about to take it
 * @throws JitError where something is there that is no trace; what `make` throws
 */
export function take(path: string, make: () => void): boolean {
  if (!isFree(path)) return false;
  const lock = `${path}.lock`;
  if (!hold(path, lock)) return false;
  try {
    if (!isFree(path)) return false;
    make();
    return true;
  } catch (error) {
    // On Windows a file that is removed stays as long as somebody has it open.
    if (isThere(error instanceof Error ? error.cause : undefined)) return false;
    throw error;
  } finally {
    remove(lock);
  }
}

function isFree(path: string): boolean {
  const place = lookAt(path);
  mustBeFile(path, place);
  if (place.what === "other") throw refused(path, "what is there is no trace");
  return place.what !== "unreadable" && !isTaken(place);
}

/** Whether an error says that a file is there already. */
function isThere(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
}

/** Makes a file that says who holds it. One that is left of a process which was killed is removed, for those who come next. */
function hold(path: string, lock: string): boolean {
  const { pid, start = "" } = ownProcess();
  try {
    builtin("node:fs").writeFileSync(lock, `${pid} ${start}\n`, { flag: "ax", mode: OWNER_ONLY });
    return true;
  } catch (cause) {
    if (!isThere(cause)) throw refused(path, cause);
  }
  if (lookAt(lock).what !== "other") return false;
  const [, holder, began] = /^(\d+) (\d*)\n$/.exec(readStart(lock) ?? "") ?? [];
  if (holder !== undefined && !isRunning({ pid: Number(holder), start: began === "" ? undefined : began }))
    remove(lock);
  return false;
}

/** The first lines of a file, as far as they are there; undefined where it cannot be read. */
function readStart(path: string): string | undefined {
  const fs = builtin("node:fs");
  const bytes = new Uint8Array(READ_BYTES);
  let length: number;
  try {
    const descriptor = fs.openSync(path, "r");
    try {
      length = fs.readSync(descriptor, bytes, 0, READ_BYTES, 0);
    } finally {
      fs.closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
  const start = bytes.subarray(0, length);
  try {
    return new TextDecoder().decode(isPacked(path) ? unpack(start) : start);
  } catch {
    return ""; // no gzip
  }
}

/** Removes a file, if it is there. @throws Error where that fails */
export function remove(path: string): void {
  builtin("node:fs").rmSync(path, { force: true });
}

export function refused(path: string, cause: unknown): JitError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot record into ${path}: ${reason}; name another file`, {
    cause,
  });
}
