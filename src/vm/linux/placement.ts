/** Chooses the addresses that are hinted for mappings: side by side, downwards from the top of a wide free range. */
import type { Address } from "../../ffi/contract.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/** Bytes: room for some hundred blocks, in an address space of 128 TiB. */
const RANGE_BYTES = 2 ** 30;

/**
 * Without a hint, Linux puts each mapping into the highest gap that it fits in, so that the blocks of an allocator lie
 * scattered among heaps and libraries. The core's table of frames (core/layout.ts) has one entry for a frame of
 * addresses, and addresses far apart share entries: scattered blocks then cost a walk through the tree of blocks. Blocks
 * that lie side by side do not share entries.
 *
 * The address is only a hint, for `mmap` without MAP_FIXED: a mapping that is already there stays, and the system places
 * the new one as it likes.
 */
export class Placement {
  readonly #libc: LinuxLibc;
  /** The free range, from its start to where the last mapping begins; empty where none was found yet. */
  #start: Address = 0;
  #end: Address = 0;

  constructor(libc: LinuxLibc) {
    this.#libc = libc;
  }

  /**
   * The address at which a mapping of `sizeBytes` should begin; 0 = anywhere.
   *
   * @param descriptor a file whose name the range bears while it is looked for; -1 = none
   */
  hintFor(sizeBytes: number, descriptor = -1): Address {
    if (sizeBytes > RANGE_BYTES) return 0;
    if (this.#end - this.#start < sizeBytes) this.#findRange(descriptor);
    return this.hintAtHand(sizeBytes);
  }

  /** Like {@link hintFor}, but 0 where a new range would have to be looked for. */
  hintAtHand(sizeBytes: number): Address {
    return this.#end - this.#start < sizeBytes ? 0 : this.#end - sizeBytes;
  }

  /** Called after a mapping at `address`, for which `hint` was given. */
  noteMapped(address: Address, hint: Address): void {
    if (hint === 0) return;
    // The system did not follow the hint, so something else is mapped there: the next hint needs a new range.
    this.#end = address === hint ? address : this.#start;
  }

  /** Called after an unmapping. */
  noteUnmapped(address: Address, sizeBytes: number): void {
    if (address === this.#end) this.#end += sizeBytes;
  }

  /** Finds a free range: the system maps one, which is unmapped at once. Where the system has none, there is no hint. */
  #findRange(descriptor: number): void {
    const libc = this.#libc;
    this.#start = 0;
    this.#end = 0;
    const flags = MapFlag.PRIVATE | MapFlag.NORESERVE | (descriptor === -1 ? MapFlag.ANONYMOUS : 0);
    const start = libc.mmap(0, RANGE_BYTES, Protection.NONE, flags, descriptor, 0);
    if (start === MAP_FAILED) return;
    // A refused munmap is tried again: it must not leave a gibibyte behind.
    if (libc.munmap(start, RANGE_BYTES) !== 0) libc.munmap(start, RANGE_BYTES);
    this.#start = start;
    this.#end = start + RANGE_BYTES;
  }
}
