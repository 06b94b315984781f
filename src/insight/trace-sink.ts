/**
 * Files that traces are written to, so that what was written is there whatever becomes of the process.
 *
 * Plain text is appended operation by operation. Several threads append to the same file: the system puts each piece
 * behind the others. Of gzip each piece is a whole member, and a file of several members is a whole file: so it can end
 * behind any of them. A piece has many operations where one thread writes, and one where several do, since their order
 * would be lost otherwise.
 */
import { builtin } from "../base/builtins.ts";
import { isPacked, packer } from "./gzip.ts";
import { OWNER_ONLY, refused, remove } from "./trace-place.ts";

/** Where a trace goes. */
export interface TraceSink {
  /** Takes the next piece of the trace: one or more whole lines. */
  write(text: string): void;
}

/** Text that is kept back before it is packed: a longer piece packs better, and more of it is lost when the process is killed. */
const KEPT_CHARACTERS = 64 * 1024;
/** Milliseconds until what is kept back is written. */
const KEPT_MILLISECONDS = 250;

/** A file that one thread writes a trace to. */
export class TraceFile implements TraceSink {
  /** Whether other threads write to it too, so that nothing may be kept back. */
  isShared = false;
  /** Is told where what was kept back cannot be written: no operation is there that would tell of it. */
  failed: ((error: unknown) => void) | undefined;
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
    try {
      // What another user made is replaced, and nothing is followed that comes in between.
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

  /** Whether a path leads to it, however the path is spelled. */
  isAt(path: string): boolean {
    const { fstatSync, lstatSync } = builtin("node:fs");
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const { dev, ino } = fstatSync(this.#descriptor, { bigint: true });
    return found?.ino === ino && found.dev === dev;
  }

  /** @throws Error where it cannot be written */
  write(text: string): void {
    if (this.#pack === undefined) {
      this.#append(new TextEncoder().encode(text));
      return;
    }
    this.#kept += text;
    const isDue = performance.now() - this.#writtenAt >= KEPT_MILLISECONDS;
    if (this.isShared || isDue || isEnding || this.#kept.length >= KEPT_CHARACTERS) this.flush();
    else this.#flushSoon();
  }

  /** Writes what is kept back. @throws Error where it cannot be written: it is lost then */
  flush(): void {
    if (this.#pack === undefined || this.#kept === "") return;
    const text = this.#kept;
    this.#kept = "";
    this.#append(this.#pack(text));
    this.#writtenAt = performance.now();
  }

  /** Writes what is kept back; what fails is told to {@link failed}. */
  flushOrTell(): void {
    try {
      this.flush();
    } catch (error) {
      this.failed?.(error);
    }
  }

  /** Appends a piece, whole or not at all. */
  #append(bytes: Uint8Array): void {
    let written = 0;
    try {
      // A disk that is almost full takes a part.
      while (written < bytes.length) {
        const count = builtin("node:fs").writeSync(this.#descriptor, bytes, written);
        if (count === 0) throw new Error("the system writes nothing");
        written += count;
      }
    } catch (error) {
      this.#takeBack(written);
      throw error;
    }
  }

  /** Removes the last bytes of the file, so that it ends with a whole piece. Others may have written behind them in a shared one. */
  #takeBack(count: number): void {
    if (count === 0 || this.isShared) return;
    const { fstatSync, ftruncateSync } = builtin("node:fs");
    try {
      ftruncateSync(this.#descriptor, fstatSync(this.#descriptor).size - count);
    } catch {
      // Readers take a trace that is cut off.
    }
  }

  /** Writes when the program has time. Keeps no process alive: what is left is written at its exit. */
  #flushSoon(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const timer: unknown = setTimeout(() => {
      this.#isWaiting = false;
      this.flushOrTell();
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
/** Whether nothing may be kept back any more: whoever listens to the end of the thread later than this may do something yet. */
let isEnding = false;

/** Whether the thread ends: warnings by way of the event loop come too late then. */
export function isAtEnd(): boolean {
  return isEnding;
}

function flushAll(): void {
  isEnding = true;
  for (const file of files) file.flushOrTell();
}

/** Whether this thread writes to the file at a path. */
export function isBeingWritten(path: string): boolean {
  return [...files].some((file) => file.isAt(path));
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
