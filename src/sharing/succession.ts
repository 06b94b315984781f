/** Gives member numbers again when all were given: a thread that attaches takes the number of a thread that is over. */
import { Field, Members } from "./layout.ts";
import type { SharedLedgers } from "./ledgers.ts";
import type { MemberTable } from "./members.ts";
import type { SharedState } from "./shared-state.ts";

/**
 * The number of the estate, which owns the live allocations of threads whose numbers other threads have now. It is no
 * thread's number: it gives no generations, and in the lock it means nobody.
 */
export const ESTATE = 0;

/**
 * How often a thread tries to get a number. When a try fails another thread's has succeeded, and there are not more
 * numbers than this.
 */
const MOST_TRIES = Members.count;

/** The first member after number `start`, wrapping around, that is over and wanted; 0 = none. */
export function firstOver(
  members: MemberTable,
  start: number,
  isWanted: (number: number) => boolean,
): number {
  const count = members.count();
  for (let step = 0; step < count; step++) {
    const number = ((start + step) % count) + 1;
    if (isWanted(number) && members.isOver(number)) return number;
  }
  return 0;
}

/**
 * Makes sure that no live allocation stays under a number that a thread claims. Returns 0 where the number can be used:
 * it has no live allocations, or they went to the estate. They go there only if no member that is over has none; else the
 * number of such a member is returned, to be tried instead. The caller holds the lock.
 */
export function leaveToEstate(number: number, members: MemberTable, ledgers: SharedLedgers): number {
  const counts = ledgers.countByMember();
  if (!counts.has(number)) return 0;
  const better = firstOver(members, number, (each) => !counts.has(each));
  if (better === 0) ledgers.handOver(number, ESTATE);
  return better;
}

/**
 * Settles a thread under the number of one that is over, because all numbers are given. If that one has live allocations,
 * a number without any is better; if there is no such number, the allocations go to the estate.
 * @param holdsLock as in {@link succeed}
 * @param runAs takes the lock under a claimed number, calls a function, and lets go
 * @returns the number; 0 where no member is over
 */
export function joinInPlace(
  state: SharedState,
  members: MemberTable,
  ledgers: SharedLedgers,
  holdsLock: (number: number) => boolean,
  runAs: (number: number, act: () => number) => number,
): number {
  const start = state.words[Field.lastNumber] ?? 0;
  return succeed(members, start, holdsLock, (claimed) =>
    runAs(claimed, () => {
      const better = leaveToEstate(claimed, members, ledgers);
      if (better !== 0) return better;
      state.words[Field.lastNumber] = claimed;
      return 0;
    }),
  );
}

/**
 * Takes the number of a thread that is over. Needs no lock.
 * @param start the search begins after this number
 * @param holdsLock whether a member still holds the lock, or is its heir, mostly because it ended just then
 * @param settle called with the claimed number, under which the lock can be taken now; returns 0 where the thread keeps
 *   the number, or a number to try instead
 * @returns the number; 0 where no member is over
 */
export function succeed(
  members: MemberTable,
  start: number,
  holdsLock: (number: number) => boolean,
  settle: (number: number) => number,
): number {
  let wanted = 0;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const number = wanted || firstOver(members, start, (each) => !holdsLock(each));
    if (number === 0) return 0;
    wanted = 0;
    const before = members.claim(number);
    if (before === undefined) continue;
    let isSettled = false;
    try {
      wanted = settle(number);
      isSettled = wanted === 0;
    } finally {
      if (!isSettled) members.giveBack(number, before);
    }
    if (isSettled) return number;
  }
  return 0;
}
