/**
 * Ranges of a simulated machine. Their committed stretches are mappings like others. Stricter than a real system: a
 * stretch that is committed twice, or committed without being wiped though it is unclean, throws a plain Error.
 */
import { formatAddress } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { MappingTag } from "../journal/contract.ts";
import type { AddressRange, RangeMemory, RangeRequest } from "../range/contract.ts";

/** The operations of ranges that are counted, and that can be made to fail. */
export type RangeOperation = "reserveRange" | "releaseRange" | "commit" | "decommit" | "empty" | "discard";

/** What ranges need of the machine. */
export interface RangeHost {
  readonly pageSize: number;
  /** Counts the call. @throws JitError where it is to fail */
  enter(operation: RangeOperation, syscall: string): void;
  /** A place for so many bytes of addresses. */
  place(sizeBytes: number): Address;
  add(rx: Address, rw: Address, sizeBytes: number): void;
  /** @throws Error where no stretch begins there, or is that long, or has an open view */
  remove(rx: Address, rw: Address, sizeBytes: number): void;
  /** The bytes at an address of a stretch, aliased. */
  bytesAt(address: Address, sizeBytes: number): Uint8Array;
}

interface Stretch {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A range that is reserved. */
interface Reserved extends AddressRange {
  readonly tagName: string | undefined;
  committed: Stretch[];
  unclean: Stretch[];
}

/** {@link RangeMemory} of a simulated machine. */
export class SimulatedRanges implements RangeMemory {
  /** What is no block's is not usable: a stray access is an error here. */
  readonly stepBytes = 0;
  readonly #host: RangeHost;
  readonly #reserved = new Map<Address, Reserved>();

  constructor(host: RangeHost) {
    this.#host = host;
  }

  /** The ranges that are reserved now. */
  get all(): readonly AddressRange[] {
    return [...this.#reserved.values()].map(({ rx, rw, sizeBytes }) => ({ rx, rw, sizeBytes }));
  }

  /** The range at an address of its start, whose tag has that name; any name where none is given. */
  find(start: Address, tagName?: string): AddressRange | undefined {
    const range = this.#reserved.get(start);
    return range !== undefined && (tagName === undefined || range.tagName === tagName) ? range : undefined;
  }

  /** Makes a stretch unclean that is nobody's, as a thread leaves it that dies in the middle of a commit. */
  soil(range: AddressRange, offset: number, sizeBytes: number): void {
    const reserved = this.#of(range);
    if (!reserved.unclean.some((known) => isSame(known, { offset, sizeBytes })))
      reserved.unclean.push({ offset, sizeBytes });
  }

  reserve({ sizeBytes, isDual, tag }: RangeRequest): AddressRange {
    this.#host.enter("reserveRange", "mmap");
    const rx = this.#host.place(isDual ? 2 * sizeBytes : sizeBytes);
    const range = { rx, rw: isDual ? rx + sizeBytes : rx, sizeBytes };
    this.#reserved.set(rx, { ...range, tagName: tag?.name, committed: [], unclean: [] });
    return range;
  }

  release(range: AddressRange, _tag?: MappingTag, isUntouched = false): void {
    this.#host.enter("releaseRange", "munmap");
    const reserved = this.#of(range);
    if (isUntouched && reserved.committed.length + reserved.unclean.length > 0)
      throw new Error("simulated memory: a range is released as untouched, and is not");
    for (const stretch of reserved.committed) this.#drop(reserved, stretch);
    this.#reserved.delete(range.rx);
  }

  commit(range: AddressRange, offset: number, sizeBytes: number, isUnclean: boolean): void {
    this.#host.enter("commit", "mprotect");
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    this.#check(reserved, stretch);
    if (reserved.committed.some((other) => overlaps(other, stretch)))
      throw new Error(`simulated memory: ${formatAddress(range.rx + offset)} is committed already`);
    if (!isUnclean && reserved.unclean.some((other) => overlaps(other, stretch)))
      throw new Error(`simulated memory: ${formatAddress(range.rx + offset)} is committed, and unclean`);
    reserved.unclean = outside(reserved.unclean, stretch);
    this.#host.add(range.rx + offset, range.rw + offset, sizeBytes);
    reserved.committed.push(stretch);
  }

  decommit(range: AddressRange, offset: number, sizeBytes: number): boolean {
    this.#host.enter("decommit", "mprotect");
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    const taken = reserved.committed.filter((known) => overlaps(known, stretch));
    const takenBytes = taken.reduce((sum, known) => sum + known.sizeBytes, 0);
    if (takenBytes !== sizeBytes || outside(taken, stretch).length > 0)
      throw new Error(
        `simulated memory: no stretch of ${sizeBytes} bytes at ${formatAddress(range.rx + offset)}`,
      );
    for (const known of taken) this.#drop(reserved, known);
    reserved.committed = reserved.committed.filter((known) => !taken.includes(known));
    return this.#empty(reserved, stretch);
  }

  wipe(range: AddressRange, offset: number, sizeBytes: number): boolean {
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    for (const other of reserved.committed.filter((known) => overlaps(known, stretch))) {
      if (other.offset < offset || other.offset + other.sizeBytes > offset + sizeBytes)
        throw new Error("simulated memory: a part of a committed stretch is wiped");
      this.#drop(reserved, other);
      reserved.committed = reserved.committed.filter((known) => known !== other);
      reserved.unclean.push(other);
    }
    return this.#empty(reserved, stretch);
  }

  discard(range: AddressRange, offset: number, sizeBytes: number): void {
    this.#host.enter("discard", "madvise");
    this.#host.bytesAt(range.rx + offset, sizeBytes).fill(0);
  }

  adviseLargePages(): void {
    // A hint, which this machine does not heed.
  }

  /** This machine does not say. */
  residentPages(): undefined {
    return undefined;
  }

  /** Takes the memory of a stretch that is no longer committed. Where that is to fail, the stretch is unclean. */
  #empty(reserved: Reserved, stretch: Stretch): boolean {
    try {
      this.#host.enter("empty", "madvise");
    } catch {
      reserved.unclean.push(stretch);
      return false;
    }
    reserved.unclean = outside(reserved.unclean, stretch);
    return true;
  }

