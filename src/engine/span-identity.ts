/**
 * Which span is of which allocation: makes spans, and knows whether they are live (core/generations.ts has the rules).
 * A span carries its block, its granule there, and what stood at that granule when it was made.
 */
import type { BlockMemory } from "./block-memory.ts";
import type { Core } from "../core/core.ts";
import * as generations from "../core/generations.ts";
import * as granules from "../core/granules.ts";
import { Spans } from "../core/layout.ts";
import type { SpanOwner, SpanToken } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";
import * as refusals from "./refusals.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { enterInLedger, giveGeneration, valueAt, watchBlock } = generations;
const { reaches } = granules;
const {
  isSpan,
  rx: rxOf,
  make: makeSpan,
  makeChecked,
  isChecked,
  block: blockOf,
  granule: granuleOf,
  generation: generationOf,
} = spanAccess;

/** Of no allocation: all generations are negative. */
const NO_GENERATION = 0;

const NOT_GIVEN = [0, 0] as const;

/** Whose spans they are. */
export interface SpanAllocator extends SpanOwner {
  /** Whom the spans ask: the allocator itself, or the one that locks before it asks this one. */
  readonly owner: SpanOwner;
  /** @throws JitError `ERR_DISPOSED` */
  checkOpen(action: string): void;
}

/** Makes and judges the spans of one allocator in one thread. */
export class SpanIdentity {
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #allocator: SpanAllocator;

  constructor(core: Core, blocks: BlockMemory, allocator: SpanAllocator) {
    this.#core = core;
    this.#blocks = blocks;
    this.#allocator = allocator;
  }

  /** The span of an allocation that was just made. @throws JitError `ERR_OUT_OF_MEMORY` */
  make(block: number, granule: number): Span {
    const core = this.#core;
    const spans = core.spansOf(block);
    // Nearly always: there is nothing to look up for it, and nothing that can fail.
    if (spans === Spans.made) return makeSpan(this.#blocks.at(block), granule);
    const mapped = this.#blocks.at(block);
    if ((spans & Spans.ledger) !== 0) {
      return makeChecked(mapped, granule, enterInLedger(core.words, block, granule));
    }
    if (core.generationsOf(block) === 0) throw refusals.outOfMetadata(mapped.sizeBytes, core.metadataLimit);
    const value = valueAt(core.words, block, granule);
    return value === 0 ? makeSpan(mapped, granule) : makeChecked(mapped, granule, value);
  }

  /** A span of an allocation that others may have a span of. @throws JitError `ERR_OUT_OF_MEMORY` */
  makeAnother(block: number, granule: number): Span {
    const core = this.#core;
    const mapped = this.#blocks.at(block);
    if ((core.spansOf(block) & (Spans.watched | Spans.ledger)) === 0) {
      if (core.generationsOf(block) === 0) throw refusals.outOfMetadata(mapped.sizeBytes, core.metadataLimit);
      watchBlock(core.words, block);
    }
    return makeChecked(mapped, granule, valueAt(core.words, block, granule));
  }

  /** Whether the allocation that begins at `granule` has that generation. */
  hasGeneration(block: number, granule: number, generation: number): boolean {
    return generation < 0 && valueAt(this.#core.words, block, granule) === generation;
  }

  /** A live span's allocation is given a generation, if it has none. */
  tokenOf(span: Span): SpanToken {
    const rx = rxOf(span);
    if (!this.isLive(span)) return { rx, generation: NO_GENERATION };
    const known = generationOf(span);
    if (known < 0) return { rx, generation: known };
    const mapped = blockOf(span);
    const granule = granuleOf(span);
    const given = giveGeneration(this.#core.words, mapped.block, granule);
    mapped.noteGeneration(granule, given, known);
    return { rx, generation: given };
  }

  isLive(span: Span): boolean {
    const mapped = blockOf(span);
    const granule = granuleOf(span);
    if (granule < 0 || !mapped.isMapped) return false;
    const spans = this.#core.spansOf(mapped.block);
    // What alloc made has ended where it was released through itself, and so it knows, or through something else.
    const asks = Spans.ledger | (isChecked(span) ? Spans.marked : Spans.foreign);
    return (spans & asks) === 0 || this.#isKnown(mapped, granule, span, spans);
  }

  /** Whether what stands at the start of an allocation is what the span knows. */
  #isKnown(mapped: MappedBlock, granule: number, span: Span, spans: number): boolean {
    const value = valueAt(this.#core.words, mapped.block, granule);
    const generation = generationOf(span);
    if (value === generation && (generation < 0 || (spans & Spans.ledger) === 0)) return true;
    // It may have been given its generation after its span was made.
    const [given, before] = mapped.numbered?.get(granule) ?? NOT_GIVEN;
    return value < 0 && value === given && generation === before;
  }

  /**
   * Whether a value is a live span that `alloc` made, of a block where nothing was released through anything else: the one
   * that is released without asking further.
   */
  isSole(span: unknown, owner: unknown): span is Span {
    if (!isSpan(span)) return false;
    const mapped = blockOf(span);
    return (
      mapped.owner === owner &&
      mapped.isMapped &&
      granuleOf(span) >= 0 &&
      (this.#core.spansOf(mapped.block) & (Spans.foreign | Spans.ledger)) === 0 &&
      !isChecked(span)
    );
  }

  /** The block of a span that is live and of this allocator. @throws JitError where it is not */
  liveBlock(span: Span, action: string): MappedBlock {
    const allocator = this.#allocator;
    if (!isSpan(span)) {
      allocator.checkOpen(action);
      throw refusals.refuseTarget(action, span);
    }
    const mapped = blockOf(span);
    // What was unmapped before the allocator was shared still has the allocator itself as its owner.
    const isOurs = mapped.owner === allocator.owner || mapped.owner === allocator;
    if (!isOurs) throw refusals.refuseStranger(action, rxOf(span));
    if (!this.isLive(span)) throw refusals.refuseReleased(action, rxOf(span));
    return mapped;
  }

  /** Bytes of a live span. */
  liveSize(span: Span, mapped: MappedBlock): number {
    return this.lengthOf(mapped.block, granuleOf(span)) << mapped.granuleShift;
  }

  /** Whether a live allocation has `sizeBytes` or more: quicker to say of 32 granules than how many it has. */
  hasRoom(mapped: MappedBlock, granule: number, sizeBytes: number): boolean {
    const { block, granuleShift } = mapped;
    if (sizeBytes > 32 << granuleShift) {
      return sizeBytes <= this.lengthOf(block, granule) * 2 ** granuleShift;
    }
    const count = (sizeBytes + (1 << granuleShift) - 1) >>> granuleShift;
    return count === 0 || reaches(this.#core.words, block, granule, count);
  }

  /** Granules of a live allocation. */
  lengthOf(block: number, granule: number): number {
    const core = this.#core;
    return (core.spansOf(block) & Spans.ledger) !== 0
      ? core.lengthInLedger(block, granule)
      : core.lengthAt(block, granule);
  }
}
