/** The lock and its members, each on a buffer of its own. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Field, Members } from "../../src/sharing/layout.ts";
import { Lock } from "../../src/sharing/lock.ts";
import { MemberTable } from "../../src/sharing/members.ts";
import { SharedState } from "../../src/sharing/shared-state.ts";
import type { ThreadIdentity } from "../../src/vm/contract.ts";

/** A member as the system sees it: which threads live is for the test to say. */
function member(
  state: SharedState,
  self: ThreadIdentity,
  alive: (thread: ThreadIdentity) => boolean | undefined,
): { lock: Lock; number: number; members: MemberTable } {
  const members = new MemberTable(state.atomics, { currentThread: () => self, isAlive: alive });
  const number = members.join();
  return { lock: new Lock(state.atomics, Field.lock, number, members), number, members };
}

const lockWord = (state: SharedState): number => Atomics.load(state.atomics, Field.lock);

describe("the lock", () => {
  test("names its holder, and is free again", () => {
    const state = SharedState.create(1);
    const { lock, number } = member(state, { id: 10, mark: 5 }, () => true);
    assert.equal(lock.acquire(), false);
    assert.equal(lockWord(state), number);
    lock.release();
    assert.equal(lockWord(state), 0);
  });

  test("is inherited from a thread that is gone", () => {
    const state = SharedState.create(1);
    const dead = member(state, { id: 10, mark: 5 }, () => true);
    const asked: ThreadIdentity[] = [];
    const heir = member(state, { id: 11, mark: 6 }, (thread) => {
      asked.push(thread);
      return false;
    });
    dead.lock.acquire();
    assert.equal(heir.lock.acquire(), true);
    // Once while it waited, and once more with the lock in hand.
    assert.deepEqual(asked, [
      { id: 10, mark: 5 },
      { id: 10, mark: 5 },
    ]);
    heir.lock.release();
    assert.equal(lockWord(state), 0);
    assert.equal(heir.lock.acquire(), false);
  });

  test("is waited for as long as its holder lives", () => {
    const state = SharedState.create(1);
    const holder = member(state, { id: 10, mark: 5 }, () => true);
    let looks = 0;
    const waiting = member(state, { id: 11, mark: 6 }, () => {
      looks += 1;
      // The third time that somebody looks, the holder lets go, still alive.
      if (looks === 3) holder.lock.release();
      return true;
    });
    holder.lock.acquire();
    assert.equal(waiting.lock.acquire(), false);
    assert.equal(looks, 3);
  });

  /** The heir's number in the lock's word. */
  const heirOf = (state: SharedState): number => (lockWord(state) >> 10) & 0x3ff;

  /** A member whose thread does `act` each time it has looked at the lock in vain. */
  function waitingMember(state: SharedState, id: number, act: () => void): ReturnType<typeof member> {
    const self = { id, mark: id };
    const members = new MemberTable(state.atomics, { currentThread: () => self, isAlive: () => true });
    const number = members.join();
    const inspector = {
      isThisThread: () => {
        act();
        return false;
      },
      isGone: () => false,
    };
    return { lock: new Lock(state.atomics, Field.lock, number, inspector), number, members };
  }

  test("goes to who has waited in vain, and not to who lets it go and takes it again", () => {
    const state = SharedState.create(1);
    const greedy = member(state, { id: 10, mark: 5 }, () => true);
    let barged = 0;
    const patient = waitingMember(state, 11, () => {
      const isHeir = heirOf(state) === patient.number;
      greedy.lock.release();
      if (isHeir) {
        assert.equal(lockWord(state), patient.number, "it is the holder before it has done anything");
        return;
      }
      barged += 1;
      assert.equal(greedy.lock.acquire(), false);
    });
    greedy.lock.acquire();
    assert.equal(patient.lock.acquire(), false);
    assert.ok(barged > 0, "others may take it as long as nobody has waited in vain");
    patient.lock.release();
    assert.equal(lockWord(state), 0);
  });

  test("a heir that dies is made the holder, and found dead", () => {
    const state = SharedState.create(1);
    const holder = member(state, { id: 10, mark: 5 }, () => true);
    holder.lock.acquire();
    const heir = waitingMember(state, 11, () => {
      if (heirOf(state) === heir.number) throw new Error("it dies");
    });
    assert.throws(() => heir.lock.acquire(), /it dies/);
    assert.ok(holder.lock.involves(heir.number), "nobody may take its number now");
    holder.lock.release();
    assert.equal(lockWord(state), heir.number);
    const next = member(state, { id: 12, mark: 7 }, ({ id }) => id !== 11);
    assert.equal(next.lock.acquire(), true);
    next.lock.release();
    assert.equal(lockWord(state), 0);
  });

  test("is inherited at once from this very thread, whose operation ended in the middle", () => {
    const state = SharedState.create(1);
    const self = { id: 10, mark: 5 };
    const torn = member(state, self, () => assert.fail("nobody has to be asked"));
    const other = member(state, self, () => assert.fail("nobody has to be asked"));
    torn.lock.acquire();
    assert.equal(torn.lock.acquire(), true);
    assert.equal(other.lock.acquire(), true);
    other.lock.release();
  });

  test("is inherited after ten seconds without a pause where the system does not tell", () => {
    const state = SharedState.create(1);
    const silent = member(state, { id: 10, mark: 0 }, () => undefined);
    const { number } = member(state, { id: 11, mark: 0 }, () => undefined);
    assert.equal(silent.members.isGone(number, 9_990), false);
    assert.equal(silent.members.isGone(number, 10_000), true);
  });

  test("is inherited at once where it names nobody: somebody has written over it", () => {
    for (const nobody of [7, Members.count, 0x3fff_ffff, -5]) {
      const state = SharedState.create(1);
      const { lock } = member(state, { id: 10, mark: 5 }, () => assert.fail("nobody is to be asked"));
      Atomics.store(state.atomics, Field.lock, nobody);
      assert.equal(lock.acquire(), true);
    }
  });
});