  #drop({ rx, rw }: Reserved, { offset, sizeBytes }: Stretch): void {
    this.#host.remove(rx + offset, rw + offset, sizeBytes);
  }

  #of(range: AddressRange): Reserved {
    const reserved = this.#reserved.get(range.rx);
    if (reserved?.rw !== range.rw || reserved.sizeBytes !== range.sizeBytes)
      throw new Error(`simulated memory: no range at ${formatAddress(range.rx)}`);
    return reserved;
  }

  #check({ sizeBytes: rangeBytes }: Reserved, { offset, sizeBytes }: Stretch): void {
    const { pageSize } = this.#host;
    const isInside = offset >= 0 && sizeBytes > 0 && offset + sizeBytes <= rangeBytes;
    if (!isInside || offset % pageSize !== 0 || sizeBytes % pageSize !== 0)
      throw new Error(`simulated memory: a stretch of ${sizeBytes} bytes at ${offset} of a range`);
  }
}

function overlaps(a: Stretch, b: Stretch): boolean {
  return a.offset < b.offset + b.sizeBytes && b.offset < a.offset + a.sizeBytes;
}

function isSame(a: Stretch, b: Stretch): boolean {
  return a.offset === b.offset && a.sizeBytes === b.sizeBytes;
}

/** The parts of stretches that lie outside of another. */
function outside(stretches: readonly Stretch[], { offset, sizeBytes }: Stretch): Stretch[] {
  const end = offset + sizeBytes;
  return stretches.flatMap((stretch) => {
    const stretchEnd = stretch.offset + stretch.sizeBytes;
    const head = { offset: stretch.offset, sizeBytes: Math.min(stretchEnd, offset) - stretch.offset };
    const tailStart = Math.max(stretch.offset, end);
    const tail = { offset: tailStart, sizeBytes: stretchEnd - tailStart };
    return [head, tail].filter((part) => part.sizeBytes > 0);
  });
}
