/**
 * Two views of the same memory: one to read and execute, one to read and write.
 *
 * On Linux both are mappings of one file. Which kinds of file may be executed depends on the kernel, its settings and the
 * mounts, so the kinds are tried in turn, the best first: that is the ladder.
 *
 * Both views lie side by side:
 *
 *     rx                      rw = rx + size
 *     ├── read and execute ───┼── read and write ────┤
 *
 * so that giving them back is one munmap, which does the whole or nothing. Mostly the system maps them at the address
 * that is hinted. That takes a quarter less time than the other way, which reserves the range first; a failure at any
 * point of that way is undone by the same munmap.
 */
import { JitError } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { DualMapping, MappingTag } from "../contract.ts";
import type { SystemFiles } from "./files.ts";
import { codeOfErrno, Errno, systemError } from "./errno.ts";
import {
  executableViewFailure,
  fileNameOf,
  fileRungs,
  hugetlbStep,
  memoryRungs,
  StepFailure,
  unlessInterrupted,
} from "./ladder.ts";
import type { LadderStep } from "./ladder.ts";
import { everyWayRefused } from "./refused.ts";
import type { Refusal } from "./refused.ts";
import { MAP_FAILED, MapFlag, Memfd, Open, Protection, READ_EXECUTE, READ_WRITE, Seal } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import { exceededFileLimit } from "./limits.ts";
import type { Placement } from "./placement.ts";
import { reserve } from "./reserve.ts";

/** Stands for no descriptor; also the result of a call that failed. */
const NO_DESCRIPTOR = -1;

/** What to map. */
export interface DualMappingRequest {
  readonly sizeBytes: number;
  /** Address alignment of both views: the page size, or the large page size where large pages are wanted. */
  readonly alignment: number;
  /** Try hugetlb pages of this size first; 0 = do not. Divides `sizeBytes` and `alignment`. */
  readonly hugetlbPageSize: number;
  readonly preferTmp: boolean;
  readonly tag?: MappingTag | undefined;
}

/** Makes dual mappings. It remembers which step of the ladder worked, and begins there the next time. */
export class DualMapper {
  readonly #libc: LinuxLibc;
  readonly #files: SystemFiles;
  readonly #placement: Placement;
  #lastWorking: LadderStep | undefined;
  /** The rungs that need no file system, and those that do. The second are made when the first have failed. */
  #memoryRungs: readonly LadderStep[] | undefined;
  #fileRungs: readonly LadderStep[] | undefined;

  constructor(libc: LinuxLibc, files: SystemFiles, placement: Placement) {
    this.#libc = libc;
    this.#files = files;
    this.#placement = placement;
  }

