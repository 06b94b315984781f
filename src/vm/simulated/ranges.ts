/**
 * Ranges of a simulated machine. Their committed stretches are mappings like others. Stricter than a real system: a
 * stretch that is committed twice, or committed without being wiped though it is unclean, throws a plain Error, and so does
 * one that was data and is to be anything else.
 */
import { formatAddress } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { MemoryFlags } from "../contract.ts";
import type { MappingTag } from "../journal/contract.ts";
import type {
  AddressRange,
  MemoryKind,
  RangeMemory,
  RangeRequest,
  ReservedRange,
} from "../range/contract.ts";

/** The operations of ranges that are counted, and that can be made to fail. */
export type RangeOperation =
  "reserveRange" | "releaseRange" | "commit" | "decommit" | "empty" | "discard" | "seal";

/** What ranges need of the machine. */
export interface RangeHost {
  readonly pageSize: number;
  /** Counts the call. @throws JitError where it is to fail */
  enter(operation: RangeOperation, syscall: string): void;
  /** A place for so many bytes of addresses. */
  place(sizeBytes: number): Address;
  add(rx: Address, rw: Address, sizeBytes: number, flags: MemoryFlags): void;
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
  committed: (Stretch & { readonly kind: MemoryKind })[];
  unclean: Stretch[];
  /** What is or was data. */
  ofData: Stretch[];
  /** Parts of what is committed. */
  sealed: Stretch[];
  /** Whether parts may be sealed: all of it is one mapping then, since a block may begin in a sealed part and end behind. */
  readonly isOneMapping: boolean;
}

/** {@link RangeMemory} of a simulated machine. */
export class SimulatedRanges implements RangeMemory {
  /** What is no block's is not usable: a stray access is an error here. */
  readonly stepBytes = 0;
  readonly #host: RangeHost;
  readonly #reserved = new Map<Address, Reserved>();
  /** The sealed ranges that were given back, for the next allocator. */
  readonly #kept: Reserved[] = [];

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

  reserve({ sizeBytes, isDual, tag, isSealed = false }: RangeRequest): ReservedRange {
    this.#host.enter("reserveRange", "mmap");
    const kept = isSealed && tag?.isGuarded !== true ? this.#takeKept(sizeBytes, isDual) : undefined;
    if (kept !== undefined) return kept;
    const rx = this.#host.place(isDual ? 2 * sizeBytes : sizeBytes);
    const range = { rx, rw: isDual ? rx + sizeBytes : rx, sizeBytes };
    const nothing = { committed: [], unclean: [], ofData: [], sealed: [] };
    this.#reserved.set(rx, { ...range, tagName: tag?.name, ...nothing, isOneMapping: isSealed });
    if (isSealed) this.#host.add(rx, range.rw, sizeBytes, flagsOf("code", !isDual));
    return { ...range, sealedBytes: 0 };
  }

