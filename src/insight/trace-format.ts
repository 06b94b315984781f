/**
 * The lines of a recorded trace. `a ID SIZE`, `s ID SIZE` and `f ID` are those that every reader of traces knows; whatever
 * else there is to tell stands in comments (docs/guides/recording.md).
 */
import type { SpanKind } from "../engine/kinds.ts";
import type { Address } from "../ffi/contract.ts";

/** The first line of a recorded trace. */
export const FIRST_LINE = "# jit-allocator trace 1";

/** Whose trace a file has. */
export interface TraceOrigin {
  readonly pid: number;
  /** The name of the allocator, which no other of the process has. */
  readonly allocator: string;
  /** Microseconds since 1970 when the recording began. */
  readonly startedAt: number;
}

/** What a trace begins with. */
export function traceHeader({ pid, allocator, startedAt }: TraceOrigin, options: object): string {
  return `${FIRST_LINE}\n# options ${JSON.stringify(options)}\n# process ${pid} ${allocator} ${startedAt}\n`;
}

/** Reads what {@link traceHeader} has made; undefined where a text begins with anything else. */
export function readOrigin(text: string | undefined): TraceOrigin | undefined {
  if (text?.startsWith(`${FIRST_LINE}\n`) !== true) return undefined;
  const [, pid, allocator = "", startedAt] = /^# process (\d+) (\S+) (\d+)$/m.exec(text) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), allocator, startedAt: Number(startedAt) };
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

function onOneLine(name: string): string {
  return name.replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
}