  /** All steps, the best first. */
  get ladder(): readonly LadderStep[] {
    return [...this.#rungsOfMemory(), ...this.#rungsOfFiles()];
  }

  #rungsOfMemory(): readonly LadderStep[] {
    return (this.#memoryRungs ??= memoryRungs(this.#libc));
  }

  #rungsOfFiles(): readonly LadderStep[] {
    return (this.#fileRungs ??= fileRungs(this.#libc, this.#files.temporaryDirectories()));
  }

  /**
   * Makes a dual mapping.
   * @throws JitError that lists what was tried; nothing is left behind then.
   */
  map(request: DualMappingRequest): DualMapping {
    const { sizeBytes } = request;
    this.#checkFileSizeLimit(sizeBytes);
    const placed = this.#mapAsBefore(request);
    if (placed !== 0) return { rx: placed, rw: placed + sizeBytes };
    const rx = this.#reserve(request);
    try {
      if (request.hugetlbPageSize === 0 || !this.#tryHugetlb(rx, request)) this.#climb(rx, request);
    } catch (error) {
      if (this.#libc.munmap(rx, 2 * sizeBytes) === 0) this.#placement.noteUnmapped(rx, 2 * sizeBytes);
      throw error;
    }
    return { rx, rw: rx + sizeBytes };
  }

  /**
   * Maps at the hinted address, by the step that worked before, without reserving a range. Returns the address of rx; 0 =
   * this way failed and left nothing behind. If the long way fails too, its error says why.
   */
  #mapAsBefore({ sizeBytes, alignment, hugetlbPageSize, preferTmp, tag }: DualMappingRequest): Address {
    const step = this.#lastWorking;
    if (step === undefined || preferTmp || hugetlbPageSize !== 0) return 0;
    const hint = this.#placement.hintAtHand(2 * sizeBytes);
    if (hint === 0 || hint % alignment !== 0) return 0;
    try {
      this.#fill(hint, sizeBytes, step, tag, false);
    } catch (error) {
      if (error instanceof StepFailure) return 0;
      throw error;
    }
    this.#placement.noteMapped(hint, hint);
    return hint;
  }

  /** Reserves the range for both views. A guarded range bears the tag at once, since the thread may die right after this. */
  #reserve({ sizeBytes, alignment, tag }: DualMappingRequest): Address {
    const libc = this.#libc;
    const asked = describe(sizeBytes);
    const guard = tag?.isGuarded === true ? this.#openGuard(fileNameOf(tag.name)) : NO_DESCRIPTOR;
    try {
      return reserve(libc, 2 * sizeBytes, alignment, libc.getpagesize(), asked, this.#placement, guard);
    } finally {
      if (guard !== NO_DESCRIPTOR) libc.close(guard);
    }
  }

  /** A file that only names a range, and is never executed. Linux before 6.3 has no flag for that. */
  #openGuard(name: string): number {
    const libc = this.#libc;
    const descriptor = libc.memfd_create(name, Memfd.CLOEXEC | Memfd.NOEXEC_SEAL);
    if (descriptor !== NO_DESCRIPTOR || libc.errno() !== Errno.EINVAL) return descriptor;
    return libc.memfd_create(name, Memfd.CLOEXEC);
  }

  /** Maps by one step alone and gives everything back, for `doctor`. Throws a StepFailure or JitError. */
  tryStep(step: LadderStep, sizeBytes: number): void {
    const libc = this.#libc;
    this.#checkFileSizeLimit(sizeBytes);
    const rx = reserve(libc, 2 * sizeBytes, libc.getpagesize(), libc.getpagesize(), describe(sizeBytes));
    try {
      this.#fill(rx, sizeBytes, step, undefined, true);
    } finally {
      libc.munmap(rx, 2 * sizeBytes);
    }
  }

  /**
   * The step that maps a memfd of hugetlb pages. It is not a rung of the ladder, because it needs pages that are set
   * aside.
   */
  hugetlbStep(largePageSize: number): LadderStep {
    return hugetlbStep(this.#libc, largePageSize);
  }

  #checkFileSizeLimit(sizeBytes: number): void {
    const limitBytes = exceededFileLimit(this.#libc, sizeBytes);
    if (limitBytes === undefined) return;
    throw new JitError(
      "ERR_OUT_OF_MEMORY",
      `Cannot ${describe(sizeBytes)}: files of this process may not grow past ${limitBytes} bytes (RLIMIT_FSIZE), ` +
        "and the memory is one; raise the limit (ulimit -f) or use smaller blocks",
      { syscall: "ftruncate", errno: Errno.EFBIG },
    );
  }

  #tryHugetlb(rx: Address, request: DualMappingRequest): boolean {
    try {
      this.#fill(rx, request.sizeBytes, this.hugetlbStep(request.hugetlbPageSize), request.tag, true);
      return true;
    } catch (error) {
      // Large pages are a hint. Most machines have none set aside.
      if (error instanceof StepFailure) return false;
      throw error;
    }
  }

  #climb(rx: Address, { sizeBytes, preferTmp, tag }: DualMappingRequest): void {
    const refusals: Refusal[] = [];
    for (const step of this.#order(preferTmp)) {
      const last = refusals.at(-1)?.failure;
      if (step !== this.#lastWorking && !isWorthTrying(step, last)) continue;
      try {
        this.#fill(rx, sizeBytes, step, tag, true);
        if (!preferTmp) this.#lastWorking = step;
        return;
      } catch (error) {
        if (!(error instanceof StepFailure)) throw error;
        // No other kind of file needs less memory or fewer descriptors.
        if (isExhaustion(error.errno)) throw systemError(describe(sizeBytes), error.syscall, error.errno);
        refusals.push({ step, failure: error });
      }
    }
    throw everyWayRefused(describe(sizeBytes), refusals);
  }

  /** The step that worked before comes first; if it fails now, the ladder is climbed from the bottom. */
  *#order(preferTmp: boolean): Generator<LadderStep> {
    if (preferTmp) {
      yield* this.#rungsOfFiles();
      yield* this.#rungsOfMemory();
      return;
    }
    const first = this.#lastWorking;
    if (first !== undefined) yield first;
    for (const step of this.#rungsOfMemory()) if (step !== first) yield step;
    // Only now is the file system asked for folders: a runtime may have to ask its user first.
    for (const step of this.#rungsOfFiles()) if (step !== first) yield step;
  }

  /**
   * Maps both views of a new file: one at `rx`, one right behind it. After a failure a reserved range may be partly
   * filled. It is still one range, which the next step maps over or the caller gives back whole. Without a reserved range
   * a failure leaves nothing.
   */
  #fill(
    rx: Address,
    sizeBytes: number,
    step: LadderStep,
    tag: MappingTag | undefined,
    isReserved: boolean,
  ): void {
    const libc = this.#libc;
    const rw = rx + sizeBytes;
    const descriptor = step.open(fileNameOf(tag?.name));
    try {
      this.#resize(descriptor, sizeBytes, step);
      this.#mapView(rw, sizeBytes, READ_WRITE, descriptor, isReserved);
      try {
        // Sealed after the writable view is mapped and before the executable one, which then can never be made writable.
        const isSealed = step.sealable && this.#seal(descriptor);
        this.#mapExecutable(rx, sizeBytes, descriptor, isSealed, isReserved);
      } catch (error) {
        if (!isReserved) libc.munmap(rw, sizeBytes);
        throw error;
      }
    } finally {
      // The views hold the file. Without a descriptor nobody can map it a third time.
      libc.close(descriptor);
    }
  }

  #resize(descriptor: number, sizeBytes: number, step: LadderStep): void {
    const libc = this.#libc;
    if (!step.allocate) {
      const errno = unlessInterrupted(() => (libc.ftruncate(descriptor, sizeBytes) === 0 ? 0 : libc.errno()));
      if (errno !== 0) throw new StepFailure("ftruncate", errno);
      return;
    }
    const errno = unlessInterrupted(() => libc.posix_fallocate(descriptor, 0, sizeBytes));
    if (errno === 0) return;
    // There is no room. Making some may be no use: a file on a noexec mount is never executed, so check that first.
    if (step.directory !== undefined && codeOfErrno(errno) === "ERR_OUT_OF_MEMORY") {
      this.#checkExecutable(descriptor);
    }
    throw new StepFailure("posix_fallocate", errno);
  }

