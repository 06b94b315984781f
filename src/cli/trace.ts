/**
 * Reads allocation traces: text, one operation a line, as the table in docs/command-line.md says. A trace has millions of
 * lines, so it is read byte by byte into flat arrays, and ids become dense slots: the loop that runs it later touches no
 * string, no map and no object.
 */
import { constants, gunzipSync } from "node:zlib";
import { TraceSlots } from "./trace-slots.ts";

/** What an operation of a trace does; the values of {@link Trace.kinds}. */
export const enum OperationKind {
  alloc = 0,
  release = 1,
  shrink = 2,
  query = 3,
}

/** A named stretch of a trace: the operations from `start` to just before `end`. */
export interface TracePhase {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** A trace that has been checked: every operation but an allocation is on a slot that is live at that point. */
export interface Trace {
  readonly operationCount: number;
  /** The number of slots: one for each different id. */
  readonly slotCount: number;
  /** One of {@link OperationKind} for each operation. */
  readonly kinds: Uint8Array;
  /** The slot of each operation, from 0. */
  readonly slots: Int32Array;
  /** The size in bytes that each allocation or shrink asks for; 0 for other operations. */
  readonly sizes: Int32Array;
  readonly phases: readonly TracePhase[];
  /** Of a recorded trace: whether its last line was left out, because the process ended before it was written whole. */
  readonly isCut: boolean;
  /** Operations that were left out, on allocations that no thread has recorded. 0 but for a trace of several threads. */
  readonly lostCount: number;
}

/**
 * Is told of the comments of a trace.
 * @param line the whole line
 * @param operation how many operations come before it
 * @param slotOf the slot that an id has had last; -1 where it has had none
 */
export type CommentListener = (line: string, operation: number, slotOf: (id: number) => number) => void;

/** A line of a trace that cannot be run. */
export class TraceError extends Error {
  /** The number of the line, from 1. */
  readonly line: number;

  constructor(line: number, reason: string) {
    super(`line ${line}: ${reason}`);
    this.name = "TraceError";
    this.line = line;
  }
}

/** Sizes are kept as 32-bit integers; nothing that an allocator can hand out is larger. */
const LARGEST_SIZE = 0x7fff_ffff;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const HASH = 0x23;
const DIGIT_ZERO = 0x30;
const LETTER_ALLOC = 0x61;
const LETTER_RELEASE = 0x66;
const LETTER_PHASE = 0x70;
const LETTER_QUERY = 0x71;
const LETTER_SHRINK = 0x73;
/** What the words `reset`, `dispose` and `live` begin with. */
const ENDING_LETTERS: ReadonlySet<number> = new Set([0x72, 0x64, 0x6c]);

/**
 * Reads a trace.
 * @param fileName its ending decides whether `bytes` are gzip (`.gz`) or text; for `-` the bytes themselves decide.
 * @param onComment is told of each comment, in their order
 * @throws TraceError naming the first line that is malformed, or that uses an id which is not live.
 *
 * @example
 * ```ts
 * const trace = readTrace("my.trace", new TextEncoder().encode("a 1 64\nf 1\n"));
 * trace.operationCount; // 2
 * ```
 */
export function readTrace(fileName: string, bytes: Uint8Array, onComment?: CommentListener): Trace {
  return new TraceReader(unpacked(fileName, bytes), -1, onComment).read();
}

/**
 * The number of the line, from 1, of the operation at `index` (from 0). Reads the trace again: it is only called for an
 * operation that an allocator refused.
 */
export function lineOfOperation(fileName: string, bytes: Uint8Array, index: number): number {
  const reader = new TraceReader(unpacked(fileName, bytes), index);
  reader.read();
  return reader.watchedLine;
}

/** The text of a trace, unpacked. */
export function fileText(fileName: string, bytes: Uint8Array): Uint8Array {
  return unpacked(fileName, bytes).text;
}

/** The text of a trace, and whether its file ends in the middle of what was packed. */
interface Unpacked {
  readonly text: Uint8Array;
  readonly isCut: boolean;
}

function unpacked(fileName: string, bytes: Uint8Array): Unpacked {
  const isPacked = fileName === "-" ? bytes[0] === 0x1f && bytes[1] === 0x8b : fileName.endsWith(".gz");
  return isPacked ? unpack(bytes) : { text: bytes, isCut: false };
}

/** What gzip has packed; of a recorded trace as much as there is, because a process may have ended in the middle of a piece. */
function unpack(bytes: Uint8Array): Unpacked {
  try {
    return { text: gunzipSync(bytes), isCut: false };
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "Z_BUF_ERROR")) throw error;
    const text = gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
    if (!isRecorded(text)) throw error;
    return { text, isCut: true };
  }
}

