import type { Address } from "../ffi/contract.ts";
import type { Kind } from "../core/layout.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { ModuleTicket, SpanOwner, SpanToken } from "./contract.ts";
import type { HeapSurvey } from "./heap-survey.ts";
import type { Span } from "./span.ts";
import type { BlockInfo, Statistics } from "./statistics.ts";
import type { WriteScopeOwner } from "./write-scope.ts";

/** The operations of an allocator, both of one thread's (Engine) and of a shared one, which locks (SharedEngine). */
export interface AllocatorOperations extends SpanOwner, WriteScopeOwner {
  alloc(size: number): Span;
  allocOf(size: number, kind: Kind): Span;
  allocAddress(size: number): Address;
  /** Stores bytes that are read as data, in one access. */
  store(span: Span, offset: number, bytes: Uint8Array): void;
  release(target: Span | Address): void;
  /** Allocates a part of a module. */
  allocPart(ticket: ModuleTicket, size: number, kind: Kind): Span;
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
