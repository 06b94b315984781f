/**
 * Writes the code of a process for `perf inject --jit`, in the format of Linux's
 * `tools/perf/Documentation/jitdump-specification.txt`: a header, and for each piece of code a record of how its frame is
 * unwound and one with its name and its bytes.
 *
 * perf learns of the file because the process maps a page of it as executable. Each thread writes a file of its own: all
 * have the name that perf looks for, in folders of their own.
 */
import { builtin } from "../base/builtins.ts";
import { JitError } from "../base/errors.ts";
import type { ProcessorName } from "../base/platform.ts";
import { cString } from "../ffi/c-string.ts";
import { findInAny } from "../ffi/common.ts";
import type { Ffi, NativeFunction, NativeSignature } from "../ffi/contract.ts";
import { LINUX_LIBC_NAMES } from "../ffi/libc-names.ts";
import { ByteWriter } from "./byte-writer.ts";
import { appendCallFrames, Pointer, type FrameOf } from "./call-frames.ts";
import { ELF_MACHINES } from "../base/elf-machines.ts";
import type { KnownCode } from "./elf-object.ts";

/**
 * What a runtime leaves free behind code, so that its call frames have their addresses: a common part of 24 bytes, some 70
 * for the function, and the index. A multiple of the granularity.
 */
export const FRAME_ROOM_BYTES = 128;

const Record = { load: 0, unwinding: 4 } as const;
const HEADER_BYTES = 40;
/** Of `.eh_frame_hdr`: an index of the call frames with one entry. */
const FRAME_INDEX_BYTES = 20;
/** Bytes kept back at most: few writes for many records, and little lost where the process is killed. */
const KEPT_BYTES = 64 * 1024;
/** A record is written at once where the last write is this long ago: only what comes in a burst is kept back. */
const KEPT_NANOSECONDS = 1e6;

/** open: read and write, made anew, written at the end, not inherited by other programs. */
const OPEN_FLAGS = 0o2 | 0o100 | 0o200 | 0o2000 | 0o2000000;
const OWNER_ONLY = 0o600;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE = 2;
const PAGE_BYTES = 4096;
const CLOCK_MONOTONIC = 1;

/** The dump of one thread. */
export class JitDump {
  /** The file. */
  readonly path: string;
  readonly #descriptor: number;
  readonly #write: NativeFunction;
  readonly #clock: NativeFunction;
  readonly #time = new Uint32Array(4);
  readonly #threadId: number;
  readonly #out = new ByteWriter();
  readonly #frames = new ByteWriter();
  #codeIndex = 0;
  #writtenAt = 0;
  #isWaiting = false;

