/**
 * Whether and where this thread announces code. Nothing is announced, and next to nothing is asked, unless the program calls
 * `announce` or the environment says so (JIT_ALLOCATOR_ANNOUNCE).
 */
import { JitError } from "../base/errors.ts";
import { isGranted, platform } from "../base/platform.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import { systemFfi } from "../ffi/select.ts";
import { systemMemory } from "../vm/select.ts";
import { Announcer, type Code } from "./announcer.ts";
import { GdbInterface } from "./gdb.ts";
import { FRAME_ROOM_BYTES, JitDump } from "./jitdump.ts";
import { PerfMap } from "./perf-map.ts";
import { Unwinder } from "./unwinder.ts";

const VARIABLE = "JIT_ALLOCATOR_ANNOUNCE";

/** The ways to announce code. */
export const WAYS = ["gdb", "jitdump", "perfMap", "unwind"] as const;
type Way = (typeof WAYS)[number];

/** Where announcements go. */
export interface Announcement {
  /** The file for `perf inject --jit`; undefined where none is written. */
  readonly jitdump: string | undefined;
  /** The file that perf reads by itself; undefined where none is written. */
  readonly perfMap: string | undefined;
}

/** Undefined: nothing is announced. Null: the environment has not been asked yet. */
let announcer: Announcer | undefined | null = null;

/** Announces in these ways too, from now on. @throws JitError `ERR_FEATURE_NOT_ENABLED`; the ways before stay */
export function startAnnouncing(ways: readonly Way[]): Announcement {
  readEnvironment();
  return start(ways);
}

function start(ways: readonly Way[]): Announcement {
  if (ways.length > 0 && platform.system !== "linux") {
    throw new JitError(
      "ERR_FEATURE_NOT_ENABLED",
      "Cannot announce code to debuggers and profilers: only Linux is supported",
    );
  }
  const started = announcer ?? new Announcer(platform.processor, stop);
  const { listeners } = started;
  if (ways.includes("gdb"))
    listeners.gdb ??= new GdbInterface(systemFfi(), systemMemory(), platform.processor);
  if (ways.includes("jitdump")) listeners.jitdump ??= new JitDump(systemFfi(), platform.processor);
  if (ways.includes("perfMap")) listeners.perfMap ??= new PerfMap();
  if (ways.includes("unwind")) listeners.unwind ??= new Unwinder(systemFfi(), systemMemory());
  if (ways.length > 0) announcer = started;
  return { jitdump: listeners.jitdump?.path, perfMap: listeners.perfMap?.path };
}

/** Does what the environment says, once. What fails is a warning: the program has not asked for it. */
function readEnvironment(): void {
  if (announcer !== null) return;
  announcer = undefined;
  if (!isGranted({ name: "env", variable: VARIABLE })) return;
  try {
    const words = (process.env[VARIABLE] ?? "").split(",").map((word) => word.trim());
    for (const word of words.filter((one) => one !== "")) {
      const way = WAYS.find((known) => known.toLowerCase() === word.toLowerCase());
      if (way === undefined)
        throw new Error(`${VARIABLE} knows ${WAYS.join(", ")}, and not ${JSON.stringify(word)}`);
      start([way]);
    }
  } catch (error) {
    warn(error);
  }
}

/** Announces code that has just been made. Never throws. */
export function announceCode(code: Code): void {
  attempt((active) => active.announce(code));
}

/** Announces the code of a span that has just been made callable, unless it is known. Never throws. */
export function announceCallable(span: Span): void {
  attempt((active) => {
    if (!active.knows(span)) active.announce(wholeOf(span));
  });
}

/** Announces the code of a span that has just been written. Never throws. */
export function announceWritten(span: Span): void {
  attempt((active) => active.announce(wholeOf(span)));
}

/** Announces a span that has no code yet. Never throws. */
export function announceAllocated(span: Span): void {
  attempt((active) => active.announce({ span, sizeBytes: sizeOf(span), bytes: undefined }));
}

function wholeOf(span: Span): Code {
  const { owner } = spanAccess.block(span);
  const sizeBytes = sizeOf(span);
  return { span, sizeBytes, bytes: owner.isExecutable ? owner.read(span, 0, sizeBytes) : undefined };
}

function sizeOf(span: Span): number {
  return spanAccess.block(span).owner.sizeOf(span);
}

/** Whether code is announced: for those who would have to make a copy of it first. */
export function isAnnouncing(): boolean {
  if (announcer === null) readEnvironment();
  return announcer !== undefined;
}

/** Bytes that a runtime leaves free behind code, for its description; 0 where nobody asks for one. */
export function roomBehindCode(): number {
  return isAnnouncing() && announcer?.listeners.jitdump !== undefined ? FRAME_ROOM_BYTES : 0;
}

/** An announcement that fails must not make the operation fail which it tells of: it is the last. */
function attempt(action: (active: Announcer) => void): void {
  try {
    readEnvironment();
    if (announcer !== undefined && announcer !== null) action(announcer);
  } catch (error) {
    stop(error);
  }
}

function stop(error: unknown): void {
  announcer = undefined;
  warn(error);
}

function warn(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  process.emitWarning(`Code is not announced: ${message}`, { code: VARIABLE });
}
