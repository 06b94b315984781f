/** Keeps track of what this thread has told debuggers and profilers, tells it once, and takes it back when code has ended. */
import type { ProcessorName } from "../base/platform.ts";
import type { SpanOwner } from "../engine/contract.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import { codeName, codeSymbols } from "./code-names.ts";
import type { KnownCode } from "./elf-object.ts";
import type { GdbEntry, GdbInterface } from "./gdb.ts";
import type { JitDump } from "./jitdump.ts";
import type { Slot } from "./native-slots.ts";
import type { PerfMap } from "./perf-map.ts";
import { frameInstructions } from "./prologue.ts";
import type { Unwinder } from "./unwinder.ts";

const { rx: rxOf, rw: rwOf, block: blockOf } = spanAccess;

/** Where code is announced. */
export interface Listeners {
  gdb?: GdbInterface;
  jitdump?: JitDump;
  perfMap?: PerfMap;
  unwind?: Unwinder;
}

/** Code that is to be announced. */
export interface Code {
  readonly span: Span;
  /** Bytes of code from the start of the span. */
  readonly sizeBytes: number;
  /** The code, where it has been written. */
  readonly bytes: Uint8Array | undefined;
  /** DWARF call frame instructions, where the compiler knows them. */
  readonly unwind?: Uint8Array | undefined;
}

interface Announced {
  readonly span: Span;
  readonly hasBytes: boolean;
  readonly entry: GdbEntry | undefined;
  /** Its description for C++. */
  readonly frame: Slot | undefined;
}

/** The number of announcements up to which they are not searched for ended ones. */
const FIRST_SWEEP_SIZE = 1024;

const NO_BYTES = new Uint8Array(0);

/** The announcements of one thread. */
export class Announcer {
  readonly listeners: Listeners = {};
  readonly #processor: ProcessorName;
  readonly #announced = new Map<Address, Announced>();
  /** The allocators that tell when code has ended. */
  readonly #watched = new WeakSet<SpanOwner>();
  #nextSweepSize = FIRST_SWEEP_SIZE;

  readonly #fail: (error: unknown) => void;

  /** @param fail is told where an end cannot be announced; nothing is announced from then on */
  constructor(processor: ProcessorName, fail: (error: unknown) => void) {
    this.#processor = processor;
    this.#fail = fail;
  }

  /** Whether the code of a live span has been announced with its bytes. */
  knows(span: Span): boolean {
    const known = this.#announced.get(rxOf(span));
    return known?.hasBytes === true && isLive(known.span);
  }

  /** Announces code, in place of what was announced at its address before. */
  announce({ span, sizeBytes, bytes, unwind }: Code): void {
    const { owner } = blockOf(span);
    if (!owner.isExecutable) return;
    const rx = rxOf(span);
    this.#end(rx);
    const name = codeName(span);
    const code: KnownCode = {
      rx,
      sizeBytes,
      name: name === undefined || name === "" ? `code_${rx.toString(16)}` : name,
      symbols: codeSymbols(span),
      processor: this.#processor,
      frames: unwind ?? frameInstructions(bytes ?? NO_BYTES, this.#processor),
    };
    const { gdb, jitdump, perfMap, unwind: unwinder } = this.listeners;
    const entry = gdb?.add(code);
    const frame = Number.isNaN(owner.releaseCount) ? undefined : unwinder?.add(code);
    this.#announced.set(rx, { span, hasBytes: bytes !== undefined, entry, frame });
    jitdump?.add(code, bytes, owner.sizeOf(span));
    perfMap?.add(code, rwOf(span));
    this.#watch(owner);
    if (this.#announced.size >= this.#nextSweepSize) this.#sweep();
  }

  /** Lets an allocator tell of ends. Those in other threads of a shared allocator are found by {@link #sweep} alone. */
  #watch(owner: SpanOwner): void {
    if (this.#watched.has(owner)) return;
    this.#watched.add(owner);
    owner.observe({ ended: (rx) => this.#ended(rx) });
  }

  #ended(rx: Address | undefined): void {
    try {
      if (rx === undefined) this.#sweep();
      else this.#end(rx);
    } catch (error) {
      this.#fail(error);
    }
  }

  #end(rx: Address): void {
    const known = this.#announced.get(rx);
    if (known === undefined) return;
    this.#announced.delete(rx);
    if (known.entry !== undefined) this.listeners.gdb?.remove(known.entry);
    if (known.frame !== undefined) this.listeners.unwind?.remove(known.frame);
  }

  /** Takes back whatever has ended. The next search waits until there is twice as much. */
  #sweep(): void {
    for (const [rx, { span }] of this.#announced) {
      if (!isLive(span)) this.#end(rx);
    }
    this.#nextSweepSize = Math.max(FIRST_SWEEP_SIZE, 2 * this.#announced.size);
  }
}

function isLive(span: Span): boolean {
  return blockOf(span).owner.isLive(span);
}
