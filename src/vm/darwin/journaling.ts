/**
 * The journal on macOS. JavaScript notes the result of a call, one step after it. A routine in memory is not used: macOS
 * lets written memory become executable only in some kinds of processes, and such a routine has never run on a Mac.
 */
import type { JournalStorage, MappedRange, MappingJournal, MappingJournals } from "../contract.ts";
import { Call, Journal } from "../journal.ts";
import { Noter } from "../noter.ts";
import { without } from "../ranges.ts";
import { MAP_FAILED } from "./libsystem.ts";
import type { LibSystem } from "./libsystem.ts";

/** The functions that are noted. `mach_vm_remap` is not: it maps within a range that `mmap` has mapped. */
const NOTED = {
  mmap: { call: Call.map, failure: MAP_FAILED, isWide: true },
  munmap: { call: Call.unmap, failure: -1, isWide: false },
};

/** A {@link LibSystem} that notes its calls while its noter has a journal. */
export interface NotedLibSystem extends LibSystem {
  readonly noter: Noter<keyof typeof NOTED>;
}

/** Wraps the functions of libSystem so that they are noted. */
export function notedLibSystem(libSystem: LibSystem): NotedLibSystem {
  const noter = new Noter(NOTED);
  return {
    noter,
    errno: () => libSystem.errno(),
    getpagesize: () => libSystem.getpagesize(),
    mmap: (address, sizeBytes, protection, flags, descriptor, offset) =>
      noter.plainly("mmap", 0, sizeBytes, () =>
        libSystem.mmap(address, sizeBytes, protection, flags, descriptor, offset),
      ),
    munmap: (address, sizeBytes) =>
      noter.plainly("munmap", address, sizeBytes, () => libSystem.munmap(address, sizeBytes)),
    mprotect: (address, sizeBytes, protection) => libSystem.mprotect(address, sizeBytes, protection),
    mach_task_self: () => libSystem.mach_task_self(),
    mach_vm_remap: (...args) => libSystem.mach_vm_remap(...args),
    mach_vm_protect: (task, address, sizeBytes, setMaximum, protection) =>
      libSystem.mach_vm_protect(task, address, sizeBytes, setMaximum, protection),
    sys_icache_invalidate: (address, sizeBytes) => libSystem.sys_icache_invalidate(address, sizeBytes),
    memcpyIn: (address, bytes, sizeBytes) => libSystem.memcpyIn(address, bytes, sizeBytes),
    memcpyOut: (bytes, address, sizeBytes) => libSystem.memcpyOut(bytes, address, sizeBytes),
  };
}

/** {@link MappingJournals} on macOS. */
export class DarwinJournals implements MappingJournals {
  readonly #libSystem: NotedLibSystem;

  constructor(libSystem: NotedLibSystem) {
    this.#libSystem = libSystem;
  }

  openJournal(storage: JournalStorage): Journal {
    return new Journal(storage);
  }

  reclaim(_tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void {
    if (!(journal instanceof Journal)) return;
    this.#libSystem.noter.noting(journal, () => {
      for (const { address, sizeBytes } of journal.heldRanges().flatMap((range) => without(range, kept)))
        this.#libSystem.munmap(address, sizeBytes);
    });
  }
}