  #takeKept(sizeBytes: number, isDual: boolean): ReservedRange | undefined {
    const kept = this.#kept.find(
      (range) => range.sizeBytes === sizeBytes && isDual === (range.rx !== range.rw),
    );
    if (kept === undefined) return undefined;
    this.#kept.splice(this.#kept.indexOf(kept), 1);
    this.#reserved.set(kept.rx, kept);
    return { rx: kept.rx, rw: kept.rw, sizeBytes, sealedBytes: sizeOf(kept.sealed) };
  }

  release(range: AddressRange, tag?: MappingTag, isUntouched = false, sealedBytes = 0): void {
    this.#host.enter("releaseRange", "munmap");
    const reserved = this.#of(range);
    const { committed, unclean, ofData, sealed, isOneMapping } = reserved;
    if (sizeOf(sealed) > sealedBytes || sizeOf(outside(sealed, { offset: 0, sizeBytes: sealedBytes })) > 0)
      throw new Error("simulated memory: a range is released with more that is sealed than was said");
    const rest = outside(committed, { offset: 0, sizeBytes: sealedBytes });
    const hasMemory =
      isOneMapping &&
      committed.some(({ offset, sizeBytes }) => this.#bytesOf(reserved, offset, sizeBytes).some(Boolean));
    if (isUntouched && (rest.length + unclean.length + ofData.length > 0 || hasMemory))
      throw new Error("simulated memory: a range is released as untouched, and is not");
    this.#reserved.delete(range.rx);
    if (isUntouched && sealedBytes > 0 && tag?.isGuarded !== true) {
      this.#kept.push({ ...reserved, tagName: undefined });
      return;
    }
    // What is sealed of a real system stays. It is no use to anybody, and so not shown.
    if (isOneMapping) this.#host.remove(range.rx, range.rw, range.sizeBytes);
    else for (const stretch of committed) this.#drop(reserved, stretch);
  }

  /** Gives back a range whose thread has died, but for what is sealed. */
  abandon(range: AddressRange): void {
    this.release(range, undefined, false, sizeOf(this.#of(range).sealed));
  }

  commit(
    range: AddressRange,
    offset: number,
    sizeBytes: number,
    isUnclean: boolean,
    kind: MemoryKind = "code",
  ): void {
    this.#host.enter("commit", "mprotect");
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes, kind };
    this.#check(reserved, stretch);
    if (reserved.committed.some((other) => overlaps(other, stretch)))
      throw new Error(`simulated memory: ${formatAddress(range.rx + offset)} is committed already`);
    if (!isUnclean && reserved.unclean.some((other) => overlaps(other, stretch)))
      throw new Error(`simulated memory: ${formatAddress(range.rx + offset)} is committed, and unclean`);
    if (kind !== "data" && reserved.ofData.some((other) => overlaps(other, stretch)))
      throw new Error(`simulated memory: ${formatAddress(range.rx + offset)} was data, and is to be ${kind}`);
    if (kind === "data") reserved.ofData.push({ offset, sizeBytes });
    reserved.unclean = outside(reserved.unclean, stretch);
    if (reserved.isOneMapping) {
      this.#bytesOf(reserved, offset, sizeBytes).fill(0);
    } else {
      const view = kind === "data" ? range.rx : range.rw;
      this.#host.add(range.rx + offset, view + offset, sizeBytes, flagsOf(kind, range.rx === range.rw));
    }
    reserved.committed.push(stretch);
  }

  /** A simulated machine can seal. */
  sealRefusal(): undefined {
    return undefined;
  }

  seal(range: AddressRange, offset: number, sizeBytes: number): void {
    this.#host.enter("seal", "mseal");
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    if (!reserved.isOneMapping || outside([stretch], ...reserved.committed).length > 0)
      throw new Error("simulated memory: what is not committed is sealed");
    reserved.sealed = [...outside(reserved.sealed, stretch), stretch];
  }

  decommit(range: AddressRange, offset: number, sizeBytes: number, kind: MemoryKind = "code"): boolean {
    this.#host.enter("decommit", "mprotect");
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    this.#checkUnsealed(reserved, stretch);
    const taken = reserved.committed.filter((known) => overlaps(known, stretch));
    const takenBytes = taken.reduce((sum, known) => sum + known.sizeBytes, 0);
    const isWhole = takenBytes === sizeBytes && outside(taken, stretch).length === 0;
    if (!isWhole || taken.some((known) => known.kind !== kind))
      throw new Error(
        `simulated memory: no stretch of ${sizeBytes} bytes of ${kind} at ${formatAddress(range.rx + offset)}`,
      );
    for (const known of taken) this.#drop(reserved, known);
    reserved.committed = reserved.committed.filter((known) => !taken.includes(known));
    return this.#empty(reserved, stretch);
  }

  wipe(range: AddressRange, offset: number, sizeBytes: number, isForData = false): boolean {
    const reserved = this.#of(range);
    const stretch = { offset, sizeBytes };
    this.#checkUnsealed(reserved, stretch);
    if (!isForData && reserved.ofData.some((other) => overlaps(other, stretch)))
      throw new Error(
        `simulated memory: ${formatAddress(range.rx + offset)} was data, and is wiped as if not`,
      );
    if (isForData) reserved.ofData.push(stretch);
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
    if (reserved.isOneMapping) this.#bytesOf(reserved, stretch.offset, stretch.sizeBytes).fill(0);
    reserved.unclean = outside(reserved.unclean, stretch);
    return true;
  }

  #drop({ rx, rw, committed, isOneMapping }: Reserved, { offset, sizeBytes }: Stretch): void {
    if (isOneMapping) return;
    const isData = committed.some((known) => known.offset === offset && known.kind === "data");
    this.#host.remove(rx + offset, (isData ? rx : rw) + offset, sizeBytes);
  }

  #bytesOf({ rx }: Reserved, offset: number, sizeBytes: number): Uint8Array {
    return this.#host.bytesAt(rx + offset, sizeBytes);
  }

  #checkUnsealed({ sealed }: Reserved, stretch: Stretch): void {
    if (sealed.some((other) => overlaps(other, stretch)))
      throw new Error("simulated memory: the access of what is sealed is changed: EPERM");
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

/** How a stretch can be accessed through its view to execute. */
function flagsOf(kind: MemoryKind, hasOneView: boolean): MemoryFlags {
  return { read: true, write: kind === "data" || hasOneView, execute: kind === "code" };
}

function overlaps(a: Stretch, b: Stretch): boolean {
  return a.offset < b.offset + b.sizeBytes && b.offset < a.offset + a.sizeBytes;
}

function isSame(a: Stretch, b: Stretch): boolean {
  return a.offset === b.offset && a.sizeBytes === b.sizeBytes;
}

function sizeOf(stretches: readonly Stretch[]): number {
  return stretches.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** The parts of stretches that lie outside of others. */
function outside(stretches: readonly Stretch[], ...others: readonly Stretch[]): Stretch[] {
  return others.reduce<Stretch[]>((rest, other) => outsideOne(rest, other), [...stretches]);
}

function outsideOne(stretches: readonly Stretch[], { offset, sizeBytes }: Stretch): Stretch[] {
  const end = offset + sizeBytes;
  return stretches.flatMap((stretch) => {
    const stretchEnd = stretch.offset + stretch.sizeBytes;
    const head = { offset: stretch.offset, sizeBytes: Math.min(stretchEnd, offset) - stretch.offset };
    const tailStart = Math.max(stretch.offset, end);
    const tail = { offset: tailStart, sizeBytes: stretchEnd - tailStart };
    return [head, tail].filter((part) => part.sizeBytes > 0);
  });
}
