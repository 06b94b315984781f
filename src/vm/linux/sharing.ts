/** Finds out on Linux which threads live, and gives back what a thread that died was mapping or giving back. */
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
import type { StoreBarrier } from "./store-barrier.ts";
import type { ThreadMarks } from "./thread-mark.ts";

/** A mapping in /proc/self/maps: its start, its end, and the path of its file. */
const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(.*)$/;

/** The system appends this to the path of an unlinked file. */
const DELETED = " (deleted)";

/** {@link SharingSupport} on Linux. */
export class LinuxSharing implements SharingSupport {
  readonly #libc: NotedLibc;
  readonly #files: SystemFiles;
  readonly #marks: ThreadMarks;
  readonly #noting: Noting<LinuxLibc>;
  readonly #barrier: StoreBarrier | undefined;

  constructor(
    libc: NotedLibc,
    files: SystemFiles,
    marks: ThreadMarks,
    noting: Noting<LinuxLibc>,
    barrier?: StoreBarrier,
  ) {
    this.#barrier = barrier;
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
    // Without a mark only the number is known. If no thread has it, the thread is dead; if one has it, it may be a later
    // one.
    const isThere = this.#libc.tgkill(process.pid, thread.id, 0) === 0;
    return !isThere && this.#libc.errno() === Errno.ESRCH ? false : undefined;
  }

  orderStores(): boolean {
    return this.#barrier?.raise() ?? false;
  }

  prepare(): void {
    this.#libc.prepare();
    this.#barrier?.prepare();
  }

  openJournal(storage: JournalStorage, isFirst: boolean): Journal {
    return this.#libc.noter.open(storage, isFirst, this.#noting, this.#libc);
  }

  reclaim(tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void {
    if (journal instanceof Journal) this.#giveBack(journal, kept);
    // What the journal does not hold, because JavaScript could not note its result in time, is found by its name, if at
    // all.
    const name = fileNameOf(tagName);
    for (const { descriptor, path } of this.#files.openFiles()) {
      if (!isNamed(path, name)) continue;
      // A file of a file system (no memfd) may not have been unlinked yet.
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

  /**
   * Gives back what the journal says is mapped and open. The thread that mapped it has died, so nobody else can have
   * given it back.
   */
  #giveBack(journal: Journal, kept: readonly MappedRange[]): void {
    this.#libc.noter.noting(journal, () => {
      for (const descriptor of journal.heldHandles()) this.#libc.close(descriptor);
      for (const { address, sizeBytes } of journal.heldRanges().flatMap((range) => without(range, kept)))
        this.#libc.munmap(address, sizeBytes);
    });
  }
}

/** Whether a path has that name at its end, or followed by `-` (a process id, say) or a space. */
function isNamed(path: string, name: string): boolean {
  const at = path.lastIndexOf(name);
  if (at === -1) return false;
  const next = path.charAt(at + name.length);
  return next === "" || next === "-" || next === " ";
}
