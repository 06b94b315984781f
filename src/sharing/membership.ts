/** Which threads share an allocator, and what each of them holds. */
import type { Address } from "../ffi/contract.ts";
import { refuseHeir } from "../engine/refusals.ts";
import type { SharedLedgers } from "./ledgers.ts";
import type { MemberTable } from "./members.ts";
import { ESTATE } from "./succession.ts";

/** A thread that has, or had, a part in a shared allocator. */
export interface MemberInfo {
  /**
   * Its number: `JitAllocator.memberId` there. 0 stands for the estate: all the threads that are over and whose numbers
   * other threads have now.
   */
  id: number;
  /** False where its thread has ended; undefined where this system does not tell. */
  isAlive: boolean | undefined;
  /** Whether it has called `detach`. */
  hasLeft: boolean;
  /** What it allocated or adopted, whoever uses it now, and is not released. */
  allocationCount: number;
}

/** What one of the threads may ask of the others' holdings. But for `has`, each takes the lock. */
export class Membership {
  /** The number of this thread among those that share. */
  readonly memberId: number;
  readonly #members: MemberTable;
  readonly #ledgers: SharedLedgers;
  readonly #run: <T>(act: () => T) => T;

  /** @param run does something while this thread holds the lock */
  constructor(memberId: number, members: MemberTable, ledgers: SharedLedgers, run: <T>(act: () => T) => T) {
    this.memberId = memberId;
    this.#members = members;
    this.#ledgers = ledgers;
    this.#run = run;
  }

  /** Every thread that has, or had, a part in this; last, where there is one, the estate. */
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

  /** Whether a thread has, or had, that number, or it is that of the estate. */
  has(id: unknown): id is number {
    return typeof id === "number" && (id === ESTATE || this.#members.has(id));
  }

  /** Where what a member allocated and nobody released begins. */
  allocationsOf(member: number): Address[] {
    return this.#run(() => this.#ledgers.allocationsBy(member));
  }

  /** Releases all of it that can be. Returns how many there were. */
  releaseAllOf(member: number): number {
    return this.#run(() => this.#ledgers.releaseAllBy(member));
  }

  /** Makes all of it this thread's. Returns how many there were. */
  adopt(member: number): number {
    return this.#run(() => {
      // A number that is being claimed is the claimer's already; where the system does not tell, the caller knows.
      const isOver = member === ESTATE || this.#members.hasLeft(member);
      if (!isOver && this.#members.isAlive(member) === true) throw refuseHeir(member);
      return this.#ledgers.handOver(member, this.memberId);
    });
  }
}
