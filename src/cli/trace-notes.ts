/**
 * What a recorded trace says in comments: addresses, names and kinds, threads, times, the allocator's options. Every other
 * reader passes over them.
 */
import { OperationKind, type Trace } from "./trace.ts";

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

/** A line that says where the allocation of a slot lies, and how many operations come before the line. */
interface Place {
  readonly before: number;
  readonly slot: number;
  readonly rx: number;
  readonly kind: number;
  readonly name: number;
}

/** `# at ID ADDRESS KIND`, and a name that may have spaces in it. */
const PLACE = /^# at (\d+) (0x[0-9a-f]+)(?: (\S+)(?: (.*?))?)?\r?$/;

/** No allocation is so long that one here would end above 2**53, where numbers have gaps. */
const HIGHEST_ADDRESS = 2 ** 53 - 2 ** 32;

/** Gathers the comments while a trace is read. */
export class NotesReader {
  readonly #kinds = new Map<string, number>();
  readonly #names = new Map<string, number>();
  readonly #places: Place[] = [];
  /** From which operation on a thread made them. */
  readonly #threads: { readonly from: number; readonly thread: number }[] = [];
  readonly #timeAt: number[] = [];
  readonly #timeUs: number[] = [];
  #granularity: number | undefined;
  #blockSize: number | undefined;

  /** Reads a comment; one that says nothing known is passed over. */
  read(line: string, operation: number, slotOf: (id: number) => number): void {
    const place = PLACE.exec(line);
    if (place !== null) {
      this.#readPlace(place, operation, slotOf);
      return;
    }
    const [, what, text = ""] = /^# (time|thread|options) (.*?)\r?$/.exec(line) ?? [];
    if (what === "options") this.#readOptions(text);
    else if (what !== undefined && /^\d+$/.test(text)) {
      if (what === "thread") this.#threads.push({ from: operation, thread: Number(text) });
      else {
        this.#timeAt.push(operation + 1);
        this.#timeUs.push(Number(text));
      }
    }
  }

  /** All of it, when the trace has been read. */
  notesOn(trace: Trace): TraceNotes {
    const { operationCount } = trace;
    const addresses = new Float64Array(operationCount);
    const kindOf = new Uint8Array(operationCount);
    const nameOf = new Uint32Array(operationCount);
    const threadOf = new Uint32Array(operationCount);
    this.#threads.forEach(({ from, thread }, index) => {
      threadOf.fill(thread, from, this.#threads[index + 1]?.from ?? operationCount);
    });
    this.#forEachPlace(trace, ({ rx, kind, name }, operation) => {
      addresses[operation] = rx;
      kindOf[operation] = kind;
      // It is said again when it is given a name, and may be given another.
      if (name !== 0) nameOf[operation] = name;
    });
    return {
      addresses,
      addressCount: addresses.reduce((count, address) => (address === 0 ? count : count + 1), 0),
      kinds: [...this.#kinds.keys()],
      kindOf,
      names: [...this.#names.keys()],
      nameOf,
      threadOf,
      timeAt: this.#timeAt,
      timeUs: this.#timeUs,
      granularity: this.#granularity,
      blockSize: this.#blockSize,
    };
  }

  /** Calls `tell` with each place, and the allocation that it is of. */
  #forEachPlace(
    { kinds, slots, slotCount, operationCount }: Trace,
    tell: (place: Place, allocation: number) => void,
  ): void {
    const allocationOf = new Int32Array(slotCount).fill(-1);
    let next = 0;
    for (let operation = 0; operation <= operationCount; operation++) {
      for (; this.#places[next]?.before === operation; next++) {
        const place = this.#places[next];
        const allocation = place === undefined ? -1 : (allocationOf[place.slot] ?? -1);
        if (place !== undefined && allocation >= 0) tell(place, allocation);
      }
      if (kinds[operation] === OperationKind.alloc) allocationOf[slots[operation] ?? 0] = operation;
    }
  }

  #readPlace(
    [, id, address, kind = "", name = ""]: readonly string[],
    before: number,
    slotOf: (id: number) => number,
  ): void {
    const [slot, rx] = [slotOf(Number(id)), Number(address)];
    if (slot < 0 || rx === 0 || rx > HIGHEST_ADDRESS) return;
    const numbers = [
      kind === "" ? 0 : numberOf(this.#kinds, kind),
      name === "" ? 0 : numberOf(this.#names, name),
    ];
    this.#places.push({ before, slot, rx, kind: numbers[0] ?? 0, name: numbers[1] ?? 0 });
  }

  #readOptions(json: string): void {
    try {
      const options: unknown = JSON.parse(json);
      if (typeof options !== "object" || options === null) return;
      if ("granularity" in options && isPower(options.granularity, 64))
        this.#granularity = options.granularity;
      if ("blockSize" in options && isPower(options.blockSize, 65_536)) this.#blockSize = options.blockSize;
    } catch {
      // A comment of somebody else's.
    }
  }
}

/** The number of a text, from 1 on: a new one where it has none. */
function numberOf(numbers: Map<string, number>, text: string): number {
  let number = numbers.get(text);
  if (number === undefined) numbers.set(text, (number = numbers.size + 1));
  return number;
}

/** Whether a value is a power of two that an allocator may have for a size: others would make pages without end. */
function isPower(value: unknown, least: number): value is number {
  return (
    typeof value === "number" && value >= least && value <= 2 ** 31 && Number.isInteger(Math.log2(value))
  );
}
