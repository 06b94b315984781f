/**
 * Files that traces are written to, so that what was written is there whatever becomes of the process.
 *
 * Plain text is appended operation by operation. Several threads append to the same file: the system puts each piece
 * behind the others. Of gzip each piece is a whole member, and a file of several members is a whole file: so it can end
 * behind any of them. A piece has many operations where one thread writes, and one where several do, since their order
 * would be lost otherwise.
 */
import { builtin } from "../base/builtins.ts";
import { JitError } from "../base/errors.ts";
import { requireModule } from "../ffi/require.ts";

/** Where a trace goes. */
export interface TraceSink {
  /** Takes the next piece of the trace: one or more whole lines. */
  write(text: string): void;
}

/** Text that is kept back before it is packed: a longer piece packs better, and more of it is lost when the process is killed. */
const KEPT_CHARACTERS = 64 * 1024;
/** Milliseconds until what is kept back is written. */
const KEPT_MILLISECONDS = 250;
/** Bytes of a file that are read to see what it is. */
const READ_BYTES = 64 * 1024;

/** Only the user may read it: it tells where code lies. */
const OWNER_ONLY = 0o600;

/** A file that one thread writes a trace to. */
export class TraceFile implements TraceSink {
  readonly path: string;
  /** Whether other threads write to it too, so that nothing may be kept back. */
  isShared = false;
  readonly #descriptor: number;
  readonly #pack: ((text: string) => Uint8Array) | undefined;
  #kept = "";
  #writtenAt = performance.now();
  #isWaiting = false;

  /**
   * Opens a file, to append to it.
   * @param isNew whether what it has is replaced
   * @throws JitError `ERR_INVALID_ARGUMENT` where that fails
   */
  constructor(path: string, isNew: boolean) {
    this.path = path;
    try {
      // A link, or a file that another user made, is replaced and not followed.
      if (isNew) remove(path);
      this.#descriptor = builtin("node:fs").openSync(path, isNew ? "ax" : "a", OWNER_ONLY);
    } catch (cause) {
      throw refused(path, cause);
    }
    this.#pack = isPacked(path) ? packer() : undefined;
    files.add(this);
    if (!isListening) process.on("exit", flushAll);
    isListening = true;
  }

  write(text: string): void {
    if (this.#pack === undefined) {
      builtin("node:fs").writeSync(this.#descriptor, text);
      return;
    }
    this.#kept += text;
    const isDue = performance.now() - this.#writtenAt >= KEPT_MILLISECONDS;
    if (this.isShared || isDue || this.#kept.length >= KEPT_CHARACTERS) this.flush();
    else this.#flushSoon();
  }

  /** Writes what is kept back. */
  flush(): void {
    if (this.#pack === undefined || this.#kept === "") return;
    const packed = this.#pack(this.#kept);
    this.#kept = "";
    builtin("node:fs").writeSync(this.#descriptor, packed);
    this.#writtenAt = performance.now();
  }

  /** Writes when the program has time. Keeps no process alive: what is left is written at its exit. */
  #flushSoon(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const timer: unknown = setTimeout(() => {
      this.#isWaiting = false;
      flushQuietly(this);
    }, KEPT_MILLISECONDS);
    letGo(timer);
  }

  close(): void {
    if (!files.delete(this)) return;
    try {
      this.flush();
    } finally {
      builtin("node:fs").closeSync(this.#descriptor);
    }
  }
}

/** The files that this thread writes to. */
const files = new Set<TraceFile>();
let isListening = false;

function flushAll(): void {
  for (const file of files) flushQuietly(file);
}

function flushQuietly(file: TraceFile): void {
  try {
    file.flush();
  } catch {
    // Nobody is there to be told: the program is at its end, or at something else. The next operation will fail as well.
  }
}

/** Whether this thread writes to a file. */
export function isBeingWritten(path: string): boolean {
  return [...files].some((file) => file.path === path);
}

/** The first lines of a file, as far as they are there; undefined where it is no file that can be read. */
export function readStart(path: string): string | undefined {
  try {
    const descriptor = builtin("node:fs").openSync(path, "r");
    try {
      const bytes = new Uint8Array(READ_BYTES);
      const length = builtin("node:fs").readSync(descriptor, bytes, 0, READ_BYTES, 0);
      const start = bytes.subarray(0, length);
      return new TextDecoder().decode(isPacked(path) ? unpack(start) : start);
    } finally {
      builtin("node:fs").closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}

function isPacked(path: string): boolean {
  return path.endsWith(".gz");
}

interface Zlib {
  readonly gzipSync: (text: string) => Uint8Array;
  readonly gunzipSync: (bytes: Uint8Array, options: { readonly finishFlush: number }) => Uint8Array;
  readonly constants: { readonly Z_SYNC_FLUSH: number };
}

/** Loaded where it is needed: it would take a part of every program's start. */
function zlib(): Zlib {
  return requireModule("node:zlib") as Zlib;
}

function packer(): (text: string) => Uint8Array {
  const { gzipSync } = zlib();
  return (text) => gzipSync(text);
}

/** What there is of text that may end anywhere. */
function unpack(bytes: Uint8Array): Uint8Array {
  const { gunzipSync, constants } = zlib();
  return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
}

function remove(path: string): void {
  try {
    builtin("node:fs").unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

/** Lets the process end before a timer is due. Deno's own timers are numbers. */
function letGo(timer: unknown): void {
  if (typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function") {
    Reflect.apply(timer.unref, timer, []);
    return;
  }
  const deno: unknown = Reflect.get(globalThis, "Deno");
  if (
    typeof deno === "object" &&
    deno !== null &&
    "unrefTimer" in deno &&
    typeof deno.unrefTimer === "function"
  )
    Reflect.apply(deno.unrefTimer, deno, [timer]);
}

function refused(path: string, cause: unknown): JitError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new JitError("ERR_INVALID_ARGUMENT", `Cannot record into ${path}: ${reason}; name another file`, {
    cause,
  });
}
