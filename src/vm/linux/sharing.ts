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

/** Thread ids are below 2**22 on Linux: such a one is nobody's. */
const UNKNOWN_THREAD = 2 ** 30;

/** A mapping in /proc/self/maps: where it begins and ends, and what it is of. */
const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(.*)$/;

/** What the system appends to the path of a file that has no name any more. */
const DELETED = " (deleted)";

/** {@link SharingSupport} on Linux. */
export class LinuxSharing implements SharingSupport {
  readonly #libc: LinuxLibc;
  readonly #files: SystemFiles;

  constructor(libc: LinuxLibc, files: SystemFiles) {
    this.#libc = libc;
    this.#files = files;
  }

  currentThread(): ThreadIdentity {
    const stat = this.#files.read("/proc/thread-self/stat");
    const id = stat === undefined ? this.#libc.gettid() : Number.parseInt(stat, 10);
    return id > 0 ? { id, startTime: startTimeOf(stat) } : { id: UNKNOWN_THREAD, startTime: 0 };
  }

  isAlive({ id, startTime }: ThreadIdentity): boolean | undefined {
    const stat = this.#files.read(`/proc/self/task/${id}/stat`);
    if (stat !== undefined) {
      const state = fieldsOf(stat)[STATE_FIELD];
      if (state === "Z" || state === "X") return false;
      // The system gives the ids of the dead to the newborn.
      return startTime === 0 || startTimeOf(stat) === startTime;
    }
    if (this.#files.read("/proc/thread-self/stat") !== undefined) return false;
    // No /proc to look at.
    if (id === UNKNOWN_THREAD) return undefined;
    if (this.#libc.tgkill(process.pid, id, 0) === 0) return true;
    return this.#libc.errno() === Errno.ESRCH ? false : undefined;
  }

  prepare(): void {
    this.#libc.prepare();
  }

  copyIn(address: Address, bytes: Uint8Array, length: number): void {
    this.#libc.memcpyIn(address, bytes, length);
  }

  copyOut(address: Address, length: number): Uint8Array {
    const copy = new Uint8Array(length);
    this.#libc.memcpyOut(copy, address, length);
    return copy;
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