/** What a recorded trace begins with. */
const RECORDED = new TextEncoder().encode("# jit-allocator trace ");
/** What stands before the operations of a thread. */
const THREAD = new TextEncoder().encode("# thread ");
/** What a thread of several has ended, and behind a reset what is live then. */
const END = /^# (?:(reset|dispose)|live((?: \d+)*))$/;

function isRecorded(text: Uint8Array): boolean {
  return startsWith(text, 0, RECORDED);
}

function startsWith(text: Uint8Array, at: number, start: Uint8Array): boolean {
  return start.every((byte, index) => text[at + index] === byte);
}

class TraceReader {
  readonly #text: Uint8Array;
  /** The position of the next byte. */
  #at = 0;
  /** The start of the line being read, and its number from 1. */
  #lineStart = 0;
  #line = 0;

  #kinds = new Uint8Array(1024);
  #slots = new Int32Array(1024);
  #sizes = new Int32Array(1024);
  #operationCount = 0;

  readonly #known = new TraceSlots();

  readonly #phases: TracePhase[] = [];
  /** Null until the first `p` line. */
  #phaseName: string | null = null;
  #phaseStart = 0;

  readonly #isCut: boolean;
  /**
   * Whether several threads have recorded. A thread that was terminated may not have written what it did last: what is
   * allocated twice has been released in between, and what was never allocated is left out.
   */
  #hasThreads = false;
  #lostCount = 0;
  /** The operation whose line is wanted, and that line. */
  readonly #watched: number;
  watchedLine = 0;

  readonly #onComment: CommentListener | undefined;

  constructor({ text, isCut }: Unpacked, watched = -1, onComment?: CommentListener) {
    this.#onComment = onComment;
    this.#isCut = isRecorded(text) && (isCut || text.at(-1) !== NEWLINE);
    this.#text = this.#isCut ? text.subarray(0, text.lastIndexOf(NEWLINE) + 1) : text;
    this.#watched = watched;
  }

  read(): Trace {
    const text = this.#text;
    while (this.#at < text.length) {
      this.#line++;
      this.#lineStart = this.#at;
      this.#readLine(text[this.#at++] ?? NEWLINE);
    }
    this.#settle([]);
    this.#closePhase();
    return {
      operationCount: this.#operationCount,
      slotCount: this.#known.count,
      kinds: this.#kinds.slice(0, this.#operationCount),
      slots: this.#slots.slice(0, this.#operationCount),
      sizes: this.#sizes.slice(0, this.#operationCount),
      phases: this.#phases,
      isCut: this.#isCut,
      lostCount: this.#lostCount,
    };
  }

