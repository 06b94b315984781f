import type { Address } from "../ffi/contract.ts";
import { Kind } from "../core/layout.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { ModuleTicket, PressureListener, SpanOwner, SpanToken } from "./contract.ts";
import type { DetailedStatistics } from "./detailed-statistics.ts";
import type { HeapSurvey } from "./heap-survey.ts";
import type { Span } from "./span.ts";
import type { BlockInfo, Statistics } from "./statistics.ts";
import type { WriteScopeOwner } from "./write-scope.ts";

/** {@link AllocatorOperations.allocCode} by other operations, each of which checks by itself. */
export function allocAndWrite(
  operations: AllocatorOperations,
  code: Uint8Array,
  size: number,
  mustSucceed: boolean,
): Span {
  const span = mustSucceed ? operations.allocOf(size, Kind.code, true) : operations.alloc(size);
  try {
    operations.writeBytes(span, 0, code, "default");
    return span;
  } catch (error) {
    operations.releaseIfLive(span);
    throw error;
  }
}

/** The operations of an allocator, both of one thread's (Engine) and of a shared one, which locks (SharedEngine). */
export interface AllocatorOperations extends SpanOwner, WriteScopeOwner {
  alloc(size: number): Span;
  /** Allocates memory of any kind. @param mustSucceed whether it may take the reserve */
  allocOf(size: number, kind: Kind, mustSucceed: boolean): Span;
  /**
   * Allocates `size` bytes of code, as {@link allocOf} does, and writes `code` to their start. If that fails, nothing stays
   * allocated.
   */
  allocCode(code: Uint8Array, size: number, mustSucceed: boolean): Span;
  allocAddress(size: number): Address;
  /** Stores bytes that are read as data, in one access. */
  store(span: Span, offset: number, bytes: Uint8Array): void;
  release(target: Span | Address): void;
  /** Allocates a part of a module. */
  allocPart(ticket: ModuleTicket, size: number, kind: Kind, mustSucceed: boolean): Span;
  /** Ends the building of a module: whatever becomes of this thread, its allocations are there. */
  commitModule(ticket: ModuleTicket): void;
  /** Releases live spans of a module: all, or where the system refuses the first step, none. */
  releaseModule(ticket: ModuleTicket, spans: readonly Span[]): void;
  shrink(target: Span | Address, newSize: number): void;
  query(rx: Address): Span;
  queryAddress(rx: Address): Address;
  sizeOf(span: Span): number;
  spanOf(token: SpanToken): Span;
  statistics(): Statistics;
  detailedStatistics(): DetailedStatistics;
  /** Calls a listener behind each allocation of this thread that has crossed a part of what may be reserved, upwards. */
  watchPressure(atRatio: number, listener: PressureListener): Disposable;
  describeBlocks(): BlockInfo[];
  /** All that there is, as it is at one moment. @param wantsCode whether with the bytes of code */
  survey(wantsCode: boolean): HeapSurvey;
  reset(policy: "soft" | "hard"): void;
  verify(): void;
  dispose(): void;
  checkOpen(action: string): void;
  trim(): number;
  /** Says that code may be running from now on, which nobody sees; {@link leave} says that it is not any more. */
  enter(): void;
  leave(): void;
  /** The range of all blocks; undefined where there is none, or none yet. */
  readonly range: AddressRange | undefined;
  /** Bytes: what all blocks together may reserve, which may be less than the options say. */
  readonly maxReservedSize: number;
}