  /**
   * Makes the file, below `folder`.
   * @throws JitError `ERR_FEATURE_NOT_ENABLED` where that fails
   */
  constructor(ffi: Ffi, processor: ProcessorName, folder: string = dumpFolder()) {
    const find = (
      name: string,
      parameters: NativeSignature["parameters"],
      fixedParameters?: number,
    ): NativeFunction => {
      const variadic = fixedParameters === undefined ? {} : { fixedParameters };
      const found = findInAny(ffi, LINUX_LIBC_NAMES, name, { parameters, result: "pointer", ...variadic });
      if (found === undefined) throw refused(`the C library has no ${name}`);
      return found;
    };
    this.#write = find("write", ["i32", "buffer", "pointer"]);
    this.#clock = find("clock_gettime", ["i32", "buffer"]);
    this.#threadId = Number(find("gettid", [])());
    const open = find("open", ["buffer", "i32", "i32"], 2);
    const map = find("mmap", ["pointer", "pointer", "i32", "i32", "i32", "i64"]);
    this.path = `${makeFolder(folder)}/jit-${process.pid}.dump`;
    this.#descriptor = int(open(cString(this.path), OPEN_FLAGS, OWNER_ONLY));
    if (this.#descriptor < 0) throw refused(`cannot open ${this.path}`);
    this.#writeHeader(processor);
    // The mark by which perf learns of the file. It stays mapped, because perf may be started later.
    map(0, PAGE_BYTES, PROT_READ_EXEC, MAP_PRIVATE, this.#descriptor, 0n);
    process.on("exit", () => this.flush());
  }

  /**
   * Announces code; without its bytes, zeros stand for them.
   * @param spanBytes the bytes from the start of the code that are its own
   */
  add(code: KnownCode, bytes: Uint8Array | undefined, spanBytes: number): void {
    const { rx, sizeBytes, name, processor, frames } = code;
    const out = this.#out;
    const now = this.#now();
    this.#appendUnwinding(now, { processor, sizeBytes, instructions: frames }, spanBytes);
    const start = this.#begin(Record.load, now);
    out.u32(process.pid);
    out.u32(this.#threadId);
    out.u64(rx);
    out.u64(rx);
    out.u64(sizeBytes);
    out.u64(this.#codeIndex++);
    out.text(name);
    out.append(bytes?.length === sizeBytes ? bytes : new Uint8Array(sizeBytes));
    out.u32At(start + 4, out.at - start);
    if (out.at >= KEPT_BYTES || now - this.#writtenAt >= KEPT_NANOSECONDS) this.flush(now);
    else this.#flushSoon();
  }

  /** Writes what is kept back. Never throws: a profile without some names is better than a program that fails. */
  flush(now = this.#now()): void {
    const { bytes } = this.#out;
    if (bytes.length === 0) return;
    this.#write(this.#descriptor, bytes, bytes.length);
    this.#out.clear();
    this.#writtenAt = now;
  }

  /** Writes when the program has finished what it is doing. */
  #flushSoon(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    setImmediate(() => {
      this.#isWaiting = false;
      this.flush();
    }).unref();
  }

  #writeHeader(processor: ProcessorName): void {
    const out = this.#out;
    out.u32(0x4a69_5444); // "JiTD"
    out.u32(1);
    out.u32(HEADER_BYTES);
    out.u32(ELF_MACHINES[processor] ?? 0);
    out.u32(0);
    out.u32(process.pid);
    out.u64(this.#now());
    out.u64(0);
    this.flush();
  }

  /** Begins a record. Its size stands behind its kind, and is written when it is known. */
  #begin(kind: number, now: number): number {
    const start = this.#out.at;
    this.#out.u32(kind);
    this.#out.u32(0);
    this.#out.u64(now);
    return start;
  }

  /**
   * Says how the frame of the code in the next record is unwound: by call frames that follow the code in the file which perf
   * makes of it. perf looks for them at the addresses behind the code, and takes those for this code's from then on. So
   * they are left out where they would reach beyond the span: other code may begin there.
   */
  #appendUnwinding(now: number, frame: FrameOf, spanBytes: number): void {
    const frames = this.#frames;
    frames.clear();
    const codeBytes = Math.ceil(frame.sizeBytes / 8) * 8;
    const entryAt = appendCallFrames(frames, frame, Pointer.relative, -codeBytes);
    const framesBytes = frames.at;
    // The index: how its fields are written, where the call frames are, and one entry of two fields that count from here.
    frames.u32(0x3b03_1b01);
    frames.u32(-(framesBytes + 4));
    frames.u32(1);
    frames.u32(-(framesBytes + codeBytes));
    frames.u32(entryAt - framesBytes);
    if (codeBytes + frames.at > spanBytes) return;

    const out = this.#out;
    const start = this.#begin(Record.unwinding, now);
    out.u64(frames.at);
    out.u64(FRAME_INDEX_BYTES);
    out.u64(frames.at); // the bytes behind the code that count as its
    out.append(frames.bytes);
    out.align(8);
    out.u32At(start + 4, out.at - start);
  }

  /** Nanoseconds of the clock that perf is told to use (`-k 1`). A double has them exact for the first hundred days. */
  #now(): number {
    this.#clock(CLOCK_MONOTONIC, this.#time);
    // Two 64-bit fields, read by halves: a bigint would take longer than the call.
    const [seconds = 0, high = 0, nanoseconds = 0] = this.#time;
    return (seconds + high * 2 ** 32) * 1e9 + nanoseconds;
  }
}

/** Where perf's other users put such files: `.debug/jit` in JITDUMPDIR, or in the home folder. */
function dumpFolder(): string {
  return `${process.env["JITDUMPDIR"] ?? builtin("node:os").homedir()}/.debug/jit`;
}

function makeFolder(folder: string): string {
  const { mkdirSync, mkdtempSync } = builtin("node:fs");
  try {
    mkdirSync(folder, { recursive: true });
    return mkdtempSync(`${folder}/jit-allocator-`);
  } catch (cause) {
    throw refused(`cannot make a folder in ${folder}; JITDUMPDIR names another place`, cause);
  }
}

/** A C `int` that was read as a pointer. */
function int(value: unknown): number {
  return Number(value) | 0;
}

function refused(reason: string, cause?: unknown): JitError {
  return new JitError("ERR_FEATURE_NOT_ENABLED", `Cannot write a jitdump for perf: ${reason}`, { cause });
}
