/**
 * Decides where code goes. Pure arithmetic on one shared buffer: it maps nothing, touches no code, and runs anywhere.
 *
 * Nothing is returned by object: an operation leaves the place it found in `block` and `granule`.
 * Addresses are numbers, positions are granules counted from the block's start, failures are statuses.
 *
 * An allocation that lies in one word of granules, as nearly all do, is a matter of one record: the paths for it are
 * written out, because each step between them would cost as much as the work.
 */
import { bitRange, lowestBit } from "./bits.ts";
import { clearGranules } from "./block.ts";
import { setFull } from "./full-words.ts";
import { freeOverWords, lengthOverWords, startOf } from "./granules.ts";
import { Holes } from "./holes.ts";
import { Block, Header, Link, Lookup, Pool, Size, Word } from "./layout.ts";
import { Status } from "./status.ts";
import { poolAt } from "./store.ts";
import { unlistAboveTail } from "./tail.ts";
import { rememberRun } from "./waiting-runs.ts";

export class Core extends Holes {
  // --- allocation ---------------------------------------------------------------------------------------------

  /**
   * Finds `count` granules in the pool and takes them. False where none of its blocks has room: then `planBlock`,
   * map, `addBlock`, and ask again.
   *
   * What costs least and spoils nothing comes first: a run of just that length that was released lately; a hole the
   * index knows, once it has heard of what was released since; the current block's tail. Then the rest is looked
   * through, and at last the empty block used.
   */
  alloc(poolIndex: number, count: number): boolean {
    const words = this.words;
    const pool = poolAt(poolIndex);
    // Whether there is anything that may do: a recent run of just this length, runs that wait, a class that holds it.
    // For lengths above 32 the first two shifts mean another length: a look in vain, never a hole that is missed.
    const recent = words[pool + Pool.recentBits]! & (1 << (count - 1));
    const short = words[pool + Pool.classBits]! & (-1 << (count - 1));
    const long = words[pool + Pool.classSummary]! & ~1;
    const holes = recent | short | long | words[pool + Pool.waitingCount]!;
    if (holes !== 0 && this.takeHole(pool, count)) return true;
    // The untouched tail of the current block: the cheapest allocation there is.
    const block = words[pool + Pool.current]!;
    const granule = words[block + Block.tail]!;
    const end = granule + count;
    const live = words[block + Block.live]!;
    if (end > words[block + Block.capacity]! || live === 0) return this.takeElsewhere(pool, count);
    words[block + Block.tail] = end;
    const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 2) + Word.stop;
    words[stop] = words[stop]! | (1 << ((end - 1) & 31));
    words[block + Block.used] = words[block + Block.used]! + count;
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

