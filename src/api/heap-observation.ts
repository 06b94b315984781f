/** What an allocator offers to those who look at its heap from outside. */
import type { Engine } from "../engine/engine.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import { refuseValue } from "../engine/refusals.ts";
import { startRecording } from "../insight/recording.ts";
import type { HeapSnapshot } from "../insight/snapshot-format.ts";
import { takeSnapshot } from "../insight/snapshot.ts";
import type { TraceSink } from "../insight/trace-sink.ts";

/** What a snapshot has beside what it always has. */
export interface SnapshotOptions {
  /** Whether with the bytes of all code; default false. */
  readonly code?: boolean;
}

/** The part of `JitAllocator` that is about looking at its heap. */
export abstract class HeapObservation {
  readonly #operations: () => Engine | SharedEngine;

  /** @internal */
  constructor(operations: () => Engine | SharedEngine) {
    this.#operations = operations;
  }

  /**
   * Describes the heap as it is at this moment: every block, and every allocation with its size, its name and, in a shared
   * allocator, its thread. Plain data, for `JSON.stringify`. Takes some milliseconds for 10,000 allocations.
   *
   * @throws JitError `ERR_INVALID_ARGUMENT`; `ERR_DISPOSED` where this thread has detached; `ERR_OUT_OF_MEMORY` where there
   *   is no memory for copies of the code
   * @example
   * ```ts
   * const { spans, statistics } = allocator.snapshot();
   * spans.length === statistics.allocationCount; // true, unless something was retired
   * ```
   */
  snapshot(options: SnapshotOptions = {}): HeapSnapshot {
    return takeSnapshot(this.#operations(), wantsCode(options));
  }

  /**
   * Records every operation from now on as a trace, which `jit-allocator replay` and `view` take; first all that is live
   * now. Until the recording is disposed, or the allocator is. It records what this thread does; other threads that share
   * the allocator record into the same file when they call this with its name. Each operation takes some microseconds more.
   *
   * The environment variable `JIT_ALLOCATOR_TRACE=FILE` does the same for all allocators and threads of a program that does
   * not call this method.
   *
   * @param sink the name of a file, which is written in gzip where it ends in `.gz`; or what takes the text, operation by
   *   operation, and does not use the allocator
   * @throws JitError `ERR_INVALID_ARGUMENT`, also where the file cannot be written; `ERR_DISPOSED`. What the sink throws
   *   at once. Later failures end the recording with a warning, and no operation fails
   * @example
   * ```ts
   * let trace = "";
   * using recording = allocator.record({ write: (text) => void (trace += text) });
   * allocator.alloc(100); // the trace goes on with "a 2 100", and a line with its address
   * ```
   */
  record(sink: string | TraceSink): Disposable {
    const operations = this.#operations();
    operations.checkOpen("record");
    const end = startRecording(operations, checkSink(sink));
    return { [Symbol.dispose]: end };
  }
}

/** Each field is read once: a getter must not give another value after the check. */
function wantsCode(options: unknown): boolean {
  if (typeof options !== "object" || options === null)
    throw refuseValue("take a snapshot with", options, "its options are an object: { code }");
  const { code, ...others } = options as { readonly code?: unknown };
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw refuseValue("take a snapshot with", unknown, "it has one option, code");
  if (code !== undefined && typeof code !== "boolean")
    throw refuseValue("take a snapshot with the code", code, "it is true or false");
  return code === true;
}

/** The sink, whose method is read once. */
function checkSink(sink: unknown): string | TraceSink {
  if (typeof sink === "string" && sink !== "") return sink;
  if (typeof sink === "object" && sink !== null) {
    const { write } = sink as { readonly write?: unknown };
    if (typeof write === "function") return { write: (text) => void Reflect.apply(write, sink, [text]) };
  }
  throw refuseValue("record into", sink, "it is the name of a file, or an object with a method write(text)");
}
