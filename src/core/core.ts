/**
 * Decides where code goes. Pure arithmetic on one shared buffer: it maps nothing, touches no code, and runs anywhere.
 *
 * Operations return no objects: they leave the place that they found in `block` and `granule`.
 * Addresses are numbers, positions are granules counted from the block's start, failures are statuses.
 *
 * Counters and bits are updated in an order that leaves a block looking fuller than it is, never emptier, if the stack
 * ends in between (../base/stack.ts).
 *
 * An allocation of up to 32 granules, as nearly all are, lies in two neighbouring records. The paths for these are
 * inlined by hand, because each call would cost as much as the work.
 */
import * as bits from "./bits.ts";
import { clearGranules } from "./block.ts";
import * as blocks from "./blocks.ts";
import * as fullWords from "./full-words.ts";
import * as generations from "./generations.ts";
import * as granules from "./granules.ts";
import * as holes from "./holes.ts";
import { Block, Eager, Header, Link, Pool, Size, Spans, Word } from "./layout.ts";
import * as lookups from "./lookup.ts";
import * as runIndex from "./run-index.ts";
import * as states from "./state.ts";
import { Status } from "./status.ts";
import * as thrift from "./thrift.ts";

// Constants of this module: an engine looks up and checks an imported function at each use (docs/performance.md).
const { bitsFrom, lowestBit } = bits;
const { noteFullWords } = fullWords;
const { forgetAllocation, shortenEntry } = generations;
const { freeGranules, lengthFrom, startOf } = granules;
const { findBlock, generationsOf } = blocks;
const { lookUp } = lookups;
const { indexDirtyWords, joinRun, listRun, makeDirty } = runIndex;
const { takeElsewhere, takeHole } = holes;
const { poolAt } = states;
const { hasLeftBounds, moveBounds, noteEmptied, spaceLooks } = thrift;

/** The state, and the operations on it that an engine runs for each call. Rarer ones are functions of the other modules. */
export class Core extends states.State {
  // --- allocation ---------------------------------------------------------------------------------------------

  /**
   * Takes `count` granules of the pool. Returns false where none of its blocks has room: the caller then asks `planBlock`,
   * maps a block, calls `addBlock`, and tries again.
   *
   * Tries a hole first, then the current block's tail, then all that was released, and at last the empty block.
   */
  alloc(poolIndex: number, count: number): boolean {
    return this.allocQuickly(poolIndex, count) || takeElsewhere(this, poolAt(poolIndex), count);
  }

