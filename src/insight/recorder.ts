/**
 * Writes what an allocator does as a trace.
 *
 * The ID of an allocation is its address: counted in granules from the start of the range, where there is one. So all
 * threads of a shared allocator have the same IDs, and none of them has to remember any. A release is written before it is
 * made, and an allocation behind it: whatever thread gets the memory next, its line comes later.
 */
import type { Observer } from "../engine/contract.ts";
import type { SpanKind } from "../engine/kinds.ts";
import type { AllocatorOperations } from "../engine/operations.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { Address } from "../ffi/contract.ts";
import { codeNameAt } from "./code-names.ts";
import * as lines from "./trace-format.ts";
import type { TraceSink } from "./trace-sink.ts";

/** Microseconds since the last operation from which on an operation has its time. */
const TIMED_MICROSECONDS = 1000;

/** How a recorder writes. */
export interface Recorded {
  readonly sink: TraceSink;
  /** Microseconds since 1970 when the recording began. */
  readonly startedAt: number;
  /** Bytes. */
  readonly granularity: number;
  /** The number of this thread in a shared allocator, 0 in one that is not shared. */
  member: number;
}

/** Microseconds since 1970, by a clock that does not go back. */
export function now(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

/** Records the operations of one thread. */
export class Recorder<Operations extends AllocatorOperations> implements Observer {
  readonly recorded: Recorded;
  readonly #fail: (error: unknown) => void;
  readonly #disposed: () => void;
  #operations: Operations;
  /** Null until something is allocated: then it is known whether there is a range. */
  #range: AddressRange | undefined | null = null;
  #toldAt = -Infinity;

  /**
   * @param fail is told where the sink cannot write, which must not make the operation fail that is recorded
   * @param disposed is told where there is nothing more to come
   */
  constructor(
    operations: Operations,
    recorded: Recorded,
    fail: (error: unknown) => void,
    disposed: () => void,
  ) {
    this.#operations = operations;
    this.recorded = recorded;
    this.#fail = fail;
    this.#disposed = disposed;
  }

  get operations(): Operations {
    return this.#operations;
  }

  /** Records another object's operations from now on, which has taken over the allocations. */
  follow(operations: Operations, member: number): void {
    this.#operations = operations;
    this.recorded.member = member;
  }

  /** Writes what a trace begins with, and all that is live now. */
  begin(header: string): void {
    this.recorded.sink.write(header + this.#linesOf(() => true));
  }

  allocated(rx: Address, size: number, kind: SpanKind): void {
    this.#tell(() => {
      const id = this.#idOf(rx);
      return this.#prefix() + lines.allocationLine(id, size) + lines.placeLine(id, rx, kind);
    });
  }

  /** The live allocation that begins at an address was given a name. */
  named(rx: Address, kind: SpanKind, name: string): void {
    this.#tell(() => lines.placeLine(this.#idOf(rx), rx, kind, name));
  }

  shrunk(rx: Address, newSize: number): void {
    this.#tell(() => this.#prefix() + lines.shrinkLine(this.#idOf(rx), newSize));
  }

  ending(starts: readonly Address[] | undefined): void {
    this.#tell(() => {
      const ending = (starts ?? this.#liveStarts()).map((rx) => lines.releaseLine(this.#idOf(rx)));
      return ending.length === 0 ? "" : this.#prefix() + ending.join("");
    });
  }

  failed(starts: readonly Address[] | undefined): void {
    if (starts?.length === 0) return;
    const ended = starts === undefined ? undefined : new Set(starts);
    this.#tell(() => this.#prefix() + this.#linesOf((rx) => ended?.has(rx) !== false));
  }

  ended(_rx: Address | undefined, how?: "reset" | "dispose"): void {
    if (how === undefined) return;
    this.#tell(() => lines.endLine(how));
    // In this order: what other threads make from now on, they write behind the line above.
    if (how === "reset" && this.recorded.member !== 0)
      this.#tell(() => lines.liveLine(this.#liveStarts().map((rx) => this.#idOf(rx))));
    if (how === "dispose") this.#disposed();
  }

  #liveStarts(): Address[] {
    const { spans } = this.#operations.survey(false);
    return spans.filter(({ isRetired }) => !isRetired).map(({ rx }) => rx);
  }

  /** The lines that make the allocations which are live now and wanted. */
  #linesOf(isWanted: (rx: Address) => boolean): string {
    const { spans, blocks } = this.#operations.survey(false);
    return spans
      .filter(({ rx, isRetired }) => !isRetired && isWanted(rx))
      .map(({ rx, size, block }) => {
        const id = this.#idOf(rx);
        const place = lines.placeLine(
          id,
          rx,
          blocks[block]?.kind ?? "code",
          codeNameAt(this.#operations, rx),
        );
        return lines.allocationLine(id, size) + place;
      })
      .join("");
  }

  /** The time, if some has gone by, and the thread: those of others write to the same sink. */
  #prefix(): string {
    const time = now() - this.recorded.startedAt;
    const { member } = this.recorded;
    const thread = member === 0 ? "" : lines.threadLine(member);
    if (time - this.#toldAt < TIMED_MICROSECONDS) return thread;
    this.#toldAt = time;
    return lines.timeLine(Math.max(0, time)) + thread;
  }

  #idOf(rx: Address): number {
    if (this.#range === null) this.#range = this.#operations.range;
    const range = this.#range;
    const offset = rx - (range?.rx ?? 0);
    return offset >= 0 && offset < (range?.sizeBytes ?? Infinity) ? offset / this.recorded.granularity : rx;
  }

  #tell(describe: () => string): void {
    try {
      const text = describe();
      if (text !== "") this.recorded.sink.write(text);
    } catch (error) {
      this.#fail(error);
    }
  }
}
