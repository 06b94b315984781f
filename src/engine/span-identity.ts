/**
 * Makes spans and tells whether they are live (core/generations.ts has the rules). A span carries its block, its granule
 * there, and the value that stood at that granule in the table of generations when the span was made.
 */
import { admitSpans } from "../core/blocks.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { Core } from "../core/core.ts";
import * as generations from "../core/generations.ts";
import { Spans } from "../core/layout.ts";
import { Status } from "../core/status.ts";
import type { RetiredPlaces, SpanOwner, SpanToken } from "./contract.ts";
import type { MappedBlock } from "./mapped-block.ts";
import * as refusals from "./refusals.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

// Constants of this module, as in core/ (docs/performance.md).
const { enterInLedger, giveGeneration, valueAt, watchBlock } = generations;
const { isIndex } = refusals;
const {
  isSpan,
  rx: rxOf,
  make: makeSpan,
  makeChecked,
  isChecked,
  block: blockOf,
  uncheckedBlock,
  granule: granuleOf,
  generation: generationOf,
} = spanAccess;

/** The generation of no allocation: all generations are negative. */
const NO_GENERATION = 0;

const NOT_GIVEN = [0, 0] as const;

/** The allocator that the spans belong to. */
export interface SpanAllocator extends SpanOwner {
  /** The object that spans call: the allocator itself, or the SharedEngine that locks before it calls the allocator. */
  readonly owner: SpanOwner;
  readonly limbo: RetiredPlaces;
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

  /** Makes the span of a new allocation. @throws JitError `ERR_OUT_OF_MEMORY` */
  make(block: number, granule: number): Span {
    const core = this.#core;
    const spans = core.spansOf(block);
    // The usual case: nothing has to be looked up, and nothing can fail.
    if (spans === Spans.made) return makeSpan(this.#blocks.at(block), granule);
    const mapped = this.#blocks.at(block);
    if ((spans & Spans.ledger) !== 0) {
      return makeChecked(mapped, granule, enterInLedger(core.words, block, granule));
    }
    if (!admitSpans(core, block)) throw refusals.outOfMetadata(mapped.sizeBytes, core.metadataLimit);
    const value = valueAt(core.words, block, granule);
    return value === 0 ? makeSpan(mapped, granule) : makeChecked(mapped, granule, value);
  }

  /** Makes a span of an allocation that may have another span already. @throws JitError `ERR_OUT_OF_MEMORY` */
  makeAnother(block: number, granule: number): Span {
    const core = this.#core;
    const mapped = this.#blocks.at(block);
    if ((core.spansOf(block) & (Spans.watched | Spans.ledger)) === 0) this.#watch(mapped);
    return makeChecked(mapped, granule, valueAt(core.words, block, granule));
  }

  /** Lets an allocation of a block have a second span. @throws JitError `ERR_OUT_OF_MEMORY` */
  #watch(mapped: MappedBlock): void {
    const core = this.#core;
    if (!admitSpans(core, mapped.block)) throw refusals.outOfMetadata(mapped.sizeBytes, core.metadataLimit);
    core.needRoom(); // the table of generations may be made now
    watchBlock(core, mapped.block);
  }

  /** Makes the span of the allocation that a token names. @throws JitError where it was released, or the token is none */
  spanOf({ rx, generation }: SpanToken): Span {
    const core = this.#core;
    if (isIndex(rx) && generation < 0 && core.locateStart(rx) === Status.ok) {
      const { block, granule } = core;
      const isLive = !this.#allocator.limbo.has(block, granule);
      if (isLive && valueAt(core.words, block, granule) === generation)
        return this.makeAnother(block, granule);
    }
    this.#allocator.checkOpen("look up");
    const isToken = isIndex(rx) && Number.isInteger(generation);
    throw isToken ? refusals.refuseReleased("look up", rx) : refusals.refuseToken(rx);
  }

  /** The token of a span. Gives the allocation of a live one a generation, if it has none. */
  tokenOf(span: Span): SpanToken {
    const rx = rxOf(span);
    if (!this.isLive(span)) return { rx, generation: NO_GENERATION };
    const known = generationOf(span);
    if (known < 0) return { rx, generation: known };
    const mapped = blockOf(span);
    const granule = granuleOf(span);
    this.#core.needRoom(); // the table of generations may be made now
    const given = giveGeneration(this.#core, mapped.block, granule);
    mapped.noteGeneration(granule, given, known);
    return { rx, generation: given };
  }

  isLive(span: Span): boolean {
    const mapped = blockOf(span);
    const granule = granuleOf(span);
    if (granule < 0 || !mapped.isMapped) return false;
    const spans = this.#core.spansOf(mapped.block);
    // A span that alloc made knows by itself that it was released through itself; Spans.foreign notes other releases.
    const asks = Spans.ledger | (isChecked(span) ? Spans.marked : Spans.foreign);
    return (spans & asks) === 0 || this.#isKnown(mapped, granule, span, spans);
  }

  /** Whether the value at the start of an allocation is the one that the span knows. */
  #isKnown(mapped: MappedBlock, granule: number, span: Span, spans: number): boolean {
    const value = valueAt(this.#core.words, mapped.block, granule);
    const generation = generationOf(span);
    if (value === generation && (generation < 0 || (spans & Spans.ledger) === 0)) return true;
    // The allocation may have been given its generation after the span was made.
    const [given, before] = mapped.numbered?.get(granule) ?? NOT_GIVEN;
    return value < 0 && value === given && generation === before;
  }

  /**
   * The block of a live span that `alloc` made, where all releases in the block went through such spans: it can be released
   * without a look-up. Undefined for any other value, and always where the allocator is shared.
   */
  soleBlock(span: unknown): MappedBlock | undefined {
    const mapped = uncheckedBlock(span);
    // One statement would be a chain of values that V8 looks at as a whole once more.
    if (mapped?.owner !== this.#allocator || !mapped.isMapped) return undefined;
    return (this.#core.spansOf(mapped.block) & (Spans.foreign | Spans.ledger)) === 0 ? mapped : undefined;
  }

  /** The block of a span that is live and of this allocator. @throws JitError where it is not */
  liveBlock(span: Span, action: string): MappedBlock {
    const allocator = this.#allocator;
    if (!isSpan(span)) {
      allocator.checkOpen(action);
      throw refusals.refuseTarget(action, span);
    }
    const mapped = blockOf(span);
    // A block that was unmapped before the allocator was shared still has the allocator itself as its owner.
    const isOurs = mapped.owner === allocator.owner || mapped.owner === allocator;
    if (!isOurs) throw refusals.refuseStranger(action, rxOf(span));
    if (!this.isLive(span)) throw refusals.refuseReleased(action, rxOf(span));
    return mapped;
  }

  /** The size of a live span, in bytes. */
  liveSize(span: Span, mapped: MappedBlock): number {
    return this.#core.liveLength(mapped.block, granuleOf(span)) << mapped.granuleShift;
  }
}

/** The fields of a token, read once: reading the caller's object may run the caller's code. @throws JitError */
export function readToken(token: unknown): SpanToken {
  if (typeof token !== "object" || token === null) {
    throw refusals.refuseValue("look up", token, "the token must be one that a span gave");
  }
  const { rx, generation } = token as SpanToken;
  return { rx, generation };
}