  /** Whether an allocation begins at `address`: what most look-ups ask, and the quickest way to a yes. A no may be wrong. */
  begins(address: number): boolean {
    const words = this.words;
    const block = words[Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1))]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    if (granule >= words[block + Block.tail]!) return false;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const free = words[record]!;
    return (
      (((free | words[record + Word.stop]!) >>> (bit - 1)) & ~(free >>> bit) & 1) !== 0 &&
      bit !== 0 &&
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) === address
    );
  }

  /** Finds the allocation that begins at `address`: Status.ok, Status.unknownAddress, Status.notAllocated or Status.interiorAddress. */
  locateStart(address: number): Status {
    const words = this.words;
    const block = this.find(address);
    if (block === 0) return Status.unknownAddress;
    const offset = address - this.doubles[(block >> 1) + Block.rx]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = offset >>> shift;
    this.block = block;
    this.granule = granule;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const free = words[record]!;
    if (granule < words[block + Block.padding]! || granule >= words[block + Block.tail]!) {
      return Status.notAllocated;
    }
    if (((free >>> bit) & 1) !== 0) return Status.notAllocated;
    if (granule << shift === offset && this.#begins(record, bit)) return Status.ok;
    this.granule = startOf(words, block, granule);
    return Status.interiorAddress;
  }

  /** Whether something begins at a granule that is not free: the one before is free or ends something. The guard does. */
  #begins(record: number, bit: number): boolean {
    const words = this.words;
    const before = bit !== 0 ? record : record - Size.record;
    return (((words[before]! | words[before + Word.stop]!) >>> ((bit - 1) & 31)) & 1) !== 0;
  }

  /** Finds the allocation that contains `address`: Status.ok, Status.unknownAddress or Status.notAllocated. */
  locate(address: number): Status {
    const status = this.locateStart(address);
    return status === Status.interiorAddress ? Status.ok : status;
  }

  /** The length in granules of the allocation that begins at `granule`. */
  lengthAt(block: number, granule: number): number {
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const stops = words[record + Word.stop]! >>> (granule & 31);
    return stops !== 0 ? lowestBit(stops) + 1 : lengthOverWords(words, record, granule & 31);
  }

  // --- release ------------------------------------------------------------------------------------------------

  /**
   * Releases the allocation that begins at `address`. Status.surplusBlock (it is the last one of a block that is not kept)
   * and the failures of `locateStart` change nothing.
   */
  release(address: number): Status {
    const words = this.words;
    const block = words[Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1))]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    // Whatever block and granule came out: if they are of this address, they lead back to it.
    return granule < words[block + Block.tail]! &&
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) === address
      ? this.#releaseAt(block, granule)
      : this.#releaseElsewhere(address);
  }

  /** Releases what begins at a granule below the tail, if anything does. */
  #releaseAt(block: number, granule: number): Status {
    const words = this.words;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const stop = words[record + Word.stop]!;
    const free = words[record]!;
    const live = words[block + Block.live]! - 1;
    // Something begins where the granule before is free or ends something. For the first of a word the record before
    // tells; granule 0 may be padding.
    const before =
      bit !== 0
        ? (free | stop) >>> (bit - 1)
        : granule === 0
          ? 0
          : (words[record - Size.record]! | words[record - Size.record + Word.stop]!) >>> 31;
    if ((before & ~(free >>> bit) & 1) === 0 || live === 0) {
      return this.#releaseElsewhere(this.addressOf(block, granule));
    }
    words[block + Block.live] = live;
    const stops = stop >>> bit;
    const count = lowestBit(stops) + 1; // 0 where it ends in a later word
    if (count === 0 || granule + count === words[block + Block.tail]) {
      this.#vacate(block, record, granule, count === 0 ? lengthOverWords(words, record, bit) : count);
      return Status.ok;
    }
    // What is left is the release of nearly all code: inside a word, amid other allocations.
    words[block + Block.used] = words[block + Block.used]! - count;
    words[record + Word.stop] = stop & ~((stops & -stops) << bit);
    const freeNow = free | bitRange(bit, count);
    words[record] = freeNow;
    if (freeNow === -1) setFull(words, block, granule >>> 5);
    if (words[block + Block.generations] !== 0) this.#forgetGeneration(block, granule, count);
    rememberRun(words, block, (record << 3) + bit, count);
    return Status.ok;
  }

  /** The same for an address of which nothing is known. */
  #releaseElsewhere(address: number): Status {
    const status = this.locateStart(address);
    return status === Status.ok ? this.free(this.block, this.granule) : status;
  }

  /** Releases the allocation that begins at `granule`, which is known to be one. Status.ok or Status.surplusBlock. */
  free(block: number, granule: number): Status {
    const words = this.words;
    const live = words[block + Block.live]! - 1;
    this.block = block;
    this.granule = granule;
    if (live === 0 && this.#isSurplus(block)) return Status.surplusBlock;
    words[block + Block.live] = live;
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    this.#vacate(block, record, granule, this.lengthAt(block, granule));
    if (live === 0) this.#becameEmpty(block);
    return Status.ok;
  }

  /**
   * Shortens the allocation that begins at `address` to `newSize` bytes, where that leaves something and it lies in one
   * word. False where not, or where it cannot be: nothing has changed then.
   */
  shrinkInWord(address: number, newSize: number): boolean {
    const words = this.words;
    const block = words[Lookup.start + ((address >>> words[Header.frameShift]!) & (Lookup.entries - 1))]!;
    const shift = words[block + Block.granuleShift]!;
    const granule = ((address | 0) - words[block + Block.rxLow]!) >>> shift;
    if (
      granule >= words[block + Block.tail]! ||
      this.doubles[(block >> 1) + Block.rx]! + (granule << shift) !== address
    ) {
      return false;
    }
    const record = words[block + Block.records]! + ((granule >>> 5) << 2);
    const bit = granule & 31;
    const free = words[record]!;
    const stop = words[record + Word.stop]!;
    const count = lowestBit(stop >>> bit) + 1; // 0 where it ends in a later word
    if (bit === 0 || (((free | stop) >>> (bit - 1)) & ~(free >>> bit) & 1) === 0) return false;
    if ((newSize | 0) !== newSize || newSize <= 0 || newSize > count << shift) return false;
    const newCount = (newSize + (1 << shift) - 1) >>> shift;
    const freed = count - newCount;
    if (freed === 0) return true;
    if (granule + count === words[block + Block.tail] || words[block + Block.generations] !== 0) {
      this.shrink(block, granule, count, newCount);
      return true;
    }
    words[block + Block.used] = words[block + Block.used]! - freed;
    words[record + Word.stop] = (stop & ~(1 << (bit + count - 1))) | (1 << (bit + newCount - 1));
    words[record] = free | bitRange(bit + newCount, freed);
    rememberRun(words, block, (record << 3) + bit + newCount, freed);
    return true;
  }

  /** Shortens the allocation that begins at `granule` from `count` to `newCount` granules, 0 < newCount < count. */
  shrink(block: number, granule: number, count: number, newCount: number): void {
    const words = this.words;
    const last = granule + newCount - 1;
    const records = words[block + Block.records]!;
    const record = records + ((last >>> 5) << 2);
    this.#vacate(block, records + (((last + 1) >>> 5) << 2), last + 1, count - newCount);
    words[record + Word.stop] = words[record + Word.stop]! | (1 << (last & 31));
    const generations = words[block + Block.generations]!;
    if (generations !== 0 && newCount > 1 && words[generations + granule] !== 0) {
      words[generations + granule + 1] = newCount;
    }
  }

  /**
   * Frees the granules at the end of an allocation, clears its stop bit, and lets the tail take them, or keeps their run
   * for the next allocation of that length, or for the index.
   */
  #vacate(block: number, record: number, granule: number, count: number): void {
    const words = this.words;
    const bit = granule & 31;
    const end = granule + count;
    words[block + Block.used] = words[block + Block.used]! - count;
    if (words[block + Block.generations] !== 0) this.#forgetGeneration(block, granule, count);
    if (end === words[block + Block.tail] && words[words[block + Block.pool]! + Pool.current] === block) {
      words[block + Block.tail] = granule; // it was the last one before the tail, where nothing is free
      const stop = words[block + Block.records]! + (((end - 1) >>> 5) << 2) + Word.stop;
      words[stop] = words[stop]! & ~(1 << ((end - 1) & 31));
      if ((granule - 1) >>> 5 !== (end - 1) >>> 5) unlistAboveTail(words, block, end);
      return;
    }
    if (bit + count <= 32) {
      words[record + Word.stop] = words[record + Word.stop]! & ~(1 << (bit + count - 1));
      const free = words[record]! | bitRange(bit, count);
      words[record] = free;
      if (free === -1) setFull(words, block, granule >>> 5);
    } else {
      freeOverWords(words, block, record, granule >>> 5, bit, bit + count - 1);
    }
    rememberRun(words, block, (record << 3) + bit, count);
  }

  /** Whether the block has one allocation left, and will not be kept when that is released. */
  isLastOfSurplus(block: number): boolean {
    return this.words[block + Block.live] === 1 && this.#isSurplus(block);
  }

  #isSurplus(block: number): boolean {
    const words = this.words;
    if (words[Header.immediateRelease] !== 0) return true;
    const empty = words[words[block + Block.pool]! + Pool.empty]!;
    return empty !== 0 && empty !== block;
  }

  /** Keeps the block as its pool's empty one, untouched again from the padding on. */
  #becameEmpty(block: number): void {
    const words = this.words;
    const padding = words[block + Block.padding]!;
    words[words[block + Block.pool]! + Pool.empty] = block;
    const isUntouched =
      words[block + Block.tail] === padding && words[block + Block.inDirty + Link.next] === 0;
    if (!isUntouched) clearGranules(words, block);
  }

  // --- generations --------------------------------------------------------------------------------------------

  /**
   * The generation of the live allocation that begins at `granule`; given now if it had none. Never 0, except where
   * there is no room for the block's generations.
   */
  generationAt(block: number, granule: number): number {
    const generations = this.words[block + Block.generations]! || this.generationsOf(block);
    if (generations === 0) return 0;
    const words = this.words;
    const known = words[generations + granule]!;
    if (known !== 0) return known;
    // Always negative, so that it is never taken for the length that may stand in the same place.
    const generation = (words[Header.generation]! + 1) | -0x8000_0000;
    words[Header.generation] = generation;
    // The length first: with the generation the allocation is entered, in one write (ledger.ts).
    const count = this.lengthAt(block, granule);
    if (count > 1) words[generations + granule + 1] = count;
    words[generations + granule] = generation;
    return generation;
  }

  /** The length in granules of an allocation that has a generation: at the same cost however long it is. */
  lengthWithGeneration(block: number, granule: number): number {
    const words = this.words;
    const stops =
      words[words[block + Block.records]! + ((granule >>> 5) << 2) + Word.stop]! >>> (granule & 31);
    if (stops !== 0) return lowestBit(stops) + 1;
    return words[words[block + Block.generations]! + granule + 1]!;
  }

  /** What spans of the allocation that begins at `granule` know it by is gone. */
  #forgetGeneration(block: number, granule: number, count: number): void {
    const words = this.words;
    const generations = words[block + Block.generations]!;
    words[generations + granule] = 0;
    if (count > 1) words[generations + granule + 1] = 0;
  }

  /** Whether the allocation that begins at `granule` is still the one that was given `generation`. */
  isLive(block: number, granule: number, generation: number): boolean {
    return this.words[this.words[block + Block.generations]! + granule] === generation;
  }
}
