/** All that an allocator has at one moment, in one piece: for snapshots. */
import { valueAt } from "../core/generations.ts";
import type { Core } from "../core/core.ts";
import { liveCountOf, paddingOf, usedBytesOf, visitAllocations } from "../core/survey.ts";
import type { Address } from "../ffi/contract.ts";
import type { AddressRange } from "../vm/contract.ts";
import type { RetiredPlaces } from "./contract.ts";
import type { SpanKind } from "./kinds.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { Statistics } from "./statistics.ts";

/** A mapped block. Sizes are bytes. */
export interface SurveyedBlock {
  readonly rx: Address;
  readonly rw: Address;
  readonly size: number;
  readonly kind: SpanKind;
  readonly granularity: number;
  readonly usedSize: number;
  readonly allocationCount: number;
  /** Bytes in use at its start that are no allocation's. */
  readonly padding: number;
}

/** An allocation: live, or retired and not free yet. */
export interface SurveyedSpan {
  readonly rx: Address;
  /** Bytes. */
  readonly size: number;
  /** The index of its block. */
  readonly block: number;
  readonly isRetired: boolean;
  /** The number of the thread that it belongs to; undefined where the allocator is not shared, or it was retired. */
  readonly member: number | undefined;
  /** A number that grows with each allocation of a thread; undefined in the same cases. */
  readonly order: number | undefined;
  /** A copy of its bytes, if that was wanted. */
  readonly code: Uint8Array | undefined;
}

/** Blocks and allocations ascend by address. */
export interface HeapSurvey {
  readonly statistics: Statistics;
  readonly range: AddressRange | undefined;
  readonly blocks: readonly SurveyedBlock[];
  readonly spans: readonly SurveyedSpan[];
}

/** What is surveyed: an engine. */
interface Surveyed {
  readonly core: Core;
  readonly blocks: { all(): MappedBlock[] };
  readonly limbo: RetiredPlaces;
  readonly range: AddressRange | undefined;
}

/** The part of a generation that counts; the sign bit is always set. */
const COUNTER = 0x7fff_ffff;

/**
 * Surveys an engine.
 * @param wantsCode whether with the bytes of all code
 * @param memberOf the member whose generations these are; absent where the allocator is not shared
 * @throws JitError `ERR_OUT_OF_MEMORY` where there is no memory for the bytes
 */
export function surveyHeap(
  { core, blocks, limbo, range }: Surveyed,
  statistics: Statistics,
  wantsCode: boolean,
  memberOf?: (generation: number) => number,
): HeapSurvey {
  const spans: SurveyedSpan[] = [];
  const surveyed = blocks.all().map((mapped, index): SurveyedBlock => {
    const { block, rx, rw, sizeBytes, kind, granuleShift } = mapped;
    visitAllocations(core.words, block, (granule, count) => {
      const offset = granule * 2 ** granuleShift;
      const size = count * 2 ** granuleShift;
      const isRetired = !limbo.isEmpty && limbo.has(block, granule);
      const generation =
        memberOf === undefined || isRetired ? undefined : valueAt(core.words, block, granule);
      spans.push({
        rx: rx + offset,
        size,
        block: index,
        isRetired,
        member: generation === undefined ? undefined : memberOf?.(generation),
        order: generation === undefined ? undefined : generation & COUNTER,
        code: wantsCode && kind === "code" ? mapped.read(offset, size) : undefined,
      });
    });
    return {
      rx,
      rw,
      size: sizeBytes,
      kind,
      granularity: 2 ** granuleShift,
      usedSize: usedBytesOf(core.words, block),
      allocationCount: liveCountOf(core.words, block),
      padding: paddingOf(core.words) * 2 ** granuleShift,
    };
  });
  return { statistics, range, blocks: surveyed, spans };
}
