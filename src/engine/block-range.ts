/**
 * The range in which all blocks of an allocator lie, as one thread sees it. It is reserved when the first block is mapped.
 * Which stretches of it are in use needs no record of its own: those of the blocks that the core has, and no others.
 * So a repair, which knows the blocks, can make everything else as good as untouched.
 */
import type { Core } from "../core/core.ts";
import { eachGap, gapEnd } from "../core/gaps.ts";
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type {
  AddressRange,
  DualMapping,
  MappedRange,
  MappingJournal,
  MappingTag,
  MemoryKind,
  RangeMemory,
  VirtualMemory,
} from "../vm/contract.ts";
import type { RangeRecord } from "./contract.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { endOfCode, largestPlace, placeInRange, UNIT_BYTES } from "./range-places.ts";
import { ReadyStretch } from "./ready-stretch.ts";
import { verifyPlaces, type Stretch } from "./range-check.ts";
import { reachBytes } from "./reach.ts";
import { cannotProtect, cannotSeal, NO_RANGES, noRangeNear, outOfRange } from "./refusals.ts";
import { sealBlock, trySealing, wipe } from "./sealed-stretch.ts";

/**
 * Bytes: the largest range, which every relative call of x86-64 crosses, and the smallest that is worth having: one block
 * of the largest natural size.
 */
const LARGEST_BYTES = 2 ** 31;
const LEAST_BYTES = 2 ** 26;

/** What the system is asked with: how it tells this allocator's memory, and where mappings are noted. */
export interface Belonging {
  readonly tag: MappingTag;
  readonly journal: MappingJournal | undefined;
}

/** A {@link RangeRecord} of an allocator that one thread has for itself. */
export function ownRecord(): RangeRecord {
  const seals = { sealedBytes: 0, sealingBytes: 0 };
  return { range: undefined, isRefused: false, isUnclean: false, isTrimmed: false, dataStart: 0, ...seals };
}

/** The range of one allocator. */
export class BlockRange {
  readonly #memory: VirtualMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;
  readonly #core: Core;
  #record: RangeRecord = ownRecord();
  /** What is usable beyond the blocks; nothing where other threads have the range too. */
  readonly #ready = new ReadyStretch();
  /** The highest end that code has had in this range. What lies above was nobody's, up to the lowest start of constants. */
  #highestEnd: Address = 0;
  #constantsStart: Address = Infinity;
  #isShared = false;

  constructor(memory: VirtualMemory, options: Readonly<ResolvedJitAllocatorOptions>, core: Core) {
    this.#memory = memory;
    this.#options = options;
    this.#core = core;
  }

  /** The range; undefined where none was reserved yet, or blocks are mapped one by one. */
  get range(): AddressRange | undefined {
    return this.#record.range;
  }

  /** Both views, for whoever asks what belongs to this allocator. */
  views(): MappedRange[] {
    const { range } = this;
    return range === undefined ? [] : viewsOf(range);
  }

  /** Moves to a record that other threads read and write too. @param isFirst whether this thread has the range so far */
  share(record: RangeRecord, isFirst: boolean): void {
    this.#isShared = true;
    if (isFirst) {
      this.#dropReady();
      record.isRefused = this.#record.isRefused;
      record.isUnclean = this.#record.isUnclean;
      record.isTrimmed = this.#record.isTrimmed;
      record.sealedBytes = this.#record.sealedBytes;
      record.sealingBytes = this.#record.sealingBytes;
      record.dataStart = this.#record.dataStart;
      record.range = this.#record.range;
    }
    this.#record = record;
  }

