/**
 * Reserving a range on Linux: a sparse memfd, mapped twice and whole, with no access yet (range.ts has the picture). Both
 * descriptors are closed at once. None is kept: whoever has one, and finds it in /proc/self/fd, can open the file
 * again for writing. A thread that attaches needs none, since mappings belong to the process.
 */
import { JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { AddressRange, RangeRefusal, RangeRequest, ReservedRange } from "../range/contract.ts";
import { Errno, errnoName, systemError } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import { fileNameOf, StepFailure, unlessInterrupted } from "./ladder.ts";
import {
  Advice,
  MAP_FAILED,
  MapFlag,
  Memfd,
  Open,
  Protection,
  READ_EXECUTE,
  READ_WRITE,
  Seal,
} from "./libc.ts";
import { exceededFileLimit } from "./limits.ts";
import type { NotedLibc } from "./noted-libc.ts";
import { placesNear, tooFar } from "./range-near.ts";

/** Stands for no descriptor; also the result of a call that failed. */
const NO_DESCRIPTOR = -1;

/**
 * Bytes: the alignment of a range, whatever is asked for later. A large page of x86-64, and of AArch64 with pages of 4 KiB;
 * where large pages are larger, a stretch has them only where it happens to be aligned.
 */
export const ALIGNMENT = 2 * 1024 * 1024;

/** Addresses that were taken for both views. */
interface Reservation {
  readonly start: Address;
  readonly sizeBytes: number;
  /** Whether the file begins at the start; else its head was cut off with what came before. */
  readonly isWhole: boolean;
}

/** Reserves the ranges of one thread. */
export class RangeReservation {
  readonly #libc: NotedLibc;
  readonly #files: SystemFiles;
  /** Where the last range begins: the next one is asked for right below. 0 = none was made yet. */
  #lastStart: Address = 0;
  /** Whether a range of this thread could be executed and wiped: the system's policy then allows ranges. */
  #isProven = false;

  constructor(libc: NotedLibc, files: SystemFiles) {
    this.#libc = libc;
    this.#files = files;
  }

  /** Does what `RangeMemory.reserve` does. */
  reserve(request: RangeRequest): ReservedRange | RangeRefusal {
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

  /** Notes that a range was unmapped: the next one fits where it was. */
  released(start: Address, totalBytes: number): void {
    if (start === this.#lastStart) this.#lastStart = start + totalBytes;
  }
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
