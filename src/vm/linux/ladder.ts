/** The ladder: the kinds of file that Linux may let be executed, the best first, and how each is made. */
import { JitError } from "../../base/errors.ts";
import { platform } from "../../base/platform.ts";
import { uniqueName } from "../../base/unique.ts";
import { codeOfErrno, Errno, errnoName } from "./errno.ts";
import { largePageBits } from "./large-pages.ts";
import { Memfd, Open } from "./libc.ts";
import type { LinuxLibc } from "./libc.ts";

/** `/proc/self/maps` shows it as `/memfd:jit-allocator (deleted)`, which tells whose memory it is. */
const FILE_NAME = "jit-allocator";

/** The file name of memory with that tag, or the start of the name. */
export function fileNameOf(tagName: string | undefined): string {
  return tagName === undefined ? FILE_NAME : `${FILE_NAME}-${tagName}`;
}

/** Where `shm_open` has its files. */
const SHARED_MEMORY_FOLDER = "/dev/shm";

/**
 * `open` of a folder with this flag makes a file in it that never has a name (Linux 3.11). The flag includes O_DIRECTORY,
 * which differs by processor.
 */
export const O_TMPFILE = platform.processor === "arm64" ? 0o20040000 : 0o20200000;

/** How one kind of file is made. */
export interface LadderStep {
  /** The name in `doctor` and in errors. */
  readonly name: string;
  /**
   * The step is tried only if the one before it failed in `syscall` with one of `errnos`; else it would fail the same
   * way.
   */
  readonly onlyAfter?: { readonly syscall: string; readonly errnos: readonly number[] };
  /** The folder of its files; undefined for memfds. */
  readonly directory?: string;
  /** Makes a file of that name and returns its descriptor; the name no longer leads to it. Throws a StepFailure. */
  open(fileName: string): number;
  /** True where the file's blocks are to be allocated at once, because a write for which there is no room is SIGBUS. */
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

/** Why an executable view was refused. */
export function executableViewFailure(errno: number): StepFailure {
  const remarks: ReadonlyMap<number, string> = new Map([
    [Errno.EPERM, "it is on a noexec mount"],
    [Errno.EACCES, "a security policy forbids it"],
  ]);
  return new StepFailure("mmap", errno, remarks.get(errno));
}

/** How often a call is made that signals interrupt. The bound matters in a process that gets signals without a pause. */
const MOST_TRIES = 10;

/** Makes a call whose result is 0 or an error number. */
export function unlessInterrupted(call: () => number): number {
  let errno = call();
  for (let tries = 1; errno === Errno.EINTR && tries < MOST_TRIES; tries++) errno = call();
  return errno;
}

/** Makes a call that opens a file. Returns a descriptor, or the error number below zero. */
function openUnlessInterrupted(libc: LinuxLibc, open: () => number): number {
  let descriptor = -1;
  const errno = unlessInterrupted(() => ((descriptor = open()) === -1 ? libc.errno() : 0));
  return errno === 0 ? descriptor : -errno;
}

/** A memfd of hugetlb pages. */
export function hugetlbStep(libc: LinuxLibc, largePageSize: number): LadderStep {
  const flags = Memfd.CLOEXEC | Memfd.ALLOW_SEALING | Memfd.HUGETLB | largePageBits(largePageSize);
  return memfdStep(libc, "memfd_create (MFD_HUGETLB)", flags, { allocate: true });
}

/** The rungs that need nothing of the file system, the best first. */
export function memoryRungs(libc: LinuxLibc): readonly LadderStep[] {
  const sealable = Memfd.CLOEXEC | Memfd.ALLOW_SEALING;
  return [
    memfdStep(libc, "memfd_create (MFD_EXEC)", sealable | Memfd.EXEC),
    memfdStep(libc, "memfd_create", sealable, {
      // EINVAL: the kernel is older than the flag. EACCES: vm.memfd_noexec = 2, under which a memfd without the
      // flag is still mapped executable.
      onlyAfter: { syscall: "memfd_create", errnos: [Errno.EINVAL, Errno.EACCES] },
    }),
    fileStep(libc, SHARED_MEMORY_FOLDER, {
      path: (fileName) => `/${nameOfItsOwn(fileName)}`,
      create: (path) => libc.shm_open(path, Open.RDWR | Open.CREAT | Open.EXCL | Open.CLOEXEC, 0o600),
      unlink: (path) => libc.shm_unlink(path),
      createCall: "shm_open",
      unlinkCall: "shm_unlink",
    }),
  ];
}

/** The rungs that need a folder which can be written to. */
export function fileRungs(libc: LinuxLibc, temporaryDirectories: readonly string[]): readonly LadderStep[] {
  return temporaryDirectories.map((directory) =>
    fileStep(libc, directory, {
      path: (fileName) => `${directory.replace(/\/$/, "")}/${nameOfItsOwn(fileName)}`,
      create: (path) => libc.open(path, Open.RDWR | Open.CREAT | Open.EXCL | Open.CLOEXEC, 0o600),
      unlink: (path) => libc.unlink(path),
      createCall: "open",
      unlinkCall: "unlink",
    }),
  );
}

/** A unique file name: other processes and threads make names too, and O_EXCL refuses one that exists. */
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

/** The errors by which `open` says that the file system or the kernel has no files without a name (man 2 open). */
const HAS_NO_TMPFILE: readonly number[] = [Errno.EOPNOTSUPP, Errno.EISDIR, Errno.ENOENT];

/** A file that never has a name, where the system has such files; else one that has a name for a moment. */
function fileStep(libc: LinuxLibc, directory: string, file: NamedFile): LadderStep {
  return {
    name: `an unlinked file in ${directory}`,
    directory,
    allocate: true,
    sealable: false,
    open(fileName) {
      const flags = Open.RDWR | Open.EXCL | Open.CLOEXEC | O_TMPFILE;
      const nameless = openUnlessInterrupted(libc, () => libc.open(directory, flags, 0o600));
      if (nameless >= 0) return nameless;
      if (!HAS_NO_TMPFILE.includes(-nameless)) throw new StepFailure("open", -nameless);
      return openNamed(libc, file, file.path(fileName));
    },
  };
}

/** Makes a file and unlinks it. A process that is killed between the two calls leaves an empty file. */
function openNamed(libc: LinuxLibc, file: NamedFile, path: string): number {
  const descriptor = openUnlessInterrupted(libc, () => file.create(path));
  if (descriptor < 0) throw new StepFailure(file.createCall, -descriptor);
  if (file.unlink(path) === 0) return descriptor;
  const errno = libc.errno();
  libc.close(descriptor);
  // A file must not be left behind, so it is tried again. If that fails too, the message at least says where the file is.
  const left = file.unlink(path) === 0 ? "" : `${path} is left behind`;
  throw new StepFailure(file.unlinkCall, errno, left);
}