  /**
   * Throws a StepFailure where the system does not let the file be executed. No byte of it is touched, so it may be
   * empty.
   */
  #checkExecutable(descriptor: number): void {
    const libc = this.#libc;
    const pageSize = libc.getpagesize();
    const mapped = libc.mmap(0, pageSize, READ_EXECUTE, MapFlag.SHARED, descriptor, 0);
    if (mapped === MAP_FAILED) throw executableViewFailure(libc.errno());
    libc.munmap(mapped, pageSize);
  }

  /**
   * Maps the executable view. Where no seal keeps it from being made writable, the file is opened again, for reading
   * alone, and that descriptor is mapped: such a mapping never becomes writable (mprotect(2), EACCES). Where /proc is not
   * mounted, the file cannot be opened again, and the descriptor at hand is used.
   */
  #mapExecutable(rx: Address, sizeBytes: number, file: number, isSealed: boolean, isReserved: boolean): void {
    const libc = this.#libc;
    const again = isSealed ? NO_DESCRIPTOR : libc.open(`/proc/self/fd/${file}`, Open.CLOEXEC, 0);
    const descriptor = again === NO_DESCRIPTOR ? file : again;
    try {
      this.#mapView(rx, sizeBytes, READ_EXECUTE, descriptor, isReserved);
    } finally {
      if (again !== NO_DESCRIPTOR) libc.close(again);
    }
  }

  /** Maps one view. Where the range is not reserved the address is a hint: a mapping of somebody else's there stays. */
  #mapView(
    address: Address,
    sizeBytes: number,
    protection: number,
    descriptor: number,
    isReserved: boolean,
  ): void {
    const libc = this.#libc;
    const flags = MapFlag.SHARED | (isReserved ? MapFlag.FIXED : 0);
    const mapped = libc.mmap(address, sizeBytes, protection, flags, descriptor, 0);
    if (mapped === address) return;
    if (mapped !== MAP_FAILED) {
      libc.munmap(mapped, sizeBytes);
      throw new StepFailure("mmap", Errno.EEXIST);
    }
    const errno = libc.errno();
    throw (protection & Protection.EXEC) !== 0
      ? executableViewFailure(errno)
      : new StepFailure("mmap", errno);
  }

  /**
   * Seals the file against resizing (a write past the end of a file that shrank is SIGBUS), new writable views, and
   * unsealing. The file has no name and its descriptor is closed a moment later, so this is only a second lock on the
   * door: a kernel that cannot do it (FUTURE_WRITE came with Linux 5.1) is no reason to refuse memory. Returns false
   * there.
   */
  #seal(descriptor: number): boolean {
    const resizing = Seal.SHRINK | Seal.GROW | Seal.SEAL;
    if (this.#libc.fcntl(descriptor, Seal.ADD_SEALS, resizing | Seal.FUTURE_WRITE) === 0) return true;
    this.#libc.fcntl(descriptor, Seal.ADD_SEALS, resizing);
    return false;
  }
}

function describe(sizeBytes: number): string {
  return `map ${sizeBytes} bytes twice, executable and writable`;
}

function isWorthTrying(step: LadderStep, last: StepFailure | undefined): boolean {
  const { onlyAfter } = step;
  if (onlyAfter === undefined) return true;
  return last?.syscall === onlyAfter.syscall && onlyAfter.errnos.includes(last.errno);
}

function isExhaustion(errno: number): boolean {
  return errno === Errno.ENOMEM || errno === Errno.EMFILE || errno === Errno.ENFILE;
}
