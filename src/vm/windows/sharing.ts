/** What Windows tells of threads, so that what one of them held when it died can be taken over. */
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
      // The number stays with a thread that has ended for as long as somebody has a handle of it.
      if (this.#kernel32.WaitForSingleObject(thread, 0) === WAIT_OBJECT_0) return "ended";
      // The system gives the numbers of the dead to the newborn: without its beginning it may be a later one.
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

  /** Windows gives sections without a file no name by which a view could be found: what the journal holds is all. */
  reclaim(_tagName: string, kept: readonly MappedRange[], journal?: MappingJournal): void {
    if (!(journal instanceof Journal)) return;
    const kernel32 = this.#kernel32;
    const addresses = new Set(kept.map(({ address }) => address));
    const isWhole = (address: Address, sizeBytes: number): boolean =>
      attempt(() => mappedSize(kernel32, address, "look what is mapped")) === sizeBytes;
    kernel32.noter.noting(journal, () => {
      for (const handle of journal.heldHandles()) kernel32.CloseHandle(handle);
      for (const { address, sizeBytes } of journal.heldRanges()) {
        // A view that was unmapped once already, when the other one was refused, is held again with that.
        if (addresses.has(address) || !isWhole(address, sizeBytes)) continue;
        // A view, or memory of its own: what it is not is refused, and changes nothing.
        if (kernel32.UnmapViewOfFile(address) === 0) kernel32.VirtualFree(address, 0, Memory.RELEASE);
      }
    });
  }

  prepare(): void {
    this.#kernel32.prepare();
  }

  /** What `ask` finds out of a thread; undefined where there is no such thread, or none that may be looked at. */
  #look<T>(id: number, ask: (thread: Handle) => T): T | undefined {
    const thread = this.#kernel32.OpenThread(ACCESS, 0, id);
    if (thread === 0) return undefined;
    try {
      return ask(thread);
    } finally {
      this.#kernel32.CloseHandle(thread);
    }
  }

  /** In units of 100 ns, which a double holds to some 2 µs; 0 where the system does not say. */
  #startTimeOf(thread: Handle): number {
    const creation = new BigUint64Array(1);
    const rest = new BigUint64Array(1);
    const isKnown = this.#kernel32.GetThreadTimes(thread, creation, rest, rest, rest) !== 0;
    return isKnown ? Number(creation[0]) : 0;
  }
}
