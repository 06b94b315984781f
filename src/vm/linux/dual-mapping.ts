/**
 * Two views of the same memory: one to read and execute, one to read and write.
 *
 * Linux makes them of a file that is mapped twice. Which kind of file it lets be executed depends on the kernel,
 * its settings and the mounts, so the kinds are tried in turn, the best first: that is the ladder.
 *
 * Both views lie side by side:
 *
 *     rx                      rw = rx + size
 *     ├── read and execute ───┼── read and write ────┤
 *
 * so that giving them back is one munmap, which does the whole or nothing. Mostly the system places them where they are
 * asked to be, which takes a quarter less time than the other way: there the range is reserved first, and a failure at any
 * point is undone by the same munmap.
 */
import { JitError } from "../../base/errors.ts";
import type { JitErrorCode } from "../../base/errors.ts";
import type { Address } from "../../ffi/contract.ts";
import type { DualMapping, MappingTag } from "../contract.ts";
import type { SystemFiles } from "./files.ts";
import { uniqueName } from "../../base/unique.ts";
import { Errno, codeOfErrno, errnoName, systemError } from "./errno.ts";
import { largePageBits } from "./large-pages.ts";
import { MAP_FAILED, MapFlag, Memfd, Open, Protection, Seal } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";
import { exceededFileLimit } from "./limits.ts";
import type { Placement } from "./placement.ts";
import { reserve } from "./reserve.ts";

/** `/proc/self/maps` then says `/memfd:jit-allocator (deleted)`: whoever looks knows whose memory it is. */
const FILE_NAME = "jit-allocator";

/** What the files of memory with that tag are called, or begin with. */
export function fileNameOf(tagName: string | undefined): string {
  return tagName === undefined ? FILE_NAME : `${FILE_NAME}-${tagName}`;
}

/** What stands for none; also what a call returns that failed. */
const NO_DESCRIPTOR = -1;

/** How one kind of file comes to be. */
export interface LadderStep {
  /** As `doctor` and the errors show it. */
  readonly name: string;
  /** Tried only if the step before it failed in `syscall` with one of these; else it would fail the same way. */
  readonly onlyAfter?: { readonly syscall: string; readonly errnos: readonly number[] };
  /** Returns a descriptor of a file of that name, that the name does not lead to any more. Throws a StepFailure. */
  open(fileName: string): number;
  /** True where the file's blocks are to be allocated now, because a write past the room left would be SIGBUS. */
  readonly allocate: boolean;
  /** True where the file can be sealed. */
  readonly sealable: boolean;
}

/** Why a step did not work; never leaves this folder. */
export class StepFailure extends JitError {
  declare readonly syscall: string;
  declare readonly errno: number;
  constructor(syscall: string, errno: number, remark = "") {
    const message = `${syscall}: ${errnoName(errno)} (${errno})${remark === "" ? "" : `, ${remark}`}`;
    super(codeOfErrno(errno), message, { syscall, errno });
  }
}

/** What to map. */
export interface DualMappingRequest {
  readonly sizeBytes: number;
  /** Address alignment of both views: a page, or a large page where those are wanted. */
  readonly alignment: number;
  /** Try hugetlb pages of this size first; 0 = do not. Divides `sizeBytes` and `alignment`. */
  readonly hugetlbPageSize: number;
  readonly preferTmp: boolean;
  readonly tag?: MappingTag | undefined;
}

/** The maker of dual mappings. It remembers which step of the ladder worked, and begins there the next time. */
export class DualMapper {
  readonly #libc: LinuxLibc;
  readonly #files: SystemFiles;
  readonly #placement: Placement;
  #lastWorking: LadderStep | undefined;
  /** The rungs that need nothing of the file system; and those that do, made when the others have failed. */
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
   * Maps.
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
   * By the step that worked before, where the views are asked to lie, without a range reserved for them. Returns the
   * address of rx; 0 where it cannot be done so: nothing is left behind then, and the long way tells why, should that fail
   * too.
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

