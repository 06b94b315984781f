/**
 * The lines of a recorded trace. `a ID SIZE`, `s ID SIZE` and `f ID` are those that every reader of traces knows; whatever
 * else there is to tell stands in comments (docs/guides/recording.md).
 */
import type { SpanKind } from "../engine/kinds.ts";
import type { Address } from "../ffi/contract.ts";
import type { ProcessIdentity } from "./process-start.ts";

/** What every recorded trace begins with, whatever its version. */
const BEGINNING = "# jit-allocator trace ";
/** The first line of a recorded trace. */
const FIRST_LINE = `${BEGINNING}1`;

/** Whose trace a file has. */
export interface TraceOrigin extends ProcessIdentity {
  /** The name of the allocator, which no other of the process has. */
  readonly allocator: string;
  /** Microseconds since 1970 when the recording began. */
  readonly startedAt: number;
}

/** What a trace begins with. */
export function traceHeader({ pid, start, allocator, startedAt }: TraceOrigin, options: object): string {
  const process = `${pid} ${allocator} ${startedAt}${start === undefined ? "" : ` ${start}`}`;
  return `${FIRST_LINE}\n# options ${JSON.stringify(options)}\n# process ${process}\n`;
}

/** Whether a text is a recorded trace, of this or another version. */
export function isTrace(text: string | undefined): boolean {
  return text?.startsWith(BEGINNING) === true;
}

/** Reads what {@link traceHeader} has made; undefined where a text begins with anything else. */
export function readOrigin(text: string | undefined): TraceOrigin | undefined {
  if (text?.startsWith(`${FIRST_LINE}\n`) !== true) return undefined;
  const [, pid, allocator = "", startedAt, start] =
    /^# process (\d+) (\S+) (\d+)(?: (\d+))?$/m.exec(text) ?? [];
  if (pid === undefined) return undefined;
  return { pid: Number(pid), start, allocator, startedAt: Number(startedAt) };
}

export function allocationLine(id: number, size: number): string {
  return `a ${id} ${size}\n`;
}

export function shrinkLine(id: number, size: number): string {
  return `s ${id} ${size}\n`;
}

export function releaseLine(id: number): string {
  return `f ${id}\n`;
}

/** Where an allocation lies; said again when it is given a name. */
export function placeLine(id: number, rx: Address, kind: SpanKind, name?: string): string {
  return `# at ${id} 0x${rx.toString(16)} ${kind}${name === undefined ? "" : ` ${onOneLine(name)}`}\n`;
}

/** Microseconds since the recording began. */
export function timeLine(microseconds: number): string {
  return `# time ${microseconds}\n`;
}

/** The thread whose operations come next. */
export function threadLine(member: number): string {
  return `# thread ${member}\n`;
}

/** What has ended all allocations that were released in the lines before. */
export function endLine(how: "reset" | "dispose"): string {
  return `# ${how}\n`;
}

/** What is live behind a reset: other threads may have made it meanwhile. */
export function liveLine(ids: readonly number[]): string {
  return `# live${ids.map((id) => ` ${id}`).join("")}\n`;
}

function onOneLine(name: string): string {
  return name.replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
}
