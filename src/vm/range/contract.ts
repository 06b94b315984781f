/**
 * The contract of one range: addresses that an allocator reserves once and whole, and of which it makes stretches usable
 * as its blocks need them. `VirtualMemory.ranges` has it, where the system offers such ranges.
 *
 * The life of a stretch:
 *  1. untouched: no access, no memory.
 *  2. {@link RangeMemory.commit}: usable as its kind is; its pages come as they are written.
 *  3. {@link RangeMemory.discard}, any number of times: pages go, and read as zero from then on.
 *  4. {@link RangeMemory.decommit}: untouched again; or, where the system refused a part of that, *unclean*: it can no
 *     longer be run, but may have memory or be writable. It is made clean when it is committed next, or by
 *     {@link RangeMemory.wipe}.
 *
 * A committed stretch may be sealed ({@link RangeMemory.seal}). Nothing undoes that: the stretch stays usable until the
 * process ends, and only its memory can be given back, by {@link RangeMemory.discard}.
 *
 * | kind      | through rx                  | through rw              | with one view               |
 * | --------- | --------------------------- | ----------------------- | --------------------------- |
 * | code      | readable, executable        | readable, writable      | readable, writable, executable |
 * | constants | readable                    | readable, writable      | readable, writable          |
 * | data      | readable, writable          | no access               | readable, writable          |
 *
 * The executable view can never be made writable, so data is other memory, which is mapped in its place: a stretch that was
 * data can be nothing else from then on, until the range is released. The caller keeps the two apart.
 *
 * Where no kind is given, it is code.
 *
 * Offsets and sizes are bytes from the start of the range, and multiples of the page size. Nothing here is noted in a
 * journal but reserving and releasing: every other step may be repeated, whatever a thread that died left behind.
 */
import type { Address } from "../../ffi/contract.ts";
import type { MappingTag } from "../journal/contract.ts";

/** What memory is for, and so how it can be accessed. */
export type MemoryKind = "code" | "constants" | "data";

/** A reserved range: plain data, valid in every thread of the process. */
export interface AddressRange {
  /** The start of the executable view. */
  readonly rx: Address;
  /** The start of the writable view; equal to `rx` where there is one view, writable and executable at once. */
  readonly rw: Address;
  /** Bytes of each view. */
  readonly sizeBytes: number;
}

/** A range as it is reserved. */
export interface ReservedRange extends AddressRange {
  /** Bytes from its start that an earlier allocator has sealed: they are committed, and have no memory. Mostly 0. */
  readonly sealedBytes: number;
}

/** What to reserve. */
export interface RangeRequest {
  /** Bytes of one view that are wanted: a multiple of {@link leastBytes}. */
  readonly sizeBytes: number;
  /** Bytes of one view that would do. Between the two, `sizeBytes` is halved until the system has room. */
  readonly leastBytes: number;
  /** True: two views. False: one, writable and executable at once. */
  readonly isDual: boolean;
  /** The range lies so that a relative call from anywhere in it reaches this address. */
  readonly near?: Address | undefined;
  /** Bytes: how far a relative call of this processor reaches. Matters with `near` alone. */
  readonly reachBytes: number;
  /** Whether stretches of it are to be sealed: the range may then be one of which a part is sealed already. Default false. */
  readonly isSealed?: boolean;
  readonly tag?: MappingTag | undefined;
}

/** Why this machine has no range, though it has memory: something that lies below the range may still work. */
export interface RangeRefusal {
  /** One line: the native call that was refused, and why. */
  readonly reason: string;
}

/** Ranges of one system. Each function does the whole of what it says, or throws and changes nothing, unless it says more. */
export interface RangeMemory {
  /**
   * Bytes that are best made usable at once, from a multiple of it on, where a block needs less and nothing else lies there:
   * a call costs the same for a page and for as many. A page or less = no more than what is needed.
   */
  readonly stepBytes: number;
  /**
   * Reserves a range. No memory is used.
   * @returns the range, or why the system's policy allows none
   * @throws JitError `ERR_OUT_OF_MEMORY` where there are no addresses for `leastBytes`; `ERR_OUT_OF_REACH` where no free
   *   addresses are near enough; `ERR_TOO_MANY_HANDLES`
   */
  reserve(request: RangeRequest): ReservedRange | RangeRefusal;
  /**
   * Gives back a whole range, whatever is committed in it; but for what is sealed, whose addresses stay.
   * @param tag as in `VirtualMemory.alloc`
   * @param isUntouched whether nothing in it is committed or unclean, but for what is sealed, which has no memory: the
   *   range may be kept then for the next allocator
   * @param sealedBytes bytes from its start that are sealed
   */
  release(range: AddressRange, tag?: MappingTag, isUntouched?: boolean, sealedBytes?: number): void;
  /**
   * Makes a stretch usable. @param isUnclean whether it may have been left unclean; it is wiped first then
   * @throws JitError; the stretch is unclean then
   */
  commit(range: AddressRange, offset: number, sizeBytes: number, isUnclean: boolean, kind?: MemoryKind): void;
  /**
   * Takes a stretch back, with its memory: all of what was committed, or several such side by side. It cannot be run from the
   * first step on.
   * @returns false where the system refused a later step: the stretch is unclean
   * @throws JitError where the system refused the first step; nothing has changed then
   */
  decommit(range: AddressRange, offset: number, sizeBytes: number, kind?: MemoryKind): boolean;
  /**
   * Does what {@link decommit} does, to a stretch in any state. Never throws.
   * @param isForData whether it may have been data, and so can be nothing else from now on
   * @returns whether it is untouched now
   */
  wipe(range: AddressRange, offset: number, sizeBytes: number, isForData?: boolean): boolean;
  /** Gives back the memory of a part of a committed stretch, which reads as zero from then on. */
  discard(range: AddressRange, offset: number, sizeBytes: number, kind?: MemoryKind): void;
  /** Why nothing can be sealed on this machine; undefined where it can. Asks the system, and changes nothing. */
  sealRefusal(): string | undefined;
  /**
   * Seals a committed stretch, in both views: from then on nothing in the process can change its access, unmap it or map
   * over it. May be repeated.
   * @throws JitError; the stretch may be sealed in part then, and cannot be decommitted before this is repeated
   */
  seal(range: AddressRange, offset: number, sizeBytes: number): void;
  /** Asks for large pages for a committed stretch: a hint. Never throws. */
  adviseLargePages(range: AddressRange, offset: number, sizeBytes: number, kind?: MemoryKind): void;
  /**
   * Which pages of a committed stretch have memory: one byte a page, of which bit 0 counts. Undefined where the system
   * does not say.
   */
  residentPages(
    range: AddressRange,
    offset: number,
    sizeBytes: number,
    kind?: MemoryKind,
  ): Uint8Array | undefined;
}