  /** Takes the range for both views; it bears the tag already, where whoever maps may die right behind this. */
  #reserve({ sizeBytes, alignment, tag }: DualMappingRequest): Address {
    const libc = this.#libc;
    const asked = describe(sizeBytes);
    const guard =
      tag?.isGuarded === true ? libc.memfd_create(fileNameOf(tag.name), Memfd.CLOEXEC) : NO_DESCRIPTOR;
    try {
      return reserve(libc, 2 * sizeBytes, alignment, libc.getpagesize(), asked, this.#placement, guard);
    } finally {
      if (guard !== NO_DESCRIPTOR) libc.close(guard);
    }
  }

  /** Maps by one step alone and gives all back: what `doctor` does. Throws a StepFailure or JitError. */
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

  /** The step that maps a memfd of hugetlb pages. Not a rung of the ladder: it needs pages that are set aside. */
  hugetlbStep(largePageSize: number): LadderStep {
    const flags = Memfd.CLOEXEC | Memfd.ALLOW_SEALING | Memfd.HUGETLB | largePageBits(largePageSize);
    return memfdStep(this.#libc, "memfd_create (MFD_HUGETLB)", flags, { allocate: true });
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
    const failures: { step: LadderStep; failure: StepFailure }[] = [];
    for (const step of this.#order(preferTmp)) {
      const last = failures.at(-1)?.failure;
      if (step !== this.#lastWorking && !isWorthTrying(step, last)) continue;
      try {
        this.#fill(rx, sizeBytes, step, tag, true);
        if (!preferTmp) this.#lastWorking = step;
        return;
      } catch (error) {
        if (!(error instanceof StepFailure)) throw error;
        // No other kind of file needs less memory or fewer descriptors.
        if (isExhaustion(error.errno)) throw systemError(describe(sizeBytes), error.syscall, error.errno);
        failures.push({ step, failure: error });
      }
    }
    const last = failures.at(-1)?.failure;
    throw new JitError(
      last === undefined ? "ERR_FEATURE_NOT_ENABLED" : codeOfFailures(failures.map(({ failure }) => failure)),
      `Cannot ${describe(sizeBytes)}: every way was refused: ` +
        `${failures.map(({ step, failure }) => `${step.name} (${failure.message})`).join("; ")}; ` +
        "mount /dev/shm or TMPDIR without noexec, or set vm.memfd_noexec to 0 or 1",
      { syscall: last?.syscall, errno: last?.errno },
    );
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
   * Puts both views of a new file at `rx` and behind. Where the range is reserved, it may be partly filled after a failure: it
   * is still one range, which the next step maps over, or the caller gives back whole. Where it is not, nothing is left.
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
      if (step.allocate) {
        const errno = libc.posix_fallocate(descriptor, 0, sizeBytes);
        if (errno !== 0) throw new StepFailure("posix_fallocate", errno);
      } else if (libc.ftruncate(descriptor, sizeBytes) !== 0) {
        throw new StepFailure("ftruncate", libc.errno());
      }
      this.#mapView(rw, sizeBytes, Protection.READ | Protection.WRITE, descriptor, isReserved);
      try {
        // After the writable view and before the other: that one then can never be made writable.
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

  /**
   * Where no seal keeps the view from being made writable, the file is opened again for reading alone, and mapped by that: what
   * was not opened for writing never becomes writable (mprotect(2), EACCES). Where /proc is not mounted it cannot be opened.
   */
  #mapExecutable(rx: Address, sizeBytes: number, file: number, isSealed: boolean, isReserved: boolean): void {
    const libc = this.#libc;
    const again = isSealed ? NO_DESCRIPTOR : libc.open(`/proc/self/fd/${file}`, Open.CLOEXEC, 0);
    const descriptor = again === NO_DESCRIPTOR ? file : again;
    try {
      this.#mapView(rx, sizeBytes, Protection.READ | Protection.EXEC, descriptor, isReserved);
    } finally {
      if (again !== NO_DESCRIPTOR) libc.close(again);
    }
  }

  /** Where the range is not reserved the address is a hint: what somebody else has mapped there stays. */
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
    const isNoexec = (protection & Protection.EXEC) !== 0 && errno === Errno.EPERM;
    throw new StepFailure("mmap", errno, isNoexec ? "it is on a noexec mount" : "");
  }

  /**
   * No resizing (a write past the end of a file that shrank is SIGBUS), no new writable view, no unsealing.
   * The descriptor is closed a moment later and has no name, so this is the second lock on the door: a kernel
   * that cannot do it (FUTURE_WRITE came with Linux 5.1) is no reason to refuse memory. False is returned there.
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

/** What all steps agree on; where they do not, dual mapping is a feature that this machine does not have. */
function codeOfFailures(failures: readonly StepFailure[]): JitErrorCode {
  const codes = new Set(failures.map(({ code }) => code));
  const [only] = codes;
  return codes.size === 1 && only !== undefined && only !== "ERR_INVALID_ARGUMENT"
    ? only
    : "ERR_FEATURE_NOT_ENABLED";
}

function memoryRungs(libc: LinuxLibc): readonly LadderStep[] {
  const sealable = Memfd.CLOEXEC | Memfd.ALLOW_SEALING;
  return [
    memfdStep(libc, "memfd_create (MFD_EXEC)", sealable | Memfd.EXEC),
    memfdStep(libc, "memfd_create", sealable, {
      // EINVAL: the kernel is older than the flag. EACCES: vm.memfd_noexec = 2, under which a memfd without the
      // flag is still mapped executable.
      onlyAfter: { syscall: "memfd_create", errnos: [Errno.EINVAL, Errno.EACCES] },
    }),
    namedStep(libc, "shm_open", {
      path: (fileName) => `/${nameOfItsOwn(fileName)}`,
      create: (path) => libc.shm_open(path, Open.RDWR | Open.CREAT | Open.EXCL | Open.CLOEXEC, 0o600),
      unlink: (path) => libc.shm_unlink(path),
      createCall: "shm_open",
      unlinkCall: "shm_unlink",
    }),
  ];
}

function fileRungs(libc: LinuxLibc, temporaryDirectories: readonly string[]): readonly LadderStep[] {
  return temporaryDirectories.map((directory) =>
    namedStep(libc, `open (an unlinked file in ${directory})`, {
      path: (fileName) => `${directory.replace(/\/$/, "")}/${nameOfItsOwn(fileName)}`,
      create: (path) => libc.open(path, Open.RDWR | Open.CREAT | Open.EXCL | Open.CLOEXEC, 0o600),
      unlink: (path) => libc.unlink(path),
      createCall: "open",
      unlinkCall: "unlink",
    }),
  );
}

/** Other processes and threads make names too, and O_EXCL refuses one that exists. */
function nameOfItsOwn(fileName: string): string {
  return `${fileName}-${process.pid}-${uniqueName()}`;
}

function memfdStep(
  libc: LinuxLibc,
  name: string,
  flags: number,
  options: { allocate?: boolean; onlyAfter?: NonNullable<LadderStep["onlyAfter"]> } = {},
): LadderStep {
  return {
    name,
    ...(options.onlyAfter === undefined ? {} : { onlyAfter: options.onlyAfter }),
    allocate: options.allocate ?? false,
    sealable: true,
    open(fileName) {
      const descriptor = libc.memfd_create(fileName, flags);
      if (descriptor === -1) throw new StepFailure("memfd_create", libc.errno());
      return descriptor;
    },
  };
}

interface NamedFile {
  path(fileName: string): string;
  create(path: string): number;
  unlink(path: string): number;
  readonly createCall: string;
  readonly unlinkCall: string;
}

function namedStep(libc: LinuxLibc, name: string, file: NamedFile): LadderStep {
  return {
    name,
    allocate: true,
    sealable: false,
    open(fileName) {
      const path = file.path(fileName);
      const descriptor = file.create(path);
      if (descriptor === -1) throw new StepFailure(file.createCall, libc.errno());
      if (file.unlink(path) === 0) return descriptor;
      const errno = libc.errno();
      libc.close(descriptor);
      // A file must not be left behind. If the second try fails too, the message at least says where it is.
      const left = file.unlink(path) === 0 ? "" : `${path} is left behind`;
      throw new StepFailure(file.unlinkCall, errno, left);
    },
  };
}