describe("the members", () => {
  test("have numbers from 1 on; a thread with the id of a dead one is not it", () => {
    const state = SharedState.create(1);
    const alive = (thread: ThreadIdentity): boolean => thread.mark === 9;
    const first = member(state, { id: 10, mark: 5 }, alive);
    const second = member(state, { id: 10, mark: 9 }, alive);
    assert.deepEqual([first.number, second.number, second.members.count()], [1, 2, 2]);
    assert.deepEqual(
      [0, 1, 2, 3, 1.5, -1, NaN, 2000].filter((number) => second.members.has(number)),
      [1, 2],
    );
    assert.equal(second.members.isAlive(1), false);
    assert.equal(second.members.isAlive(2), true);
    assert.ok(second.members.isOver(1) && !second.members.isOver(2));
    second.members.leave(2);
    assert.ok(second.members.hasLeft(2) && second.members.isOver(2));
  });

  test("a number is given again when all are, to one alone", () => {
    const state = SharedState.create(1);
    const members = new MemberTable(state.atomics, {
      currentThread: () => ({ id: 10, mark: 5 }),
      isAlive: () => false,
    });
    for (let number = 1; number < Members.count; number++) assert.equal(members.join(), number);
    assert.equal(members.join(), 0);
    const others = (id: number): MemberTable =>
      new MemberTable(state.atomics, {
        currentThread: () => ({ id, mark: 6 }),
        isAlive: (thread) => thread.id >= 20,
      });
    const next = others(20);
    assert.ok(next.isOver(3));
    const before = next.claim(3);
    assert.deepEqual(before, { id: 10, mark: 5 });
    assert.ok(next.isThisThread(3) && !others(21).isOver(3));
    assert.ok(before);
    next.giveBack(3, before);
    assert.ok(others(21).isOver(3));
  });

  /** Number 1 is of a thread that is dead. Tables of others, whose looks at who lives the test sees. */
  function oneDead(): {
    words: Int32Array;
    table: (self: ThreadIdentity, look?: (thread: ThreadIdentity) => boolean | undefined) => MemberTable;
  } {
    const state = SharedState.create(1);
    const table = (
      self: ThreadIdentity,
      look: (thread: ThreadIdentity) => boolean | undefined = ({ id }) => id >= 20,
    ): MemberTable => new MemberTable(state.atomics, { currentThread: () => self, isAlive: look });
    assert.equal(table({ id: 10, mark: 5 }).join(), 1);
    return { words: state.atomics, table };
  }

  const idOf = (words: Int32Array): number => words[Members.start + Members.integers + Members.id] ?? 0;

  test("a number that is claimed while another thread looks whether it is over is the faster one's", () => {
    const { words, table } = oneDead();
    const faster = table({ id: 30, mark: 7 });
    let looks = 0;
    const slower = table({ id: 31, mark: 8 }, ({ id }) => {
      if (++looks === 1) assert.deepEqual(faster.claim(1), { id: 10, mark: 5 });
      return id >= 20 || looks > 1;
    });
    assert.equal(slower.claim(1), undefined);
    assert.ok(faster.isThisThread(1) && !slower.isThisThread(1) && !slower.isOver(1));
    assert.equal(idOf(words), 30);
  });

  test("a number that is being claimed is over for nobody, unless who claims it dies", () => {
    const { words, table } = oneDead();
    const other = table({ id: 32, mark: 9 });
    other.leave(1);
    const heir = table({ id: 33, mark: 9 }, ({ id }) => id !== 30);
    let wasLooked = false;
    const claimer = table({ id: 30, mark: 7 }, () => {
      if (idOf(words) < 0) {
        wasLooked = true;
        assert.equal(idOf(words), -30);
        assert.ok(!other.isOver(1) && !other.hasLeft(1) && other.isAlive(1));
        assert.equal(other.claim(1), undefined);
        assert.ok(heir.isOver(1), "to one that sees it dead");
      }
      return false;
    });
    words[Members.start + Members.integers + Members.hasLeft] = 0; // so that the claimer has to look
    assert.ok(claimer.claim(1));
    assert.ok(wasLooked);
    words[Members.start + Members.integers + Members.id] = -30;
    assert.deepEqual(heir.claim(1), { id: 30, mark: 0 });
    assert.ok(heir.isThisThread(1));
  });

  test("a number is not taken from a thread that has come back to it under the same id", () => {
    const { words, table } = oneDead();
    const back = table({ id: 10, mark: 9 }, () => false);
    let looks = 0;
    const late = table({ id: 31, mark: 8 }, ({ mark }) => {
      if (++looks === 1) assert.ok(back.claim(1));
      return mark === 9 && looks > 1;
    });
    assert.equal(late.claim(1), undefined);
    assert.equal(idOf(words), 10);
    assert.ok(back.isThisThread(1));
  });

  test("a number that is given back is again that of the thread it was of", () => {
    const { words, table } = oneDead();
    const claimer = table({ id: 30, mark: 7 });
    const before = claimer.claim(1);
    assert.ok(before);
    claimer.giveBack(1, before);
    const next = table({ id: 31, mark: 8 });
    assert.ok(next.hasLeft(1) && next.isOver(1));
    assert.deepEqual([idOf(words), next.claim(1)], [10, before]);
  });

  test("a number that was given anew since its holder was seen to be gone keeps the lock", () => {
    const state = SharedState.create(1);
    const dead = member(state, { id: 10, mark: 5 }, () => false);
    const born = new MemberTable(state.atomics, {
      currentThread: () => ({ id: 30, mark: 9 }),
      isAlive: () => false,
    });
    let looks = 0;
    const heir = member(state, { id: 11, mark: 6 }, (thread) => {
      looks += 1;
      // Between this look and what follows from it, a living thread comes by the number and takes the lock.
      if (looks === 1) assert.ok(born.claim(dead.number));
      if (looks === 4) dead.lock.release();
      return thread.id === 30 && looks !== 1;
    });
    dead.lock.acquire();
    // The first look says gone, of the dead; the second, with the lock in hand, sees who lives.
    const wasGone = heir.lock.acquire();
    assert.equal(wasGone, false);
    assert.equal(looks, 4);
  });
});
