/** What becomes of a number when all were given: a thread that is over is succeeded by one that attaches. */
import { Members } from "./layout.ts";
import type { SharedLedgers } from "./ledgers.ts";
import type { MemberTable } from "./members.ts";

/**
 * No thread's number: what is live of threads whose numbers are others' now is their estate. It gives no generations, and
 * stands in the lock for nobody.
 */
export const ESTATE = 0;

/**
 * So often a thread tries to get a number: each try that fails is another thread's that succeeds, and there are not more
 * numbers than this.
 */
const MOST_TRIES = Members.count;

/** The first member behind number `start`, and round, that is over and wanted; 0 where there is none. */
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
 * What is live of a number that a thread claims: nothing must be left under it. A number without is better, which is
 * returned; where there is none, what is live goes to the estate, and 0 is returned. The lock is needed.
 */
export function leaveToEstate(number: number, members: MemberTable, ledgers: SharedLedgers): number {
  const counts = ledgers.countByMember();
  if (!counts.has(number)) return 0;
  const better = firstOver(members, number, (each) => !counts.has(each));
  if (better === 0) ledgers.handOver(number, ESTATE);
  return better;
}

/**
 * Takes the number of a thread that is over. Needs no lock.
 * @param start the search begins behind this number
 * @param holdsLock whether a member has not let go of the lock: as a rule in the moment in which it ended
 * @param settle called with the number claimed, as which the lock can be taken now; returns 0 where the thread stays
 *   with it, or a number that is to be tried instead
 * @returns 0 where no member is over
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
