/** Makes the calls of a system, and notes each in a journal, before the call and after it. */
import type { Address } from "../ffi/contract.ts";
import type { JournalStorage, MappingJournal } from "./contract.ts";
import { refusedCall } from "../ffi/guard.ts";
import { insisting } from "./attempts.ts";
import { Call, Journal } from "./journal.ts";
import type { NotedFunction } from "./journal.ts";
import type { NotingRoutine } from "./routine.ts";

/** Makes and binds the routine that notes results, on a system whose functions are those of `System`. */
export interface Noting<System> {
  /** Puts the routine into memory, where it stays. Returns its address; 0 = the system or the processor has none. */
  make(system: System): Address;
  /** Binds the routine at `address`, in the calling thread. */
  bind(address: Address): NotingRoutine;
}

/** Makes one call through the routine; `target` is the address of the function. */
export type CallByRoutine = (routine: NotingRoutine, target: Address, result: Int32Array) => number;

/** The calls of one thread, and whether they are being noted. */
export class Noter<Name extends string> {
  readonly #functions: Readonly<Record<Name, NotedFunction>>;
  #journal: Journal | undefined;
  /** The address of the routine; 0 = none. */
  #address: Address = 0;
  #routine: NotingRoutine | undefined;
  #targets: ReadonlyMap<string, Address> = new Map();
  #wasNoted = false;

  constructor(functions: Readonly<Record<Name, NotedFunction>>) {
    this.#functions = functions;
  }

  /** The routine, if the last call was made through it; its error number is then asked of the routine. */
  get lastRoutine(): NotingRoutine | undefined {
    return this.#wasNoted ? this.#routine : undefined;
  }

  /** The journal whose calls are being noted. */
  get journal(): Journal | undefined {
    return this.#journal;
  }

  /**
   * Opens an allocator's journal. From then on the routine notes results, if there is one. A thread uses the routine of
   * the first journal it opens for all later ones.
   */
  open<System>(storage: JournalStorage, isFirst: boolean, noting: Noting<System>, system: System): Journal {
    const journal = new Journal(storage);
    if (this.#address === 0) {
      this.#address = isFirst ? noting.make(system) : journal.routine;
      if (this.#address !== 0) this.#noteBy(noting.bind(this.#address));
    }
    if (isFirst) journal.routine = this.#address;
    return journal;
  }

  #noteBy(routine: NotingRoutine): void {
    this.#routine = routine;
    this.#targets = new Map(Object.keys(this.#functions).map((name) => [name, routine.find(name)]));
  }

  /** Runs `act` and notes its calls, if there is a journal. */
  noting<T>(journal: MappingJournal | undefined, act: () => T): T {
    if (!(journal instanceof Journal)) return act();
    this.#journal = journal;
    try {
      return act();
    } finally {
      this.#journal = undefined;
    }
  }

  /**
   * Makes a call.
   * @param address what the call unmaps or closes
   * @param plainly makes the call without the routine: JavaScript then notes the result, one step later
   */
  call(
    name: Name,
    address: Address,
    sizeBytes: number,
    byRoutine: CallByRoutine,
    plainly: () => number,
  ): number {
    const journal = this.#journal;
    this.#wasNoted = false;
    if (journal === undefined) return plainly();
    const planned = this.#functions[name];
    const routine = this.#routine;
    const target = this.#targets.get(name) ?? 0;
    // A function that this system lacks has no address here; `plainly` then fails and makes nothing.
    if (routine === undefined || target === 0) return this.plainly(name, address, sizeBytes, plainly);
    const slot = journal.begin(planned, address, sizeBytes, true);
    this.#wasNoted = true;
    const make = (): number => {
      try {
        return byRoutine(routine, target, slot);
      } catch (error) {
        throw refusedCall(error);
      }
    };
    const isUndoing = planned.call === Call.unmap || planned.call === Call.close;
    const result = isUndoing ? insisting(make)() : make();
    return planned.isWide ? result : result | 0;
  }

  /** Makes a call without the routine; JavaScript notes the result. */
  plainly(name: Name, address: Address, sizeBytes: number, act: () => number): number {
    const journal = this.#journal;
    if (journal === undefined) return act();
    journal.begin(this.#functions[name], address, sizeBytes, false);
    const result = act();
    journal.end(result);
    return result;
  }

  /** Called before a call that is not noted. */
  skip(): void {
    this.#wasNoted = false;
  }
}
