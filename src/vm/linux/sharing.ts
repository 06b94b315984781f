/** What Linux tells of threads and of mappings, so that a thread which died halfway can be cleared up after. */
import type { Address } from "../../ffi/contract.ts";
import type { MappedRange, SharingSupport, ThreadIdentity } from "../contract.ts";
import { fileNameOf } from "./dual-mapping.ts";
import { Errno } from "./errno.ts";
import type { SystemFiles } from "./files.ts";
import type { LinuxLibc } from "./libc.ts";

/** Where in /proc/…/stat, behind the name in parentheses, the state and the start time stand. */
const STATE_FIELD = 0;
const START_TIME_FIELD = 19;

/** Thread ids are below it on Linux (PID_MAX_LIMIT): from here on they are of threads that do not know their own. */
const UNKNOWN_IDS = 2 ** 22;
/** So many of those there are: an id is below 2**31. */
const UNKNOWN_ID_COUNT = 2 ** 30;

/** A mapping in /proc/self/maps: where it begins and ends, and what it is of. */
const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(.*)$/;

/** What the system appends to the path of a file that has no name any more. */
const DELETED = " (deleted)";

/** {@link SharingSupport} on Linux. */
export class LinuxSharing implements SharingSupport {
  readonly #libc: LinuxLibc;
  readonly #files: SystemFiles;
  /** This thread's id where neither /proc nor the C library tells (glibc before 2.30); no two threads have the same. */
  readonly #unknownId = UNKNOWN_IDS + Math.floor(Math.random() * UNKNOWN_ID_COUNT);

  constructor(libc: LinuxLibc, files: SystemFiles) {
    this.#libc = libc;
    this.#files = files;
  }

  currentThread(): ThreadIdentity {
    const stat = this.#files.read("/proc/thread-self/stat");
    const id = stat === undefined ? this.#libc.gettid() : Number.parseInt(stat, 10);
    return id > 0 ? { id, startTime: startTimeOf(stat) } : { id: this.#unknownId, startTime: 0 };
  }

  isAlive({ id, startTime }: ThreadIdentity): boolean | undefined {
    if (id >= UNKNOWN_IDS) return undefined;
    const stat = this.#readStat(id);
    if (stat !== undefined) {
      const state = fieldsOf(stat)[STATE_FIELD];
      if (state === "Z" || state === "X") return false;
      // The system gives the ids of the dead to the newborn.
      return startTime === 0 || startTimeOf(stat) === startTime;
    }
    // There is no such thread, or no /proc to look at, or no descriptor left to open a file with.
    if (this.#libc.tgkill(process.pid, id, 0) === 0) return true;
    const errno = this.#libc.errno();
    if (errno === Errno.ESRCH) return false;
    // A C library without the function (glibc before 2.30): where another file can be opened, this one is not there.
    const isMissing =
      errno === Errno.ENOSYS &&
      this.#files.read("/proc/thread-self/stat") !== undefined &&
      this.#readStat(id) === undefined;
    return isMissing ? false : undefined;
  }

  #readStat(id: number): string | undefined {
    return this.#files.read(`/proc/self/task/${id}/stat`);
  }

  prepare(): void {
    this.#libc.prepare();
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    this.#libc.memcpyIn(address, bytes, length);
  }

  copyOut(address: Address, copy: Uint8Array): void {
    this.#libc.memcpyOut(copy, address, copy.length);
  }

  reclaim(tagName: string, kept: readonly MappedRange[]): void {
    const name = fileNameOf(tagName);
    for (const { descriptor, path } of this.#files.openFiles()) {
      if (!isNamed(path, name)) continue;
      // A file on a mount of its own may not have been unlinked yet.
      if (path.startsWith("/") && !path.startsWith("/memfd:") && !path.endsWith(DELETED))
        this.#libc.unlink(path);
      this.#libc.close(descriptor);
    }
    for (const line of (this.#files.read("/proc/self/maps") ?? "").split("\n")) {
      const [, start, end, path] = MAP_LINE.exec(line) ?? [];
      if (start === undefined || end === undefined || !isNamed(path ?? "", name)) continue;
      for (const { address, sizeBytes } of without(
        Number.parseInt(start, 16),
        Number.parseInt(end, 16),
        kept,
      )) {
        this.#libc.munmap(address, sizeBytes);
      }
    }
  }
}

/** Whether a path names a file of that name, or one whose name goes on behind it (with a process id, say). */
function isNamed(path: string, name: string): boolean {
  const at = path.lastIndexOf(name);
  if (at === -1) return false;
  const next = path.charAt(at + name.length);
  return next === "" || next === "-" || next === " ";
}

/** What of a range lies in none of the others. */
function without(start: number, end: number, kept: readonly MappedRange[]): MappedRange[] {
  let rest = [{ address: start, sizeBytes: end - start }];
  for (const range of kept) {
    const rangeEnd = range.address + range.sizeBytes;
    rest = rest.flatMap(({ address, sizeBytes }) => {
      const below = Math.min(range.address, address + sizeBytes) - address;
      const above = address + sizeBytes - Math.max(rangeEnd, address);
      return [
        { address, sizeBytes: below },
        { address: address + sizeBytes - above, sizeBytes: above },
      ].filter((part) => part.sizeBytes > 0);
    });
  }
  return rest;
}

/** The fields behind the name, which may hold anything, parentheses included. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function startTimeOf(stat: string | undefined): number {
  return stat === undefined ? 0 : Number(fieldsOf(stat)[START_TIME_FIELD] ?? 0);
}