  /** Reads the rest of the line whose first byte is `letter`, and moves past its end. */
  #readLine(letter: number): void {
    switch (letter) {
      case LETTER_ALLOC: {
        const id = this.#readNumber("an ID", Number.MAX_SAFE_INTEGER);
        const size = this.#readNumber("a SIZE in bytes", LARGEST_SIZE);
        this.#endLine();
        if (size === 0) throw this.#error("an allocation of 0 bytes");
        this.#allocate(id, size);
        return;
      }
      case LETTER_RELEASE: {
        const id = this.#readNumber("an ID", Number.MAX_SAFE_INTEGER);
        this.#endLine();
        this.#use(OperationKind.release, id, 0);
        return;
      }
      case LETTER_SHRINK: {
        const id = this.#readNumber("an ID", Number.MAX_SAFE_INTEGER);
        const size = this.#readNumber("a SIZE in bytes", LARGEST_SIZE);
        this.#endLine();
        this.#use(OperationKind.shrink, id, size);
        return;
      }
      case LETTER_QUERY: {
        const id = this.#readNumber("an ID", Number.MAX_SAFE_INTEGER);
        this.#endLine();
        this.#use(OperationKind.query, id, 0);
        return;
      }
      case LETTER_PHASE:
        this.#readPhase();
        return;
      case HASH:
        this.#hasThreads ||= startsWith(this.#text, this.#lineStart, THREAD);
        this.#takeComment();
        return;
      case NEWLINE:
        // An empty line does nothing; text editors leave them.
        return;
      case CARRIAGE_RETURN:
        this.#endLine();
        return;
      default:
        throw this.#malformed("a line starts with a, f, s, q, p or #");
    }
  }

  /** `p NAME`: the name is the rest of the line, spaces and all. */
  #readPhase(): void {
    const rest = new TextDecoder().decode(this.#takeRestOfLine());
    const name = rest.trim();
    if (!rest.startsWith(" ") || name === "") throw this.#malformed("the NAME of the phase is missing");
    this.#closePhase();
    this.#phaseName = name;
  }

  /** Ends the current phase. The part before the first `p` is a phase only if it has operations. */
  #closePhase(): void {
    const end = this.#operationCount;
    if (end > this.#phaseStart || this.#phaseName !== null) {
      this.#phases.push({ name: this.#phaseName ?? "all", start: this.#phaseStart, end });
    }
    this.#phaseStart = end;
  }

  #allocate(id: number, size: number): void {
    const slot = this.#known.findOrMake(id);
    if (this.#known.isLive(slot)) {
      if (!this.#hasThreads) throw this.#error(`ID ${id} is allocated already`);
      this.#append(OperationKind.release, slot, 0);
    }
    this.#known.setLive(slot);
    this.#append(OperationKind.alloc, slot, size);
  }

  /** Adds an operation on an id that must be live. */
  #use(kind: OperationKind, id: number, size: number): void {
    const slot = this.#known.find(id);
    const isLive = this.#known.isLive(slot);
    if (this.#hasThreads && !isLive) {
      this.#lostCount++;
      return;
    }
    if (slot < 0) throw this.#error(`ID ${id} was never allocated`);
    if (!isLive) {
      const again = kind === OperationKind.release ? "was released already" : "has been released";
      throw this.#error(`ID ${id} ${again}`);
    }
    // A shrink to nothing is a release.
    if (kind === OperationKind.release || (kind === OperationKind.shrink && size === 0)) {
      this.#known.setReleased(slot);
    }
    this.#append(kind, slot, size);
  }

  /**
   * What a thread has ended at once, it has also ended of other threads, and it did not know of all of that. So what is live at
   * a reset is in doubt until the line that says what was live behind it.
   */
  #readEnd(line: string): void {
    const [, how, live] = END.exec(line) ?? [];
    if (how === undefined && live === undefined) return;
    this.#settle(live?.split(" ").slice(1).map(Number) ?? []);
    if (how === undefined) return;
    this.#known.doubt();
    if (how === "dispose") this.#settle([]);
  }

  #settle(kept: readonly number[]): void {
    for (const slot of this.#known.settle(kept)) this.#append(OperationKind.release, slot, 0);
  }

  #append(kind: OperationKind, slot: number, size: number): void {
    const index = this.#operationCount++;
    if (index === this.#watched) this.watchedLine = this.#line;
    if (index >= this.#kinds.length) this.#growOperations();
    this.#kinds[index] = kind;
    this.#slots[index] = slot;
    this.#sizes[index] = size;
  }

  #growOperations(): void {
    const count = this.#kinds.length * 2;
    const kinds = new Uint8Array(count);
    const slots = new Int32Array(count);
    const sizes = new Int32Array(count);
    kinds.set(this.#kinds);
    slots.set(this.#slots);
    sizes.set(this.#sizes);
    this.#kinds = kinds;
    this.#slots = slots;
    this.#sizes = sizes;
  }

  /** Reads one or more spaces and the digits after them. */
  #readNumber(what: string, largest: number): number {
    const text = this.#text;
    let at = this.#at;
    while (text[at] === SPACE) at++;
    const first = at;
    let value = 0;
    for (;;) {
      const digit = (text[at] ?? NEWLINE) - DIGIT_ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    // Digits without a space before them belong to the preceding text.
    if (at === first || first === this.#at) throw this.#malformed(`${what} is missing`);
    if (value > largest) throw this.#malformed(`${what} is larger than ${largest}`);
    this.#at = at;
    return value;
  }

  /** Checks that nothing but spaces is left of the line, and moves past it. */
  #endLine(): void {
    const text = this.#text;
    while (text[this.#at] === SPACE) this.#at++;
    if (text[this.#at] === CARRIAGE_RETURN) this.#at++;
    if (this.#at < text.length && text[this.#at] !== NEWLINE) {
      throw this.#malformed("something follows the operation");
    }
    this.#at++;
  }

  #takeComment(): void {
    const start = this.#lineStart;
    this.#takeRestOfLine();
    const canEnd = this.#hasThreads && ENDING_LETTERS.has(this.#text[start + 2] ?? NEWLINE);
    if (this.#onComment === undefined && !canEnd) return;
    const { buffer, byteOffset } = this.#text;
    const line = Buffer.from(buffer, byteOffset + start, this.#at - start)
      .toString()
      .trimEnd();
    if (canEnd) this.#readEnd(line);
    this.#onComment?.(line, this.#operationCount, (id) => this.#known.find(id));
  }

  #takeRestOfLine(): Uint8Array {
    const start = this.#at;
    const newline = this.#text.indexOf(NEWLINE, start);
    const end = newline < 0 ? this.#text.length : newline;
    this.#at = end + 1;
    return this.#text.subarray(start, end);
  }

  #error(reason: string): TraceError {
    return new TraceError(this.#line, reason);
  }

  /** An error that shows the line, which may be anything: at most 60 bytes of it, quoted. */
  #malformed(reason: string): TraceError {
    const start = this.#lineStart;
    const newline = this.#text.indexOf(NEWLINE, start);
    const end = Math.min(newline < 0 ? this.#text.length : newline, start + 60);
    return this.#error(
      `${reason}: ${JSON.stringify(new TextDecoder().decode(this.#text.subarray(start, end)))}`,
    );
  }
}