  /** @throws Error where a block does not lie where a block may */
  verify(blocks: readonly (Stretch & DualMapping)[]): void {
    if (this.range !== undefined) verifyPlaces(blocks, this.range, this.#record, this.#options.sealed);
  }

  /** Whether there is a range, and no stretch of that size is free in it for that kind. */
  isFullFor(sizeBytes: number, kind: MemoryKind): boolean {
    const { range } = this;
    return range !== undefined && this.#place(range, sizeBytes, kind) === -1;
  }

  /**
   * Makes a stretch of the range usable (range-places.ts says which). Reserves the range before that, if there is none.
   * @returns its views; undefined where the system's policy allows no range: blocks are mapped one by one then
   * @throws JitError `ERR_OUT_OF_MEMORY` where no stretch of that size is free; as `RangeMemory.reserve` and `commit`
   */
  map(sizeBytes: number, kind: MemoryKind, belonging: Belonging): DualMapping | undefined {
    const { ranges } = this.#memory;
    if (!this.#options.useRange || this.#record.isRefused) return undefined;
    if (ranges === undefined) {
      this.#refuse(NO_RANGES);
      return;
    }
    const range = this.#record.range ?? this.#reserve(ranges, belonging);
    if (range === undefined) return undefined;
    if (this.#record.isUnclean) this.sweep();
    const start = this.#place(range, sizeBytes, kind);
    if (start === -1) {
      const { dataStart } = this.#record;
      throw outOfRange(sizeBytes, largestPlace(this.#core, range, kind, dataStart));
    }
    const offset = start - range.rx;
    try {
      if (kind === "code") this.#commit(ranges, range, start, start + sizeBytes);
      else this.#commitOther(ranges, range, { rx: start, sizeBytes, kind });
    } catch (error) {
      this.#record.isUnclean = true;
      this.#ready.clear();
      // A policy that the process was given since the range was tried. Without any block there is still a choice.
      const { sealed, protectWrites } = this.#options;
      const isBound = this.#core.blockCount > 0 || sealed || protectWrites !== "none";
      if (isBound || !isPolicy(error)) throw error;
      this.release(belonging);
      this.#refuse(error.message);
      return;
    }
    if (this.#options.useLargePages) ranges.adviseLargePages(range, offset, sizeBytes, kind);
    return { rx: start, rw: kind === "data" ? start : range.rw + offset };
  }

  /** Makes just so much usable for constants or data. What is ready is code's. */
  #commitOther(ranges: RangeMemory, range: AddressRange, { rx, sizeBytes, kind }: Stretch): void {
    const record = this.#record;
    if (this.#ready.overlaps(rx, rx + sizeBytes)) this.#dropReady();
    if (kind === "constants") this.#constantsStart = Math.min(this.#constantsStart, rx);
    // Noted first: if the thread ends in between, a stretch is taken for data's that was not yet.
    else record.dataStart = Math.min(endOfCode(range, record.dataStart), rx);
    ranges.commit(range, rx - range.rx, sizeBytes, record.isUnclean, kind);
  }

  /** Makes usable what is not yet, and more behind it, up to the next step. What was a block's before stays closed. */
  #commit(ranges: RangeMemory, range: AddressRange, start: Address, end: Address): void {
    const { isUnclean } = this.#record;
    if (this.#options.sealed) {
      sealBlock(ranges, range, this.#record, start - range.rx, end - start, isUnclean);
      return;
    }
    const isExact =
      this.#isShared ||
      isUnclean ||
      this.#options.useLargePages ||
      end < this.#highestEnd ||
      end > this.#constantsStart;
    const stepEnd = isExact ? end : this.#stepEnd(range, end, ranges.stepBytes);
    for (const part of this.#ready.missing(start, end, stepEnd))
      ranges.commit(range, part.start - range.rx, part.end - part.start, isUnclean);
    this.#ready.use(start, end, stepEnd);
    this.#highestEnd = Math.max(this.#highestEnd, end);
  }

  /** The next multiple of a step behind the end of a new block, if no other block comes before it. */
  #stepEnd(range: AddressRange, end: Address, stepBytes: number): Address {
    const { words, doubles } = this.#core;
    const { rx } = range;
    const wanted = stepBytes === 0 ? end : rx + Math.ceil((end - rx) / stepBytes) * stepBytes;
    if (wanted === end) return end;
    const most = Math.min(endOfCode(range, this.#record.dataStart), this.#constantsStart);
    return Math.min(wanted, gapEnd(words, doubles, rx, most, end));
  }

  /** Makes what is ready as good as untouched. Never throws; what is refused is unclean. */
  #dropReady(): void {
    const { range } = this.#record;
    const { start, end, isEmpty } = this.#ready;
    if (range === undefined || isEmpty) return;
    const isClean = this.#memory.ranges?.wipe(range, start - range.rx, end - start) ?? false;
    this.#record.isUnclean ||= !isClean;
    this.#ready.clear();
  }

  /**
   * Takes the stretches of all blocks back at once, and with them what is ready, where they are code and lie side by side.
   * @param blocks all that there are, in the order of their addresses
   * @returns false where they do not, or where the system refuses: nothing has changed then
   */
  unmapAll(blocks: readonly Stretch[]): boolean {
    const { ranges } = this.#memory;
    const { range } = this.#record;
    const [first] = blocks;
    if (ranges === undefined || range === undefined || first === undefined) return false;
    if (this.#isShared || this.#options.sealed) return false;
    let end = first.rx;
    for (const { rx, sizeBytes, kind } of blocks) {
      if (rx !== end || kind !== "code") return false;
      end += sizeBytes;
    }
    try {
      this.unmap(range, { rx: first.rx, sizeBytes: end - first.rx, kind: "code" });
    } catch {
      return false;
    }
    return true;
  }

  /**
   * Takes a block's stretch back, and what is ready behind it. Of a sealed block only the memory is taken.
   * @throws JitError where the system refuses; the block is as it was then
   */
  unmap(range: AddressRange, { rx, sizeBytes, kind }: Stretch): void {
    if (this.#options.sealed) {
      this.#memory.ranges?.discard(range, rx - range.rx, sizeBytes);
      return;
    }
    const isReadyToo = kind === "code" && this.#ready.start === rx + sizeBytes;
    const end = isReadyToo ? this.#ready.end : rx + sizeBytes;
    let isClean = false;
    try {
      isClean = this.#memory.ranges?.decommit(range, rx - range.rx, end - rx, kind) ?? false;
      if (isReadyToo) this.#ready.clear();
    } finally {
      if (!isClean) this.#record.isUnclean = true;
    }
  }

  /**
   * Gives the memory of a block's free pages back to the system. `eachRun` visits their runs, by number.
   * @returns bytes that the system held there; of all the runs, where it does not say
   * @throws JitError where the system refuses
   */
  trim(
    { rx, sizeBytes, kind }: Stretch,
    eachRun: (visit: (first: number, end: number) => void) => void,
  ): number {
    const { ranges } = this.#memory;
    const { range } = this.#record;
    if (ranges === undefined || range === undefined) return 0;
    const { pageSize } = this.#memory.info();
    const offset = rx - range.rx;
    const resident = ranges.residentPages(range, offset, sizeBytes, kind);
    let bytes = 0;
    eachRun((first, end) => {
      let count = resident === undefined ? end - first : 0;
      let lowest = first;
      let highest = end;
      if (resident !== undefined) {
        // Pages that the system does not hold need no call.
        highest = first;
        for (let page = first; page < end; page++) {
          if (((resident[page] ?? 0) & 1) === 0) continue;
          if (count++ === 0) lowest = page;
          highest = page + 1;
        }
      }
      if (count === 0) return;
      this.#record.isTrimmed = true;
      ranges.discard(range, offset + lowest * pageSize, (highest - lowest) * pageSize, kind);
      bytes += count * pageSize;
    });
    return bytes;
  }

  /** Whether free memory may read as zero where it was something else before: see {@link trim}. */
  get isTrimmed(): boolean {
    return this.#record.isTrimmed;
  }

  /** Bytes of a block for which the system holds memory; all of them where it does not say. */
  residentBytes({ rx, sizeBytes, kind }: Stretch): number {
    const { range } = this.#record;
    if (range === undefined) return sizeBytes;
    const resident = this.#memory.ranges?.residentPages(range, rx - range.rx, sizeBytes, kind);
    if (resident === undefined) return sizeBytes;
    let count = 0;
    for (const page of resident) count += page & 1;
    return count * this.#memory.info().pageSize;
  }

  /** Makes everything in the range that is no block's as good as untouched. Never throws; what is refused stays unclean. */
  sweep(): void {
    const { ranges } = this.#memory;
    const { range } = this.#record;
    if (ranges === undefined || range === undefined) return;
    this.#ready.clear();
    let isClean = true;
    const wipeKind = (start: Address, end: Address, isForData: boolean): void => {
      if (start >= end) return;
      const [offset, sizeBytes] = [start - range.rx, end - start];
      const isDone = isForData
        ? ranges.wipe(range, offset, sizeBytes, true)
        : wipe(ranges, range, this.#record, offset, sizeBytes);
      isClean = isDone && isClean;
    };
    const endBelow = endOfCode(range, this.#record.dataStart);
    const { words, doubles } = this.#core;
    eachGap(words, doubles, range.rx, range.rx + range.sizeBytes, (start, sizeBytes) => {
      wipeKind(start, Math.min(start + sizeBytes, endBelow), false);
      wipeKind(Math.max(start, endBelow), start + sizeBytes, true);
      return false;
    });
    this.#record.isUnclean = !isClean;
  }

  /** Gives the whole range back; but for what is sealed, which has no memory. Precondition: no block lies in it. */
  release({ tag, journal }: Belonging): void {
    const { range } = this.#record;
    const { ranges } = this.#memory;
    if (ranges === undefined || range === undefined) return;
    this.#dropReady();
    if (this.#options.sealed && this.#record.isUnclean) this.sweep();
    const isWhole = trySealing(ranges, range, this.#record);
    const sealedBytes = this.#record.sealingBytes;
    const rest = viewsOf(range, sealedBytes);
    const isUntouched = isWhole && !this.#record.isUnclean && this.#record.dataStart === 0;
    // From the moment at which the record no longer has it, the journal must: a thread may end in between.
    journal?.take(rest, 0);
    this.#record.range = undefined;
    try {
      ranges.release(range, tag, isUntouched, sealedBytes);
    } catch (error) {
      this.#record.range = range;
      journal?.drop(rest);
      throw error;
    }
    journal?.drop(rest);
    this.#record.isUnclean = false;
    this.#record.dataStart = 0;
    this.#highestEnd = 0;
    this.#constantsStart = Infinity;
  }

  #reserve(ranges: RangeMemory, { tag, journal }: Belonging): AddressRange | undefined {
    const { maxReservedSize, blockSize, near, useDualMapping, sealed } = this.#options;
    // Four times what blocks may take: they come and go in different sizes, what was data's cannot be code, and addresses cost
    // nothing.
    const sizeBytes = Math.min(LARGEST_BYTES, powerOfTwoFrom(Math.max(4 * maxReservedSize, UNIT_BYTES)));
    const leastBytes = Math.min(sizeBytes, Math.max(LEAST_BYTES, powerOfTwoFrom(blockSize)));
    const result = ranges.reserve({
      ...{ sizeBytes, leastBytes, isDual: useDualMapping, near, reachBytes: reachBytes(), tag },
      isSealed: sealed,
    });
    if (!("rx" in result)) {
      this.#refuse(result.reason);
      return;
    }
    this.#core.limitReserved(result.sizeBytes);
    this.#record.sealedBytes = result.sealedBytes;
    this.#record.sealingBytes = result.sealedBytes;
    this.#record.dataStart = 0;
    this.#record.range = result;
    journal?.drop(viewsOf(result));
    return result;
  }

  /** From now on blocks are mapped one by one. @throws JitError where they were to lie near an address, or to be sealed */
  #refuse(reason: string): undefined {
    const { near, sealed, protectWrites } = this.#options;
    if (sealed) throw cannotSeal(reason);
    if (protectWrites !== "none") throw cannotProtect(reason);
    if (near !== undefined) throw noRangeNear(near, reason);
    this.#record.isRefused = true;
    return undefined;
  }

  /** Where a new block of that kind begins; -1 where there is no place for it. */
  #place(range: AddressRange, sizeBytes: number, kind: MemoryKind): number {
    const { dataStart } = this.#record;
    const isAligned = this.#options.useLargePages;
    return placeInRange(this.#core, range, { kind, sizeBytes, isAligned, dataStart });
  }
}

/** Both views of a range, from an offset on; twice the same where it has one, and none of no bytes. */
function viewsOf({ rx, rw, sizeBytes }: AddressRange, offset = 0): MappedRange[] {
  if (offset === sizeBytes) return [];
  return [
    { address: rx + offset, sizeBytes: sizeBytes - offset },
    { address: rw + offset, sizeBytes: sizeBytes - offset },
  ];
}

/** Whether the system forbids it, and will go on to. */
function isPolicy(error: unknown): error is JitError {
  return (
    error instanceof JitError && (error.code === "ERR_PERMISSION" || error.code === "ERR_FEATURE_NOT_ENABLED")
  );
}

function powerOfTwoFrom(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}
