/** Chooses where mappings are asked to lie: side by side, downwards from the top of a wide range that is free. */
import type { Address } from "../../ffi/contract.ts";
import { MAP_FAILED, MapFlag, Protection } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/** Bytes: room for some hundred blocks, in an address space of 128 TiB. */
const RANGE_BYTES = 2 ** 30;

/**
 * Left alone, Linux puts each mapping into the highest gap that it fits in, so that the blocks of an allocator lie
 * scattered among heaps and libraries. The core's look-up by address (core/layout.ts) has an entry for every so many
 * addresses, and starts again from the first where it has no more: scattered blocks share entries, which costs a walk
 * through the tree of blocks. Those that lie side by side do not.
 *
 * It is only ever a hint, for `mmap` without MAP_FIXED: what is mapped already stays, and the system places the new
 * mapping as it likes.
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
   * Where a mapping of `sizeBytes` should begin; 0 = anywhere.
   *
   * @param descriptor a file whose name the range is to bear while it is looked for; -1 = none
   */
  hintFor(sizeBytes: number, descriptor = -1): Address {
    if (sizeBytes > RANGE_BYTES) return 0;
    if (this.#end - this.#start < sizeBytes) this.#findRange(descriptor);
    return this.hintAtHand(sizeBytes);
  }

  /** The same, but 0 where a range would have to be looked for. */
  hintAtHand(sizeBytes: number): Address {
    return this.#end - this.#start < sizeBytes ? 0 : this.#end - sizeBytes;
  }

  /** Something was mapped at `address`, where `hint` was asked for. */
  noteMapped(address: Address, hint: Address): void {
    if (hint === 0) return;
    // Where the system did not follow, somebody else has mapped something there: a new range is looked for.
    this.#end = address === hint ? address : this.#start;
  }

  /** Something was unmapped. */
  noteUnmapped(address: Address, sizeBytes: number): void {
    if (address === this.#end) this.#end += sizeBytes;
  }

  /** The system knows a range that is free, and gives it away for a moment. Where it has none, there is no hint. */
  #findRange(descriptor: number): void {
    const libc = this.#libc;
    this.#start = 0;
    this.#end = 0;
    const flags = MapFlag.PRIVATE | MapFlag.NORESERVE | (descriptor === -1 ? MapFlag.ANONYMOUS : 0);
    const start = libc.mmap(0, RANGE_BYTES, Protection.NONE, flags, descriptor, 0);
    if (start === MAP_FAILED) return;
    // Not even what is refused may leave a gibibyte behind.
    if (libc.munmap(start, RANGE_BYTES) !== 0) libc.munmap(start, RANGE_BYTES);
    this.#start = start;
    this.#end = start + RANGE_BYTES;
  }
}
