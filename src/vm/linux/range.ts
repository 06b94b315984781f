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
 * Both descriptors are closed at once. None is kept: whoever has one, and finds it in /proc/self/fd, can open the file
 * again for writing. A thread that attaches needs none, since mappings belong to the process.
 */
import { JitError, formatAddress } from "../../base/errors.ts";
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
import { fileNameOf, StepFailure, unlessInterrupted } from "./ladder.ts";
import { adviseLargePages, adviseLargePagesShared } from "./large-pages.ts";
import { Advice, MAP_FAILED, MapFlag, Memfd, Open, Protection, Seal } from "./libc.ts";
import { exceededFileLimit } from "./limits.ts";
import type { NotedLibc } from "./noted-libc.ts";
import { placesNear, tooFar } from "./range-near.ts";

/** Stands for no descriptor; also the result of a call that failed. */
const NO_DESCRIPTOR = -1;

/**
 * Bytes: the alignment of a range, whatever is asked for later. A large page of x86-64, and of AArch64 with pages of 4 KiB;
 * where large pages are larger, a stretch has them only where it happens to be aligned.
 */
const ALIGNMENT = 2 * 1024 * 1024;

const READ_WRITE = Protection.READ | Protection.WRITE;
const READ_EXECUTE = Protection.READ | Protection.EXEC;

/** Addresses that were taken for both views. */
interface Reservation {
  readonly start: Address;
  readonly sizeBytes: number;
  /** Whether the file begins at the start; else its head was cut off with what came before. */
  readonly isWhole: boolean;
}

/** {@link RangeMemory} on Linux. */
export class LinuxRanges implements RangeMemory {
  readonly stepBytes = ALIGNMENT;
  readonly #libc: NotedLibc;
  readonly #files: SystemFiles;
  /** Where the last range begins: the next one is asked for right below. 0 = none was made yet. */
  #lastStart: Address = 0;
  readonly #kept = new KeptRanges();
  /** Whether a range of this thread could be executed and wiped: the system's policy then allows ranges. */
  #isProven = false;

  constructor(libc: NotedLibc, files: SystemFiles) {
    this.#libc = libc;
    this.#files = files;
  }

