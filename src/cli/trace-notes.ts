/**
 * What a recorded trace says in comments: addresses, names and kinds, threads, times, the allocator's options. Every other
 * reader passes over them.
 */
import { fileText } from "./trace.ts";

/** The comments of a trace. Arrays are by operation, from 0. */
export interface TraceNotes {
  /** Of what an allocation returned (rx); 0 = not told. */
  readonly addresses: Float64Array;
  /** How many allocations have their address. */
  readonly addressCount: number;
  readonly kinds: readonly string[];
  /** The index in `kinds`, plus 1; 0 = not told. */
  readonly kindOf: Uint8Array;
  readonly names: readonly string[];
  /** The index in `names`, plus 1; 0 = none. */
  readonly nameOf: Uint32Array;
  /** 0 = not told. */
  readonly threadOf: Uint32Array;
  /** Operations, counted from 1, and the microseconds at which they were made. */
  readonly timeAt: readonly number[];
  readonly timeUs: readonly number[];
  /** Bytes; undefined = not told. */
  readonly granularity: number | undefined;
  readonly blockSize: number | undefined;
}

const NEWLINE = 0x0a;
const HASH = 0x23;
const LETTER_ALLOC = 0x61;
/** The first letters of operations: a, f, s, q. */
const OPERATIONS: ReadonlySet<number> = new Set([LETTER_ALLOC, 0x66, 0x73, 0x71]);

/** @param operationCount of the trace, which has been read before, so that its lines are known to be right */
export function readTraceNotes(fileName: string, bytes: Uint8Array, operationCount: number): TraceNotes {
  const text = fileText(fileName, bytes);
  const lines = Buffer.from(text.buffer, text.byteOffset, text.length);
  const notes = new NotesReader(operationCount);
  for (let at = 0; at < lines.length;) {
    const newline = lines.indexOf(NEWLINE, at);
    const end = newline < 0 ? lines.length : newline;
    const first = lines[at] ?? 0;
    if (first === HASH) notes.readNote(lines.toString("utf8", at, end));
    else if (OPERATIONS.has(first))
      notes.readOperation(first === LETTER_ALLOC ? lines.toString("latin1", at, end) : "");
    at = end + 1;
  }
  return notes.result;
}

class NotesReader {
  readonly #addresses: Float64Array;
  readonly #kindOf: Uint8Array;
  readonly #nameOf: Uint32Array;
  readonly #threadOf: Uint32Array;
  readonly #kinds = new Map<string, number>();
  readonly #names = new Map<string, number>();
  readonly #timeAt: number[] = [];
  readonly #timeUs: number[] = [];
  /** The operation that last allocated under an id. */
  readonly #allocationOf = new Map<string, number>();
  #addressCount = 0;
  #operation = 0;
  #thread = 0;
  #granularity: number | undefined;
  #blockSize: number | undefined;

  constructor(operationCount: number) {
    this.#addresses = new Float64Array(operationCount);
    this.#kindOf = new Uint8Array(operationCount);
    this.#nameOf = new Uint32Array(operationCount);
    this.#threadOf = new Uint32Array(operationCount);
  }

  /** @param allocation the line, where it allocates; else empty */
  readOperation(allocation: string): void {
    if (allocation !== "") this.#allocationOf.set(wordsOf(allocation)[1] ?? "", this.#operation);
    this.#threadOf[this.#operation] = this.#thread;
    this.#operation++;
  }

  /** Reads a comment; one that says nothing known is passed over. */
  readNote(line: string): void {
    const [, what, first = "", ...rest] = wordsOf(line);
    if (what === "at") this.#readAddress(first, rest, line);
    else if (what === "time" && isWhole(first)) {
      this.#timeAt.push(this.#operation + 1);
      this.#timeUs.push(Number(first));
    } else if (what === "thread" && isWhole(first)) this.#thread = Number(first);
    else if (what === "options") this.#readOptions(line.slice(line.indexOf("options") + "options".length));
  }

  #readAddress(id: string, [address = "", kind]: readonly string[], line: string): void {
    const operation = this.#allocationOf.get(id);
    const rx = Number(address);
    if (operation === undefined || !Number.isSafeInteger(rx) || rx <= 0) return;
    if (this.#addresses[operation] === 0) this.#addressCount++;
    this.#addresses[operation] = rx;
    if (kind === undefined) return;
    this.#kindOf[operation] = numberOf(this.#kinds, kind);
    // A name may have spaces in it: it is all that comes behind five words.
    const [, name = ""] = /^#\s*at\s+\S+\s+\S+\s+\S+ (.*?)\r?$/.exec(line) ?? [];
    if (name !== "") this.#nameOf[operation] = numberOf(this.#names, name);
  }

  #readOptions(json: string): void {
    try {
      const options: unknown = JSON.parse(json);
      if (typeof options !== "object" || options === null) return;
      if ("granularity" in options && isPower(options.granularity)) this.#granularity = options.granularity;
      if ("blockSize" in options && isPower(options.blockSize)) this.#blockSize = options.blockSize;
    } catch {
      // A comment of somebody else's.
    }
  }

  get result(): TraceNotes {
    return {
      addresses: this.#addresses,
      addressCount: this.#addressCount,
      kinds: [...this.#kinds.keys()],
      kindOf: this.#kindOf,
      names: [...this.#names.keys()],
      nameOf: this.#nameOf,
      threadOf: this.#threadOf,
      timeAt: this.#timeAt,
      timeUs: this.#timeUs,
      granularity: this.#granularity,
      blockSize: this.#blockSize,
    };
  }
}

function wordsOf(line: string): readonly string[] {
  // `#at` is `# at`.
  return line.replace(/^#\s*/, "# ").trim().split(/\s+/);
}

/** The number of a text, from 1 on: a new one where it has none. */
function numberOf(numbers: Map<string, number>, text: string): number {
  let number = numbers.get(text);
  if (number === undefined) numbers.set(text, (number = numbers.size + 1));
  return number;
}

function isWhole(text: string): boolean {
  return /^\d+$/.test(text);
}

/** Whether a value is a power of two that an allocator may have for a size. */
function isPower(value: unknown): value is number {
  return (
    typeof value === "number" &&
    Number.isSafeInteger(value) &&
    value >= 1 &&
    value <= 2 ** 31 &&
    Number.isInteger(Math.log2(value))
  );
}
