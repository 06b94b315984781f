/**
 * Whether and where this thread records what its allocators do. Nothing is recorded, and next to nothing is asked, unless
 * the program calls `record` or the environment says so (JIT_ALLOCATOR_TRACE).
 */
import { builtin } from "../base/builtins.ts";
import { JitError } from "../base/errors.ts";
import { isGranted } from "../base/platform.ts";
import type { SpanOwner } from "../engine/contract.ts";
import { Engine } from "../engine/engine.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import { SharedEngine } from "../sharing/shared-engine.ts";
import { tellNames } from "./code-names.ts";
import { numberedName } from "./numbered-name.ts";
import { now, Recorder as TraceRecorder } from "./recorder.ts";
import { isOwn as isOwnProcess, ownProcess } from "./process-start.ts";
import { traceHeader, type TraceOrigin } from "./trace-format.ts";
import { lookAt, mustBeFile, take, type Place } from "./trace-place.ts";
import { isAtEnd, isBeingWritten, TraceFile, type TraceSink } from "./trace-sink.ts";

const VARIABLE = "JIT_ALLOCATOR_TRACE";

/** The file that the environment names. Null: it has not been asked yet. */
let variable: string | undefined | null = null;

/** The operations of an allocator in this thread. */
type Operations = Engine | SharedEngine;
type Recorder = TraceRecorder<Operations>;

/** Who records the operations of an allocator. Undefined until somebody does. */
let recorders: WeakMap<SpanOwner, Set<Recorder>> | undefined;

/** Records from now on. @returns what ends it @throws JitError where a file cannot be opened; what the sink throws */
export function startRecording(operations: Operations, target: string | TraceSink): () => void {
  if (typeof target !== "string") return start(operations, target, now(), true);
  const place = lookAt(target);
  mustBeFile(target, place);
  const isOurs = isOf(operations, place);
  const own = [...(recorders?.get(operations) ?? [])].map(({ recorded }) => recorded.sink);
  const isOwn = own.some((sink) => sink instanceof TraceFile && sink.isAt(target));
  if (isOwn || (!isOurs && isBeingWritten(target))) throw inUse(target);
  return startFile(operations, target, isOurs ? place.origin : undefined);
}

/** Records into a file: what `joined` began with another thread, or a new one. */
function startFile(operations: Operations, path: string, joined: TraceOrigin | undefined): () => void {
  const file = new TraceFile(path, joined === undefined);
  try {
    return start(operations, file, joined?.startedAt ?? now(), joined === undefined);
  } catch (error) {
    file.close();
    throw error;
  }
}

function start(operations: Operations, sink: TraceSink, startedAt: number, isNew: boolean): () => void {
  const { options, tagName: allocator } = engineOf(operations);
  const { granularity } = options;
  const fail = (error: unknown): void => {
    stop(recorder);
    warn("The trace ends here", error);
  };
  const recorder: Recorder = new TraceRecorder<Operations>(
    operations,
    { sink, startedAt, granularity, member: 0 },
    fail,
    () => stop(recorder),
  );
  follow(recorder, operations);
  if (isNew) recorder.begin(traceHeader({ ...ownProcess(), allocator, startedAt }, options));
  if (sink instanceof TraceFile) {
    // So that other threads see whose file it is.
    sink.flush();
    sink.failed = fail;
  }
  operations.observe(recorder);
  return () => stop(recorder);
}

/** Files a recorder under the operations that it records. */
function follow(recorder: Recorder, operations: Operations): void {
  recorder.follow(operations, operations instanceof SharedEngine ? operations.memberId : 0);
  const { sink } = recorder.recorded;
  if (sink instanceof TraceFile) {
    sink.isShared = operations instanceof SharedEngine;
    if (sink.isShared) sink.flush();
  }
  recorders ??= new WeakMap();
  tellNames(nameRecorded);
  const known = recorders.get(operations) ?? new Set();
  recorders.set(operations, known.add(recorder));
}

/** Ends a recording. Never throws. */
function stop(recorder: Recorder): void {
  const { operations, recorded } = recorder;
  if (recorders?.get(operations)?.delete(recorder) !== true) return;
  operations.unobserve(recorder);
  if (!(recorded.sink instanceof TraceFile)) return;
  try {
    recorded.sink.close();
  } catch (error) {
    warn("The end of the trace is missing", error);
  }
}

/** Ends all recordings of an allocator that this thread has left. */
export function stopRecording(operations: Operations): void {
  for (const recorder of recorders?.get(operations) ?? []) stop(recorder);
}

/** Lets the recorders of an allocator record what has taken over its spans: it has just been shared. */
export function moveRecorders(from: Operations, to: Operations): void {
  const moved = recorders?.get(from);
  recorders?.delete(from);
  for (const recorder of moved ?? []) {
    try {
      follow(recorder, to);
    } catch (error) {
      stop(recorder);
      warn("The trace ends here", error);
    }
  }
}

function nameRecorded(span: Span, name: string): void {
  const { owner, kind } = spanAccess.block(span);
  for (const recorder of recorders?.get(owner) ?? []) recorder.named(spanAccess.rx(span), kind, name);
}

/** Records an allocator that has just been made, if the environment says so. What fails is a warning: the program has not asked. */
export function recordByEnvironment(operations: Operations): void {
  if (variable === null) variable = askForPath();
  if (variable === undefined) return;
  try {
    recordIntoFree(operations, variable);
  } catch (error) {
    warn("Nothing is recorded", error);
  }
}

/** The program may go to another folder later. */
function askForPath(): string | undefined {
  const named = isGranted({ name: "env", variable: VARIABLE }) ? process.env[VARIABLE] : undefined;
  return named === undefined || named === "" ? undefined : builtin("node:path").resolve(named);
}

/**
 * The number of the next file, by the environment. Those below it are not looked at again: as long as the process runs, they
 * are its own, or were another's at their time.
 */
let nextNumber = 1;

/** Records into the file of that name, or where another allocator is recorded into it, into that name with a number. */
function recordIntoFree(operations: Operations, path: string): void {
  // What other threads have begun may have any number.
  for (let number = operations instanceof SharedEngine ? 1 : nextNumber; ; number++) {
    const candidate = numberedName(path, number);
    if (operations instanceof SharedEngine) {
      const place = lookAt(candidate);
      if (isOf(operations, place)) {
        startFile(operations, candidate, place.origin);
        return;
      }
    }
    if (!take(candidate, () => void startFile(operations, candidate, undefined))) continue;
    nextNumber = Math.max(nextNumber, number + 1);
    return;
  }
}

/** Whether a trace is that of a shared allocator which other threads record already. */
function isOf(operations: Operations, { origin }: Place): boolean {
  return (
    operations instanceof SharedEngine &&
    origin?.allocator === operations.engine.tagName &&
    isOwnProcess(origin)
  );
}

function engineOf(operations: Operations): Engine {
  return operations instanceof Engine ? operations : operations.engine;
}

function inUse(path: string): JitError {
  return new JitError(
    "ERR_INVALID_ARGUMENT",
    `Cannot record into ${path}: another recording of this thread writes to it; end that one, or name another file`,
  );
}

function warn(what: string, error: unknown): void {
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  if (isAtEnd())
    process.emit("warning", Object.assign(new Error(message), { name: "Warning", code: VARIABLE }));
  else process.emitWarning(message, { code: VARIABLE });
}
