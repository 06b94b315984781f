/** What Linux tells of threads and of mappings, so that a thread which died halfway can be cleared up after. */
import { attempt } from "../attempts.ts";
import type {
  JournalStorage,
  MappedRange,
  MappingJournal,
  SharingSupport,
  ThreadIdentity,
} from "../contract.ts";
import { Journal } from "../journal.ts";
import type { Noting } from "../noter.ts";
import { without } from "../ranges.ts";
import { fileNameOf } from "./ladder.ts";
import { Errno } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import type { LinuxLibc } from "./libc.ts";
import type { NotedLibc } from "./noted-libc.ts";
import type { ThreadMarks } from "./thread-mark.ts";

/** A mapping in /proc/self/maps: where it begins and ends, and what it is of. */
const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(.*)$/;

/** What the system appends to the path of a file that has no name any more. */
const DELETED = " (deleted)";

/** {@link SharingSupport} on Linux. */
export class LinuxSharing implements SharingSupport {
  readonly #libc: NotedLibc;
  readonly #files: SystemFiles;
  readonly #marks: ThreadMarks;
  readonly #noting: Noting<LinuxLibc>;

  constructor(libc: NotedLibc, files: SystemFiles, marks: ThreadMarks, noting: Noting<LinuxLibc>) {
    this.#libc = libc;
    this.#noting = noting;
    this.#files = files;
    this.#marks = marks;
  }

  currentThread(): ThreadIdentity | undefined {
    return this.#marks.current();
  }

  isAlive(thread: ThreadIdentity): boolean | undefined {
    if (thread.mark !== 0) return this.#marks.isAlive(thread);
    // One without a mark: whether there is a thread of that number at all. If there is, it may be a later one.
    const isThere = this.#libc.tgkill(process.pid, thread.id, 0) === 0;
    return !isThere && this.#libc.errno() === Errno.ESRCH ? false : undefined;
  }

  prepare(): void {
    this.#libc.prepare();
  }

  openJournal(storage: JournalStorage, isFirst: boolean): Journal {
    return this.#libc.noter.open(storage, isFirst, this.#noting, this.#libc);
  }

  reclaim(tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void {
    if (journal instanceof Journal) this.#giveBack(journal, kept);
    // What is not in there, since this system has no routine that notes results: it is found by its name, if at all.
    const name = fileNameOf(tagName);
    for (const { descriptor, path } of this.#files.openFiles()) {
      if (!isNamed(path, name)) continue;
      // A file on a mount of its own may not have been unlinked yet.
      if (path.startsWith("/") && !path.startsWith("/memfd:") && !path.endsWith(DELETED))
        attempt(() => this.#libc.unlink(path));
      attempt(() => this.#libc.close(descriptor));
    }
    for (const line of (this.#files.read("/proc/self/maps") ?? "").split("\n")) {
      const [, start, end, path] = MAP_LINE.exec(line) ?? [];
      if (start === undefined || end === undefined || !isNamed(path ?? "", name)) continue;
      const address = Number.parseInt(start, 16);
      for (const part of without({ address, sizeBytes: Number.parseInt(end, 16) - address }, kept)) {
        attempt(() => this.#libc.munmap(part.address, part.sizeBytes));
      }
    }
  }

  /** What the journal says is mapped and open, and who did that has died: nobody else can have given it back. */
  #giveBack(journal: Journal, kept: readonly MappedRange[]): void {
    this.#libc.noter.noting(journal, () => {
      for (const descriptor of journal.heldHandles()) this.#libc.close(descriptor);
      for (const { address, sizeBytes } of journal.heldRanges().flatMap((range) => without(range, kept)))
        this.#libc.munmap(address, sizeBytes);
    });
  }
}

/** Whether a path names a file of that name, or one whose name goes on behind it (with a process id, say). */
function isNamed(path: string, name: string): boolean {
  const at = path.lastIndexOf(name);
  if (at === -1) return false;
  const next = path.charAt(at + name.length);
  return next === "" || next === "-" || next === " ";
}
