/** Tells which threads share an allocator, and what each of them holds. */
import type { Observer } from "../engine/contract.ts";
import type { Address } from "../ffi/contract.ts";
import { refuseHeir, refuseValue } from "../engine/refusals.ts";
import type { SharedLedgers } from "./ledgers.ts";
import type { MemberTable } from "./members.ts";
import { ESTATE } from "./succession.ts";

/** A thread that shares, or shared, an allocator. */
export interface MemberInfo {
  /**
   * The thread's number (`JitAllocator.memberId` in that thread). 0 = the estate: all threads that are over and whose
   * numbers other threads have now.
   */
  id: number;
  /** False where the thread has ended; undefined where this system does not tell. */
  isAlive: boolean | undefined;
  /** Whether the thread has called `detach`. */
  hasLeft: boolean;
  /** The number of live allocations that the thread made or adopted, whoever uses them now. */
  allocationCount: number;
}

/** The members and their allocations, as one thread may query and change them. Every method but `has` takes the lock. */
export class Membership {
  /** The member number of this thread. */
  readonly memberId: number;
  readonly #members: MemberTable;
  readonly #ledgers: SharedLedgers;
  readonly #run: <T>(act: () => T) => T;
  /** Those who observe the allocator in this thread. */
  readonly observers: Observer[] = [];

  /** @param run calls a function while this thread holds the lock */
  constructor(memberId: number, members: MemberTable, ledgers: SharedLedgers, run: <T>(act: () => T) => T) {
    this.memberId = memberId;
    this.#members = members;
    this.#ledgers = ledgers;
    this.#run = run;
  }

  /** Every thread that shares, or shared, the allocator; the estate comes last, where there is one. */
  list(): MemberInfo[] {
    return this.#run(() => {
      const counts = this.#ledgers.countByMember();
      const infos: MemberInfo[] = Array.from({ length: this.#members.count() }, (_, index) => ({
        id: index + 1,
        isAlive: this.#members.isAlive(index + 1),
        hasLeft: this.#members.hasLeft(index + 1),
        allocationCount: counts.get(index + 1) ?? 0,
      }));
      const left = counts.get(ESTATE);
      if (left === undefined) return infos;
      return [...infos, { id: ESTATE, isAlive: false, hasLeft: true, allocationCount: left }];
    });
  }

  /** Whether `id` is the number that a thread has or had, or the estate's. */
  has(id: unknown): id is number {
    return typeof id === "number" && (id === ESTATE || this.#members.has(id));
  }

  /** The start addresses of a member's live allocations. */
  allocationsOf(member: number): Address[] {
    return this.#run(() => this.#ledgers.allocationsBy(member));
  }

  /** Releases all live allocations of a member that can be released. Returns how many there were. */
  releaseAllOf(member: number): number {
    const early = this.observers.filter((each) => each.ending !== undefined);
    const starts = early.length === 0 ? [] : this.allocationsOf(member);
    for (const observer of early) observer.ending?.(starts);
    let isDone = false;
    try {
      const released = this.#run(() => this.#ledgers.releaseAllBy(member));
      isDone = true;
      return released;
    } finally {
      for (const observer of this.observers) {
        if (!isDone) observer.failed?.(starts);
        observer.ended(undefined);
      }
    }
  }

  /** Makes this thread the owner of all live allocations of a member. Returns how many there were. */
  adopt(member: number): number {
    return this.#run(() => {
      // A number that is being claimed counts as its claimer's. Where the system does not tell whether a thread lives,
      // the caller must know.
      const isOver = member === ESTATE || this.#members.hasLeft(member);
      if (!isOver && this.#members.isAlive(member) === true) throw refuseHeir(member);
      return this.#ledgers.handOver(member, this.memberId);
    });
  }
}

/** The membership, if it has that number. @throws JitError `ERR_INVALID_ARGUMENT` otherwise; undefined = nothing is shared */
export function withMember(membership: Membership | undefined, memberId: unknown): Membership {
  if (membership?.has(memberId) === true) return membership;
  const wanted =
    membership === undefined ? "the allocator is not shared" : "no thread has, or had, that number";
  throw refuseValue("look up member", memberId, wanted);
}
