/** Finds out on Windows which threads live, and gives back what a thread that died was mapping or giving back. */
import type { Address } from "../../ffi/contract.ts";
import type {
  JournalStorage,
  MappedRange,
  MappingJournal,
  SharingSupport,
  ThreadIdentity,
} from "../contract.ts";
import { attempt } from "../attempts.ts";
import { Journal } from "../journal.ts";
import type { Noting } from "../noter.ts";
import { Memory, ThreadAccess, WAIT_OBJECT_0 } from "./kernel32.ts";
import type { Handle, Kernel32 } from "./kernel32.ts";
import { LastError } from "./last-error.ts";
import type { NotedKernel32 } from "./noted-kernel32.ts";
import { mappedSize } from "./regions.ts";

const ACCESS = ThreadAccess.SYNCHRONIZE + ThreadAccess.QUERY_LIMITED_INFORMATION;

/** {@link SharingSupport} on Windows. */
export class WindowsSharing implements SharingSupport {
  readonly #kernel32: NotedKernel32;
  readonly #noting: Noting<Kernel32>;

  constructor(kernel32: NotedKernel32, noting: Noting<Kernel32>) {
    this.#kernel32 = kernel32;
    this.#noting = noting;
  }

  currentThread(): ThreadIdentity {
    const id = this.#kernel32.GetCurrentThreadId();
    return { id, mark: this.#look(id, (thread) => this.#startTimeOf(thread)) ?? 0 };
  }

  isAlive({ id, mark }: ThreadIdentity): boolean | undefined {
    const state = this.#look(id, (thread) => {
      // A thread that has ended keeps its number as long as somebody has a handle of it.
      if (this.#kernel32.WaitForSingleObject(thread, 0) === WAIT_OBJECT_0) return "ended";
      // The system reuses the numbers of ended threads: without its start time this may be a later thread.
      if (mark === 0) return "unknown";
      const began = this.#startTimeOf(thread);
      return began === 0 || began === mark ? "runs" : "ended";
    });
    if (state !== undefined) return state === "unknown" ? undefined : state === "runs";
    return this.#kernel32.GetLastError() === LastError.ERROR_INVALID_PARAMETER ? false : undefined;
  }

  openJournal(storage: JournalStorage, isFirst: boolean): Journal {
    return this.#kernel32.noter.open(storage, isFirst, this.#noting, this.#kernel32);
  }

  /** Gives back what the journal holds and no more: views of a section without a file have no name to find them by. */
  reclaim(_tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void {
    if (!(journal instanceof Journal)) return;
    const kernel32 = this.#kernel32;
    const addresses = new Set(kept.map(({ address }) => address));
    const isWhole = (address: Address, sizeBytes: number): boolean =>
      attempt(() => mappedSize(kernel32, address, "look what is mapped")) === sizeBytes;
    kernel32.noter.noting(journal, () => {
      for (const handle of journal.heldHandles()) kernel32.CloseHandle(handle);
      for (const { address, sizeBytes } of journal.heldRanges()) {
        // A view may be held that is unmapped already: it went when the other view's unmapping was refused, and the next
        // try took both again.
        if (addresses.has(address) || !isWhole(address, sizeBytes)) continue;
        // The range is a view or memory of VirtualAlloc. The call for the other kind is refused and changes nothing.
        if (kernel32.UnmapViewOfFile(address) === 0) kernel32.VirtualFree(address, 0, Memory.RELEASE);
      }
    });
  }

  prepare(): void {
    this.#kernel32.prepare();
  }

  /** What `ask` finds out about a thread; undefined where there is no such thread, or this process may not look at it. */
  #look<T>(id: number, ask: (thread: Handle) => T): T | undefined {
    const thread = this.#kernel32.OpenThread(ACCESS, 0, id);
    if (thread === 0) return undefined;
    try {
      return ask(thread);
    } finally {
      this.#kernel32.CloseHandle(thread);
    }
  }

  /** The start time of a thread in units of 100 ns, which a double holds to some 2 µs; 0 where the system does not say. */
  #startTimeOf(thread: Handle): number {
    const creation = new BigUint64Array(1);
    const rest = new BigUint64Array(1);
    const isKnown = this.#kernel32.GetThreadTimes(thread, creation, rest, rest, rest) !== 0;
    return isKnown ? Number(creation[0]) : 0;
  }
}
