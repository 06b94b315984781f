/** Gives names, and lets debuggers and profilers know of them. */
import { moveObservers } from "../engine/observation.ts";
import type { Engine } from "../engine/engine.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import { spanAccess } from "../engine/span.ts";
import type { Span } from "../engine/span.ts";
import type { Address } from "../ffi/contract.ts";
import { announceAllocated, announceWritten } from "./announce.ts";
import { moveNames, nameCode, nameOfTarget } from "./code-names.ts";
import { moveRecorders } from "./recording.ts";

/** Names an allocation that has no contents yet. Its bytes are announced when it is made callable. */
export function nameAllocated(span: Span, name: string): void {
  nameCode(span, name);
  if (spanAccess.block(span).kind === "code") announceAllocated(span);
}

/** Names a span that has been written. */
export function nameWritten(span: Span, name: string): void {
  nameCode(span, name);
  if (spanAccess.block(span).kind === "code") announceWritten(span);
}

/** Names a veneer for its target: by the name of code that begins there, or by the address. */
export function nameVeneer(stub: Span, target: Address): void {
  nameWritten(stub, `veneer_to_${nameOfTarget(stub, target) ?? `0x${target.toString(16)}`}`);
}

/** Lets another object take over an allocator's spans, with their names and whoever observes them: it has just been shared. */
export function handOver(from: Engine, to: SharedEngine): void {
  moveNames(from, to);
  moveObservers(from, to);
  moveRecorders(from, to);
}