  reserve(request: RangeRequest): ReservedRange | RangeRefusal {
    const kept = this.#kept.take(request);
    if (kept !== undefined) return kept;
    return this.#libc.noter.noting(request.tag?.journal, () => {
      try {
        return this.#reserve(request);
      } catch (error) {
        if (!(error instanceof StepFailure)) throw error;
        if (isShortage(error.errno)) throw systemError(describe(request), error.syscall, error.errno);
        return { reason: error.message };
      }
    });
  }

  /** @throws StepFailure where the system refuses a step; JitError where there is no room or nothing is near enough */
  #reserve(request: RangeRequest): ReservedRange | RangeRefusal {
    const libc = this.#libc;
    // The name shows in /proc/self/maps which memory is writable and executable at once.
    const file = this.#openFile(fileNameOf(request.tag?.name) + (request.isDual ? "" : "-rwx"));
    try {
      const again = request.isDual ? libc.open(`/proc/self/fd/${file}`, Open.CLOEXEC, 0) : file;
      if (again === NO_DESCRIPTOR)
        throw new StepFailure(
          "open",
          libc.errno(),
          "/proc/self/fd is needed to open the file for reading alone",
        );
      try {
        return this.#mapWhole(request, file, again);
      } finally {
        if (again !== file) libc.close(again);
      }
    } finally {
      libc.close(file);
    }
  }

  /** Opens a memfd that may be executed; without the flag for that where the kernel, or a policy, refuses it (ladder.ts). */
  #openFile(name: string): number {
    const libc = this.#libc;
    const flags = Memfd.CLOEXEC | Memfd.ALLOW_SEALING;
    let file = libc.memfd_create(name, flags | Memfd.EXEC);
    const errno = file === NO_DESCRIPTOR ? libc.errno() : 0;
    if (errno === Errno.EINVAL || errno === Errno.EACCES) file = libc.memfd_create(name, flags);
    if (file === NO_DESCRIPTOR) throw new StepFailure("memfd_create", libc.errno());
    return file;
  }

  /** Maps the views, at half the size as often as there is no room. */
  #mapWhole(request: RangeRequest, file: number, again: number): ReservedRange | RangeRefusal {
    const libc = this.#libc;
    let shortage: StepFailure | undefined;
    let limit: string | undefined;
    for (let sizeBytes = request.sizeBytes; sizeBytes >= request.leastBytes; sizeBytes /= 2) {
      const limitBytes = exceededFileLimit(libc, sizeBytes);
      if (limitBytes !== undefined) {
        limit = `files of this process may not grow past ${limitBytes} bytes (RLIMIT_FSIZE, ulimit -f)`;
        continue;
      }
      const taken = this.#takeAddresses(request, sizeBytes, file);
      if (taken instanceof StepFailure) {
        if (!isShortage(taken.errno)) throw taken;
        shortage = taken;
        continue;
      }
      if (taken === undefined) continue;
      return { ...this.#fill(request, sizeBytes, taken, file, again), sealedBytes: 0 };
    }
    if (shortage !== undefined) throw outOfAddresses(request, shortage);
    // A limit of files says nothing about addresses, and smaller files may still do for blocks.
    if (limit !== undefined) return { reason: limit };
    throw tooFar(request, this.#files.read("/proc/self/maps"));
  }

  /**
   * Takes the addresses of both views, aligned. They bear the file's name from the first instant on, because the thread may
   * die at any. Returns why not; undefined where none are near enough.
   */
  #takeAddresses(
    request: RangeRequest,
    sizeBytes: number,
    file: number,
  ): Reservation | StepFailure | undefined {
    const totalBytes = request.isDual ? 2 * sizeBytes : sizeBytes;
    if (request.near === undefined) return this.#takeAnywhere(totalBytes, file);
    const maps = this.#files.read("/proc/self/maps");
    const rxOffset = totalBytes - sizeBytes;
    for (const rx of placesNear({ ...request, near: request.near }, sizeBytes, rxOffset, ALIGNMENT, maps)) {
      const start = rx - rxOffset;
      const taken = this.#take(start, totalBytes, file);
      if (taken instanceof StepFailure) return taken;
      if (taken === start) return { start, sizeBytes: totalBytes, isWhole: true };
      this.#libc.munmap(taken, totalBytes); // something is there already
    }
    return undefined;
  }

  #takeAnywhere(totalBytes: number, file: number): Reservation | StepFailure {
    const libc = this.#libc;
    if (this.#lastStart > totalBytes) {
      const start = this.#take(this.#lastStart - totalBytes, totalBytes, file);
      if (start instanceof StepFailure) return start;
      if (start % ALIGNMENT === 0) return this.#taken(start, totalBytes, true);
      libc.munmap(start, totalBytes);
    }
    // mmap aligns to pages alone: more is taken, and the ends are given back.
    const slackBytes = ALIGNMENT - libc.getpagesize();
    const whole = this.#take(0, totalBytes + slackBytes, file);
    if (whole instanceof StepFailure) return whole;
    const headBytes = (ALIGNMENT - (whole % ALIGNMENT)) % ALIGNMENT;
    const start = whole + headBytes;
    const tailBytes = slackBytes - headBytes;
    if (headBytes !== 0 && libc.munmap(whole, headBytes) !== 0)
      return this.#giveUp(whole, totalBytes + slackBytes);
    if (tailBytes !== 0 && libc.munmap(start + totalBytes, tailBytes) !== 0)
      return this.#giveUp(start, totalBytes + tailBytes);
    return this.#taken(start, totalBytes, headBytes === 0);
  }

  #giveUp(start: Address, sizeBytes: number): StepFailure {
    const failure = new StepFailure("munmap", this.#libc.errno());
    this.#libc.munmap(start, sizeBytes);
    return failure;
  }

  #taken(start: Address, sizeBytes: number, isWhole: boolean): Reservation {
    this.#lastStart = start;
    return { start, sizeBytes, isWhole };
  }

  #take(hint: Address, sizeBytes: number, file: number): Address | StepFailure {
    const flags = MapFlag.SHARED | MapFlag.NORESERVE;
    const start = this.#libc.mmap(hint, sizeBytes, Protection.NONE, flags, file, 0);
    return start === MAP_FAILED ? new StepFailure("mmap", this.#libc.errno()) : start;
  }

  /** What was taken is the writable view, if the file begins there; the executable one is mapped over the rest. */
  #fill(
    { isDual }: RangeRequest,
    sizeBytes: number,
    { start, sizeBytes: totalBytes, isWhole }: Reservation,
    file: number,
    again: number,
  ): AddressRange {
    const libc = this.#libc;
    const range: AddressRange = { rx: start + totalBytes - sizeBytes, rw: start, sizeBytes };
    try {
      const errno = unlessInterrupted(() => (libc.ftruncate(file, sizeBytes) === 0 ? 0 : libc.errno()));
      if (errno !== 0) throw new StepFailure("ftruncate", errno);
      // A second lock: the file has no name and no descriptor. A kernel that cannot do it is no reason to refuse memory.
      libc.fcntl(file, Seal.ADD_SEALS, Seal.SHRINK | Seal.GROW | Seal.SEAL);
      if (!isWhole) this.#mapOver(range.rw, sizeBytes, file);
      if (isDual) this.#mapOver(range.rx, sizeBytes, again);
      if (!this.#isProven) this.#prove(range);
      return range;
    } catch (error) {
      libc.munmap(start, totalBytes);
      throw error;
    }
  }

  #mapOver(address: Address, sizeBytes: number, file: number): void {
    const flags = MapFlag.SHARED | MapFlag.NORESERVE | MapFlag.FIXED;
    const mapped = this.#libc.mmap(address, sizeBytes, Protection.NONE, flags, file, 0);
    if (mapped === MAP_FAILED) throw new StepFailure("mmap", this.#libc.errno());
  }

  /** Tries on one page whether it can become executable later, and whether its memory can be given back. */
  #prove({ rx, rw }: AddressRange): void {
    const pageBytes = this.#libc.getpagesize();
    const steps = [
      ["mprotect", () => this.#libc.mprotect(rw, pageBytes, READ_WRITE)],
      [
        "mprotect",
        () => this.#libc.mprotect(rx, pageBytes, rx === rw ? READ_EXECUTE | READ_WRITE : READ_EXECUTE),
      ],
      ["madvise", () => this.#libc.madvise(rw, pageBytes, Advice.REMOVE)],
      ["mprotect", () => this.#libc.mprotect(rx, pageBytes, Protection.NONE)],
      ["mprotect", () => this.#libc.mprotect(rw, pageBytes, Protection.NONE)],
    ] as const;
    for (const [syscall, step] of steps) if (step() !== 0) throw new StepFailure(syscall, this.#libc.errno());
    this.#isProven = true;
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
    // The next range fits where this one was.
    if (rw === this.#lastStart) this.#lastStart = rw + totalBytes;
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

function describe({ sizeBytes }: RangeRequest): string {
  return `reserve a range of ${sizeBytes} bytes for code`;
}

/** Errors that pass, and that say nothing about the system's policy. */
function isShortage(errno: number): boolean {
  return errno === Errno.ENOMEM || errno === Errno.EAGAIN || errno === Errno.EMFILE || errno === Errno.ENFILE;
}

function outOfAddresses({ leastBytes, isDual }: RangeRequest, { syscall, errno }: StepFailure): JitError {
  const totalBytes = isDual ? 2 * leastBytes : leastBytes;
  return new JitError(
    "ERR_OUT_OF_MEMORY",
    `Cannot reserve a range for code, not even one of ${leastBytes} bytes: ${syscall} failed with ${errnoName(errno)} ` +
      `(${errno}); give the process ${totalBytes} bytes more of addresses (RLIMIT_AS, ulimit -v), or pass \`useRange: ` +
      "false` and blocks are mapped one by one",
    { syscall, errno },
  );
}