  /** Takes `count` granules from a hole or the current block's tail. False where neither has room: `alloc` looks further. */
  allocQuickly(poolIndex: number, count: number): boolean {
    const words = this.words;
    const pool = poolAt(poolIndex);
    words[Header.releasesInARow] = 0;
    // Whether any class may have room. For a `count` above 32 the shift wraps, which can cost a vain search but misses
    // no hole.
    const short = words[pool + Pool.classBits]! & (-1 << (count - 1));
    const long =
      words[pool + Pool.classBits + 1]! |
      words[pool + Pool.classBits + 2]! |
      words[pool + Pool.classBits + 3]!;
    const dirtyBlocks = pool + Pool.dirtyBlocks;
    if (words[dirtyBlocks + Link.next] !== dirtyBlocks) {
      indexDirtyWords(this, pool, false);
      if (takeHole(this, pool, count) !== 0) return true;
    } else if ((short | long) !== 0 && takeHole(this, pool, count) !== 0) {
      return true;
    }
    // Bump allocation from the untouched tail of the current block: the cheapest way.
    const block = words[pool + Pool.current]!;
    const granule = words[block + Block.tail]!;
    const end = granule + count;
    const live = words[block + Block.live]!;
    if (end > words[block + Block.capacity]! || live === 0) return false;
    words[block + Block.tail] = end;
    const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 1) + Word.stop;
    words[stop] = words[stop]! | (1 << ((end - 1) & 31));
    words[block + Block.live] = live + 1;
    this.block = block;
    this.granule = granule;
    return true;
  }

  // --- finding ------------------------------------------------------------------------------------------------

  /** The address (rx) of a granule. */
  addressOf(block: number, granule: number): number {
    return this.doubles[(block >> 1) + Block.rx]! + (granule << this.words[block + Block.granuleShift]!);
  }

  /** Whether an allocation begins at `address`: the fast path of most look-ups. True is certain; false may be wrong. */
  begins(address: number): boolean {
    const words = this.words;
    const block = lookUp(words, address);
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    return (
      granule < words[block + Block.tail]! &&
      this.#beginsAt(block, granule) &&
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) === address
    );
  }

  /** Leaves the place of `address` in `block` and `granule`. Precondition: {@link begins} returned true for it. */
  noteStart(address: number): void {
    const words = this.words;
    const block = lookUp(words, address);
    this.block = block;
    this.granule = ((address | 0) - words[block + Block.rxLow]!) >>> words[block + Block.granuleShift]!;
  }

  /** Whether an allocation begins at a granule below the tail: it is not free, and the one before is free or a last one. */
  #beginsAt(block: number, granule: number): boolean {
    const words = this.words;
    const records = words[block + Block.records]!;
    const before = records + (((granule - 1) >> 5) << 1); // for granule 0, the guard
    const free = words[records + ((granule >>> 5) << 1)]!;
    const ends = words[before]! | words[before + Word.stop]!;
    return ((ends >>> ((granule - 1) & 31)) & ~(free >>> (granule & 31)) & 1) !== 0;
  }

  /** Finds the allocation that begins at `address`. Returns ok, unknownAddress, notAllocated or interiorAddress. */
  locateStart(address: number): Status {
    const words = this.words;
    const block = findBlock(this, address);
    if (block === 0) return Status.unknownAddress;
    const offset = address - this.doubles[(block >> 1) + Block.rx]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = offset >>> shift;
    this.block = block;
    this.granule = granule;
    const record = words[block + Block.records]! + ((granule >>> 5) << 1);
    const bit = granule & 31;
    const free = words[record]!;
    if (granule < words[Header.padding]! || granule >= words[block + Block.tail]!) {
      return Status.notAllocated;
    }
    if (((free >>> bit) & 1) !== 0) return Status.notAllocated;
    if (granule << shift === offset && this.#beginsAt(block, granule)) return Status.ok;
    this.granule = startOf(words, block, granule);
    return Status.interiorAddress;
  }

  /** Finds the allocation that contains `address`: Status.ok, Status.unknownAddress or Status.notAllocated. */
  locate(address: number): Status {
    const status = this.locateStart(address);
    return status === Status.interiorAddress ? Status.ok : status;
  }

  /** The length in granules of the allocation that begins at `granule`. */
  lengthAt(block: number, granule: number): number {
    return lengthFrom(this.words, block, granule);
  }

  /**
   * Whether a live allocation has at least `sizeBytes`, 1 or more. Its granules have 1 << `shift` bytes. Up to 32 of them, two
   * records are read, however long it is, and nothing is called: an engine compiles a write in one piece only where it is short.
   */
  hasRoom(block: number, granule: number, shift: number, sizeBytes: number): boolean {
    if (sizeBytes > 32 << shift) return sizeBytes <= this.liveLength(block, granule) << shift;
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 1) + Word.stop;
    // This is bitsFrom with granule & 31: a shift takes its count modulo 32 anyway, and ~granule is then 31 - (granule & 31).
    const stops = (words[record]! >>> granule) | ((words[record + Size.record]! << 1) << ~granule);
    // No granule before the one that the last byte lies in may end the allocation.
    return (stops & ((1 << ((sizeBytes - 1) >> shift)) - 1)) === 0;
  }

  // --- release ------------------------------------------------------------------------------------------------

  /**
   * Releases the allocation that begins at `address`. Changes nothing where it returns a failure of `locateStart`, or
   * Status.surplusBlock: the allocation is the last one of a block that is not kept.
   */
  release(address: number): Status {
    const words = this.words;
    const block = lookUp(words, address);
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    // The look-up may name another block. Block and granule are right if and only if they lead back to the address.
    return granule < words[block + Block.tail]! &&
      words[block + Block.spans] === Spans.none &&
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) === address
      ? this.#releaseAt(block, granule)
      : this.#releaseElsewhere(address);
  }

  /** The slow path of a release: for an address that the look-up did not find, or whose block has spans. */
  #releaseElsewhere(address: number): Status {
    const status = this.locateStart(address);
    return status === Status.ok ? this.free(this.block, this.granule, false) : status;
  }

  /**
   * Releases the allocation that begins at `granule`; there must be one. Returns ok, sparse or surplusBlock.
   * @param isOwn whether it is released through a span that `alloc` made
   */
  free(block: number, granule: number, isOwn: boolean): Status {
    const words = this.words;
    const spans = words[block + Block.spans]!;
    if (spans === Spans.none || (isOwn && spans === Spans.made)) return this.#releaseAt(block, granule);
    const hasTable = words[block + Block.generations] !== 0;
    if (!hasTable) this.needRoom();
    const count = (spans & Spans.ledger) !== 0 ? lengthFrom(words, block, granule) : 0;
    const status = this.#releaseAt(block, granule);
    if (status !== Status.surplusBlock) {
      if (!hasTable) generationsOf(this, block);
      // The release may have made the buffer grow, and then `words` ends before the new table.
      forgetAllocation(this.words, block, granule, count, isOwn);
    }
    return status;
  }

  /**
   * Releases the allocation that begins at a granule below the tail, if there is one. Takes integers: the function is too
   * large to be inlined, and an address passed to it would become an object on the heap.
   *
   * Inlined by hand for nearly all code: an allocation of at most 32 granules, amid others. It lies in two neighbouring
   * records, or in the first of them alone.
   */
  #releaseAt(block: number, granule: number): Status {
    const words = this.words;
    const records = words[block + Block.records]!;
    const record = records + ((granule >>> 5) << 1);
    const bit = granule & 31;
    const recordBefore = records + (((granule - 1) >> 5) << 1); // for granule 0, the guard
    const bitBefore = (granule - 1) & 31;
    const free = words[record]!;
    const freeBefore = words[recordBefore]!;
    const stop = words[record + Word.stop]!;
    const nextStop = words[record + Size.record + Word.stop]!;
    const begins = ((freeBefore | words[recordBefore + Word.stop]!) >>> bitBefore) & ~(free >>> bit) & 1;
    const stops = (stop >>> bit) | ((nextStop << 1) << (31 - bit));
    const last = stops & -stops;
    const count = 32 - Math.clz32(last); // 0 where the allocation is longer than 32 granules
    const end = granule + count;
    const live = words[block + Block.live]! - 1;
    if ((live & words[block + Block.lookMask]!) === 0 || begins === 0 || count === 0) {
      return this.#releaseAndLook(block, granule);
    }
    if (end === words[block + Block.tail]) {
      this.#vacate(block, granule, count);
      words[block + Block.live] = live;
      return Status.ok;
    }
    words[block + Block.live] = live;
    words[block + Block.freed] = words[block + Block.freed]! + count;
    words[record + Word.stop] = stop & ~(last << bit);
    words[record + Size.record + Word.stop] = nextStop & ~((last >>> 1) >>> (31 - bit));
    const all = -1 >>> (32 - count);
    words[record] = free | (all << bit);
    words[record + Size.record] = words[record + Size.record]! | ((all >>> 1) >>> (31 - bit));
    const inARow = words[Header.releasesInARow]!;
    if (inARow === Eager.releases) {
      noteFullWords(words, block, granule, count);
      makeDirty(this, block, granule);
      return Status.ok;
    }
    words[Header.releasesInARow] = inARow + 1;
    // The granules in use before and behind the allocation, as in free-runs.ts.
    const usedBefore = ~(
      (freeBefore << (31 - bitBefore)) |
      ((words[recordBefore - Size.record]! >>> 1) >>> bitBefore)
    );
    const recordAfter = records + ((end >>> 5) << 1);
    const bitAfter = end & 31;
    const usedAfter = ~(
      (words[recordAfter]! >>> bitAfter) |
      ((words[recordAfter + Size.record]! << 1) << (31 - bitAfter))
    );
    if (usedBefore === 0 || usedAfter === 0) {
      joinRun(this, block, granule, count);
      return Status.ok;
    }
    const ahead = Math.clz32(usedBefore);
    listRun(this, block, granule - ahead, ahead + count + 31 - Math.clz32(usedAfter & -usedAfter));
    return Status.ok;
  }

  /** Releases the allocation that begins at `granule`, if there is one, and looks whether the block has become sparse. */
  #releaseAndLook(block: number, granule: number): Status {
    const words = this.words;
    const live = words[block + Block.live]! - 1;
    if (live === 0 || !this.#beginsAt(block, granule)) return this.#releaseLast(block, granule);
    const count = lengthFrom(words, block, granule);
    this.#vacate(block, granule, count);
    words[block + Block.live] = live;
    spaceLooks(words, block);
    // Where few come in a row, most likely the memory is wanted again; a long one may have been most of what was in use.
    if (count <= 32 && words[Header.releasesInARow] !== Eager.releases) return Status.ok;
    if (!hasLeftBounds(words, block) || !moveBounds(words, block)) return Status.ok;
    this.block = block;
    return Status.sparse;
  }

  /** Releases the block's last allocation, if it begins at `granule`; else returns notAllocated or interiorAddress. */
  #releaseLast(block: number, granule: number): Status {
    const words = this.words;
    this.needRoom();
    const status = this.locateStart(this.addressOf(block, granule));
    if (status !== Status.ok) return status;
    if (this.#isSurplus(block)) return Status.surplusBlock;
    const tail = words[block + Block.tail]!;
    this.#vacate(block, granule, this.lengthAt(block, granule));
    words[block + Block.live] = 0;
    this.#becameEmpty(block);
    if (!noteEmptied(words, block, tail)) return Status.ok;
    this.block = block;
    return Status.sparse;
  }

  /**
   * The fast path of a shrink, for allocations of at most 32 granules: shortens the one that begins at `address` to
   * `newSize` bytes, above 0. Returns false, and changes nothing, for any other request.
   */
  shrinkShort(address: number, newSize: number): boolean {
    const words = this.words;
    const block = lookUp(words, address);
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    if (
      granule >= words[block + Block.tail]! ||
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) !== address ||
      !this.#beginsAt(block, granule)
    ) {
      return false;
    }
    const record = words[block + Block.records]! + ((granule >>> 5) << 1) + Word.stop;
    const stops = bitsFrom(words[record]!, words[record + Size.record]!, granule & 31);
    const count = lowestBit(stops) + 1; // 0 where the allocation is longer than 32 granules
    if ((newSize | 0) !== newSize || newSize <= 0 || newSize > count << shift) return false;
    const newCount = (newSize + (1 << shift) - 1) >>> shift;
    if (newCount !== count) this.shrink(block, granule, count, newCount);
    return true;
  }

  /** Shortens the allocation that begins at `granule` from `count` to `newCount` granules, 0 < newCount < count. */
  shrink(block: number, granule: number, count: number, newCount: number): void {
    if (count > 32) this.needRoom();
    const words = this.words;
    const last = granule + newCount - 1;
    const stop = words[block + Block.records]! + ((last >>> 5) << 1) + Word.stop;
    words[stop] = words[stop]! | (1 << (last & 31));
    this.#vacate(block, last + 1, count - newCount);
    shortenEntry(this.words, block, granule, newCount);
  }

  /** Frees the granules at the end of an allocation, clears its stop bit, and lets the tail or a free run take them. */
  #vacate(block: number, granule: number, count: number): void {
    const words = this.words;
    const end = granule + count;
    if (end === words[block + Block.tail] && words[words[block + Block.pool]! + Pool.current] === block) {
      words[block + Block.tail] = granule; // the granules join the tail, where no free bit is set
      const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 1) + Word.stop;
      words[stop] = words[stop]! & ~(1 << ((end - 1) & 31));
      return;
    }
    freeGranules(words, block, granule, count);
    words[block + Block.freed] = words[block + Block.freed]! + count;
    const inARow = words[Header.releasesInARow]!;
    if (inARow === Eager.releases) {
      noteFullWords(words, block, granule, count);
      makeDirty(this, block, granule);
    } else {
      words[Header.releasesInARow] = inARow + 1;
      joinRun(this, block, granule, count);
    }
  }

  /** Whether the block has one allocation left, and is not kept when that is released. */
  isLastOfSurplus(block: number): boolean {
    return this.words[block + Block.live] === 1 && this.#isSurplus(block);
  }

  #isSurplus(block: number): boolean {
    const words = this.words;
    if (words[Header.immediateRelease] !== 0) return !this.isReserve(block);
    const empty = words[words[block + Block.pool]! + Pool.empty]!;
    return empty !== 0 && empty !== block;
  }

  /** Keeps the block as its pool's empty one, untouched again from the padding on. */
  #becameEmpty(block: number): void {
    const words = this.words;
    const padding = words[Header.padding]!;
    words[words[block + Block.pool]! + Pool.empty] = block;
    if (words[block + Block.tail] !== padding) clearGranules(words, block);
  }

  // --- generations --------------------------------------------------------------------------------------------

  /** The length in granules of a live allocation: of one that is in a ledger, in constant time. */
  liveLength(block: number, granule: number): number {
    const isInLedger = (this.spansOf(block) & Spans.ledger) !== 0;
    return isInLedger ? this.lengthInLedger(block, granule) : this.lengthAt(block, granule);
  }

  /** The length in granules of an allocation that is in a ledger, in constant time. */
  lengthInLedger(block: number, granule: number): number {
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 1) + Word.stop;
    const stops = bitsFrom(words[record]!, words[record + Size.record]!, granule & 31);
    if (stops !== 0) return lowestBit(stops) + 1;
    return words[words[block + Block.generations]! + granule + 1]!;
  }
}
