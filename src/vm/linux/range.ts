/**
 * One range on Linux: a sparse memfd, mapped twice and whole.
 *
 *     rw                              rx = rw + size
 *     ├── no access, or read, write ──┼── no access, or read, execute ──┤      the same memory, twice
 *
 * The executable view is of the descriptor opened again for reading alone. The system then refuses every way to make that
 * view writable (mprotect, MADV_REMOVE: EACCES), as it does after F_SEAL_FUTURE_WRITE. That seal cannot be used here: it
 * forbids MADV_REMOVE through the writable view too, by which pages are given back.
 *
 * Data has its own memory: anonymous, private to the process, and mapped over a stretch of the executable view
 * (data-stretch.ts). The writable view has nothing there.
 *
 * How a range is reserved: range-reservation.ts.
 */
import { formatAddress, type JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import { attempt, insisting } from "../attempts.ts";
import type { MappingTag } from "../contract.ts";
import type {
  AddressRange,
  MemoryKind,
  RangeMemory,
  RangeRefusal,
  RangeRequest,
  ReservedRange,
} from "../range/contract.ts";
import { closeData, discardData, makeNothing, openData } from "./data-stretch.ts";
import { Errno, errnoName, systemError } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import { KeptRanges } from "./kept-ranges.ts";
import { adviseLargePages, adviseLargePagesShared } from "./large-pages.ts";
import { Advice, Protection, READ_EXECUTE, READ_WRITE } from "./libc.ts";
import type { NotedLibc } from "./noted-libc.ts";
import type { WriteKeys } from "./write-keys.ts";
import { ALIGNMENT, RangeReservation } from "./range-reservation.ts";

/** {@link RangeMemory} on Linux. */
export class LinuxRanges implements RangeMemory {
  readonly stepBytes = ALIGNMENT;
  readonly #libc: NotedLibc;
  readonly #reservation: RangeReservation;
  readonly #kept = new KeptRanges();

  readonly #keys: WriteKeys | undefined;

  /** @param keys close the writable view of each range to all that is not theirs; absent: it is open */
  constructor(libc: NotedLibc, files: SystemFiles, keys?: WriteKeys) {
    this.#libc = libc;
    this.#keys = keys;
    this.#reservation = new RangeReservation(libc, files);
  }

  reserve(request: RangeRequest): ReservedRange | RangeRefusal {
    const kept = this.#kept.take(request);
    if (kept !== undefined) return kept;
    const range = this.#closed(this.#reservation.reserve(request), request.tag);
    if ("rx" in range) this.#kept.noteMade(range, request.sizeBytes);
    return range;
  }

  /** Closes the writable view of a new range, where it is to be. */
  #closed(range: ReservedRange | RangeRefusal, tag?: MappingTag): ReservedRange | RangeRefusal {
    if (this.#keys === undefined || !("rx" in range)) return range;
    try {
      this.#keys.close(range);
      return range;
    } catch (error) {
      this.release(range, tag);
      throw error;
    }
  }

  release(range: AddressRange, tag?: MappingTag, isUntouched = false, sealedBytes = 0): void {
    if (isUntouched && this.#kept.keep(range, sealedBytes, tag)) return;
    if (sealedBytes > 0) {
      this.#libc.noter.noting(tag?.journal, () => {
        this.#releaseUnsealed(range, sealedBytes);
      });
      return;
    }
    const { rx, rw, sizeBytes } = range;
    const totalBytes = rx === rw ? sizeBytes : 2 * sizeBytes;
    const failed = this.#libc.noter.noting(tag?.journal, () => this.#libc.munmap(rw, totalBytes) !== 0);
    if (failed) {
      const asked = `unmap the range of ${totalBytes} bytes at ${formatAddress(rw)}`;
      throw systemError(asked, "munmap", this.#libc.errno());
    }
    this.#reservation.released(rw, totalBytes);
  }

  /**
   * Gives back the addresses behind the sealed stretch of each view. Where the system refuses, they are lost: no memory is,
   * and there is nothing that a second attempt could do.
   */
  #releaseUnsealed({ rx, rw, sizeBytes }: AddressRange, sealedBytes: number): void {
    const restBytes = sizeBytes - sealedBytes;
    if (restBytes === 0) return;
    for (const view of new Set([rx, rw])) this.#libc.munmap(view + sealedBytes, restBytes);
  }

  commit(
    { rx, rw }: AddressRange,
    offset: number,
    sizeBytes: number,
    isUnclean: boolean,
    kind: MemoryKind = "code",
  ): void {
    const libc = this.#libc;
    if (kind === "data") {
      openData(libc, rx + offset, sizeBytes);
      return;
    }
    const refuse = (syscall: string): JitError =>
      systemError(`make ${sizeBytes} bytes at ${formatAddress(rx + offset)} usable`, syscall, libc.errno());
    if (libc.mprotect(rw + offset, sizeBytes, READ_WRITE) !== 0) throw refuse("mprotect");
    try {
      if (isUnclean && libc.madvise(rw + offset, sizeBytes, Advice.REMOVE) !== 0) throw refuse("madvise");
      const access = kind === "code" ? READ_EXECUTE : Protection.READ;
      if (libc.mprotect(rx + offset, sizeBytes, rx === rw ? access | READ_WRITE : access) !== 0)
        throw refuse("mprotect");
    } catch (error) {
      this.#makeNoAccess(rw + offset, sizeBytes);
      throw error;
    }
  }

  decommit(range: AddressRange, offset: number, sizeBytes: number, kind: MemoryKind = "code"): boolean {
    const address = range.rx + offset;
    const isData = kind === "data";
    // Made once more where the foreign function interface refuses, as every call that gives something back.
    const access = isData ? Protection.NONE : closedAccess(range);
    if (insisting(() => this.#libc.mprotect(address, sizeBytes, access))() !== 0) {
      const asked = `take back ${sizeBytes} bytes at ${formatAddress(address)}`;
      const errno = this.#libc.errno();
      const advice = errno === Errno.ENOMEM ? OUT_OF_MAPPINGS : undefined;
      throw systemError(asked, "mprotect", errno, advice);
    }
    return isData ? closeData(this.#libc, address, sizeBytes) : this.#empty(range, offset, sizeBytes);
  }

  wipe(range: AddressRange, offset: number, sizeBytes: number, isForData = false): boolean {
    if (isForData) return this.#wipeForData(range, offset, sizeBytes);
    const isClosed = this.#protects(range.rx + offset, sizeBytes, closedAccess(range));
    // Kernels before 6.7 give pages back only through a view that is writable.
    if (range.rx !== range.rw) this.#protects(range.rw + offset, sizeBytes, READ_WRITE);
    return this.#empty(range, offset, sizeBytes) && isClosed;
  }

  /** A stretch of which parts may have been constants or code before they became data's. */
  #wipeForData(range: AddressRange, offset: number, sizeBytes: number): boolean {
    if (range.rx === range.rw) {
      // Fails where it is data's already, which has no pages of the file.
      attempt(() => this.#libc.madvise(range.rw + offset, sizeBytes, Advice.REMOVE));
      return makeNothing(this.#libc, range.rx + offset, sizeBytes);
    }
    const isNothing = makeNothing(this.#libc, range.rx + offset, sizeBytes);
    this.#protects(range.rw + offset, sizeBytes, READ_WRITE);
    return this.#empty(range, offset, sizeBytes) && isNothing;
  }

  /** Gives back the pages of a stretch that can no longer be run, and closes the view through which that was done. */
  #empty({ rw }: AddressRange, offset: number, sizeBytes: number): boolean {
    const isEmpty = attempt(insisting(() => this.#libc.madvise(rw + offset, sizeBytes, Advice.REMOVE))) === 0;
    return this.#makeNoAccess(rw + offset, sizeBytes) && isEmpty;
  }

  #makeNoAccess(address: Address, sizeBytes: number): boolean {
    return this.#protects(address, sizeBytes, Protection.NONE);
  }

  #protects(address: Address, sizeBytes: number, protection: number): boolean {
    return attempt(insisting(() => this.#libc.mprotect(address, sizeBytes, protection))) === 0;
  }

  discard({ rx, rw }: AddressRange, offset: number, sizeBytes: number, kind: MemoryKind = "code"): void {
    const isDone =
      kind === "data"
        ? discardData(this.#libc, rx + offset, sizeBytes)
        : this.#libc.madvise(rw + offset, sizeBytes, Advice.REMOVE) === 0;
    if (isDone) return;
    const asked = `give back the memory of ${sizeBytes} bytes at ${formatAddress(rx + offset)}`;
    throw systemError(asked, "madvise", this.#libc.errno());
  }

  sealRefusal(): string | undefined {
    // No bytes: a kernel that knows the call has nothing to do.
    if (this.#libc.mseal(0, 0) === 0) return undefined;
    return `mseal: ${errnoName(this.#libc.errno())}: ${SEALING_NEEDS}`;
  }

  seal({ rx, rw }: AddressRange, offset: number, sizeBytes: number): void {
    // A single view comes twice: what is sealed may be sealed again.
    for (const view of [rx, rw]) {
      if (this.#libc.mseal(view + offset, sizeBytes) === 0) continue;
      const asked = `seal ${sizeBytes} bytes at ${formatAddress(view + offset)}`;
      throw systemError(asked, "mseal", this.#libc.errno());
    }
  }

  adviseLargePages(
    { rx, rw }: AddressRange,
    offset: number,
    sizeBytes: number,
    kind: MemoryKind = "code",
  ): void {
    if (kind === "data") {
      adviseLargePages(this.#libc, rx + offset, sizeBytes);
      return;
    }
    const views = { rx: rx + offset, rw: rw + offset };
    attempt(() => {
      adviseLargePagesShared(this.#libc, views, sizeBytes, this.#libc.getpagesize(), ALIGNMENT);
    });
  }

  residentPages(
    { rx, rw }: AddressRange,
    offset: number,
    sizeBytes: number,
    kind: MemoryKind = "code",
  ): Uint8Array | undefined {
    const start = (kind === "data" ? rx : rw) + offset;
    const pages = new Uint8Array(Math.ceil(sizeBytes / this.#libc.getpagesize()));
    const isTold = attempt(() => this.#libc.mincore(start, sizeBytes, pages)) === 0;
    return isTold ? pages : undefined;
  }
}

/** What a machine without mseal lacks. */
export const SEALING_NEEDS =
  "sealing needs Linux 6.10, and a seccomp filter, if there is one, that passes mseal (system call 462)";

const OUT_OF_MAPPINGS =
  "the process is at its limit of mappings (vm.max_map_count), which a change of access in the middle of one needs";

/** The access of a stretch that can no longer be run. A single view stays writable until its pages are given back. */
function closedAccess({ rx, rw }: AddressRange): number {
  return rx === rw ? READ_WRITE : Protection.NONE;
}
