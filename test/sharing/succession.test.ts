/** What becomes of the numbers, the generations and the allocations of threads that are over. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, JitError, type JitAllocatorOptions, type SharedAllocator } from "../../src/index.ts";
import { SharedLedgers } from "../../src/sharing/ledgers.ts";
import { batchOf } from "../../src/sharing/batches.ts";
import { Batches, Field, Members } from "../../src/sharing/layout.ts";
import { ESTATE } from "../../src/sharing/succession.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError, wrong } from "../support/expectations.ts";
import { Fate, memoryOf } from "../support/mortal-thread.ts";
import { attachOn } from "../support/attach.ts";

/** The most threads at once, and how many more there are beside the one that made the allocator. */
const MOST = Members.count - 1;

/** A process in which the test says which threads live. */
interface Process {
  readonly simulated: SimulatedMemory;
  readonly allocator: JitAllocator;
  readonly words: Int32Array;
  /** Attaches in a new thread. */
  readonly attach: () => JitAllocator;
  /** Ends the thread that attached last under that number, without a word. */
  readonly kill: (member: JitAllocator) => void;
  /** Whether the system tells which threads live. */
  tells: boolean;
  /** So many times it does not copy to shared memory, for that reason. */
  refusedCopies: number;
  refusal: Error;
}

function startProcess(options: JitAllocatorOptions = {}): Process {
  const simulated = new SimulatedMemory();
  const machine = memoryOf(simulated, new Fate(() => assert.fail("nobody dies")));
  const { sharing } = machine;
  assert.ok(sharing);
  const dead = new Set<number>();
  const idOf = new Map<JitAllocator, number>();
  let threads = 0;
  const memoryOfThread = (id: number): VirtualMemory => ({
    ...machine,
    sharing: {
      ...sharing,
      currentThread: () => ({ mark: 0, ...sharing.currentThread(), id }),
      isAlive: (thread) => (self.tells ? !dead.has(thread.id) : undefined),
    },
    copyIn: (address, bytes, length) => {
      if (self.refusedCopies-- > 0) throw self.refusal;
      machine.copyIn(address, bytes, length);
    },
  });
  const allocator = new JitAllocator(options, memoryOfThread(++threads));
  const handle: SharedAllocator = allocator.share();
  const self: Process = {
    simulated,
    allocator,
    words: new Int32Array(handle.state, 0, handle.state.byteLength >> 2),
    attach: () => {
      const member = attachOn(handle, memoryOfThread(++threads));
      idOf.set(member, threads);
      return member;
    },
    kill: (member) => dead.add(idOf.get(member) ?? assert.fail("no such thread")),
    tells: true,
    refusedCopies: 0,
    refusal: new JitError("ERR_PERMISSION", "Cannot fill: the system forbids it"),
  };
  return self;
}

/** How often all ledgers are walked meanwhile. */
function walksOf(act: () => void): number {
  const own = Object.getOwnPropertyDescriptor(SharedLedgers.prototype, "countByMember");
  assert.ok(own);
  let walks = 0;
  const count = function (this: SharedLedgers): ReadonlyMap<number, number> {
    walks += 1;
    return (own.value as () => ReadonlyMap<number, number>).call(this);
  };
  Object.defineProperty(SharedLedgers.prototype, "countByMember", { ...own, value: count });
  try {
    act();
  } finally {
    Object.defineProperty(SharedLedgers.prototype, "countByMember", own);
  }
  return walks;
}

describe("when the batches of generations were all given once", () => {
  for (const ends of ["lives", "has detached", "has died"] as const) {
    test(`a thread that ${ends} with nothing live keeps its batch for itself`, () => {
      const { allocator, words, attach, kill } = startProcess();
      const idle = attach();
      const token = idle.alloc(64).token;
      idle.release(token.rx);
      if (ends === "has detached") idle.detach();
      if (ends === "has died") kill(idle);
      const busy = attach();
      for (let round = 0; round < 3; round++) {
        words[Field.nextBatch] = Batches.count; // the first one is next
        for (let count = 0; count < 2 ** Batches.shift; count++) {
          const other = busy.alloc(64);
          assert.notEqual(batchOf(other.token.generation), batchOf(token.generation));
          other.release();
        }
      }
      const theirs = busy.alloc(64);
      if (ends === "lives") {
        const mine = idle.alloc(64);
        assert.equal(batchOf(mine.token.generation), batchOf(token.generation));
        assert.deepEqual(allocator.allocationsOf(idle.memberId), [mine.rx]);
        assert.equal(allocator.releaseAllOf(busy.memberId), 1);
        assert.ok(!mine.isReleased);
      }
      throwsJitError("ERR_RELEASED", () => allocator.spanOf(token));
      assert.deepEqual(allocator.allocationsOf(busy.memberId), ends === "lives" ? [] : [theirs.rx]);
      allocator.verify();
      allocator.dispose();
    });
  }
});

describe("a thread that takes the number of one that is over", () => {
  for (const dies of [false, true]) {
    test(`goes on with its batch, where that one ${dies ? "died" : "detached"}, and gives no generation twice`, () => {
      const { allocator, words, attach, kill } = startProcess();
      const given = new Set<number>();
      let threads = 0;
      const attachAndEnd = (): void => {
        const member = attach();
        const { token } = member.alloc(64);
        assert.ok(!given.has(token.generation));
        given.add(token.generation);
        member.release(token.rx);
        if (dies) kill(member);
        else member.detach();
        threads += 1;
      };
      for (let count = 1; count < MOST; count++) attachAndEnd();
      const before = words[Field.nextBatch] ?? 0;
      for (let count = 0; count < 2500; count++) attachAndEnd();
      assert.equal(given.size, threads);
      assert.equal(words[Field.nextBatch], before, "none of them took a new batch");
      allocator.verify();
      allocator.dispose();
    });
  }

  test("takes the one that was free longest, so that a number means the same thread as long as can be", () => {
    const { allocator, attach } = startProcess();
    for (let count = 1; count < MOST; count++) attach().detach();
    const numbers = Array.from({ length: 5 }, () => {
      const member = attach();
      member.detach();
      return member.memberId;
    });
    assert.deepEqual(numbers, [2, 3, 4, 5, 6]);
    allocator.dispose();
  });

  test("takes one of which nothing is live, if there is one, and looks once or twice", () => {
    const { allocator, attach } = startProcess();
    const members = Array.from({ length: MOST - 1 }, attach);
    for (const [index, member] of members.entries()) {
      if (index !== 700) member.alloc(64);
      member.detach();
    }
    const walks = walksOf(() => assert.equal(attach().memberId, members[700]?.memberId));
    assert.equal(walks, 2);
    assert.equal(allocator.members().at(-1)?.id, MOST, "there is no estate");
    allocator.verify();
    allocator.dispose();
  });

  test("leaves to the estate what is live, and owns what it allocates itself", () => {
    const { allocator, attach } = startProcess();
    const members = Array.from({ length: MOST - 1 }, attach);
    const left = members.map((member) => {
      const { rx } = member.alloc(64);
      member.detach();
      return rx;
    });
    const heir = attach();
    assert.equal(heir.memberId, 2);
    assert.deepEqual(heir.allocationsOf(2), []);
    const own = [heir.allocAddress(64), heir.allocAddress(64)];
    assert.deepEqual(allocator.allocationsOf(2), own);
    assert.deepEqual(allocator.allocationsOf(ESTATE), left.slice(0, 1));
    assert.deepEqual(allocator.members().at(-1), {
      id: ESTATE,
      isAlive: false,
      hasLeft: true,
      allocationCount: 1,
    });
    allocator.verify();
    allocator.dispose();
  });

  test("is refused at once where all live, and nothing is counted", () => {
    const { allocator, attach } = startProcess();
    const members = Array.from({ length: MOST - 1 }, attach);
    assert.equal(
      walksOf(() =>
        assert.match(throwsJitError("ERR_OUT_OF_MEMORY", attach).message, /1,023 threads .* detach/),
      ),
      0,
    );
    members[41]?.detach();
    assert.equal(attach().memberId, members[41]?.memberId);
    throwsJitError("ERR_OUT_OF_MEMORY", attach);
    allocator.dispose();
  });
});

test("threads that come and go, each of which leaves something, do not end attaching", () => {
  const { allocator, words, attach, kill } = startProcess();
  const left: number[] = [];
  for (let count = 0; count < 3 * MOST; count++) {
    const member = attach();
    left.push(member.allocAddress(64));
    if (count % 2 === 0) member.detach();
    else kill(member);
    assert.ok((words[Field.nextBatch] ?? 0) <= count + 2);
  }
  const counts = allocator.members().map(({ allocationCount }) => allocationCount);
  assert.equal(counts.at(-1), left.length - (MOST - 1));
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    left.length,
  );
  const owned = allocator.members().flatMap(({ id }) => allocator.allocationsOf(id));
  assert.deepEqual(owned.sort(byNumber), left.sort(byNumber));
  assert.equal(allocator.adopt(ESTATE), left.length - (MOST - 1));
  assert.equal(allocator.members().length, MOST, "the estate is settled");
  assert.deepEqual([allocator.adopt(ESTATE), allocator.releaseAllOf(ESTATE)], [0, 0]);
  for (const { id, allocationCount } of allocator.members()) {
    assert.equal(allocator.releaseAllOf(id), allocationCount);
  }
  assert.equal(allocator.statistics().allocationCount, 0);
  allocator.verify();
  allocator.dispose();
});

describe("adopting", () => {
  test("makes what a thread left the caller's, and touches nothing else", () => {
    const { allocator, attach, kill } = startProcess();
    const own = allocator.alloc(64);
    const [first, second, third] = [attach(), attach(), attach()];
    const theirs = [first, second].flatMap((member) =>
      [member.alloc(64), member.alloc(5000)].map(({ token }) => token),
    );
    const thirds = third.allocAddress(64);
    first.detach();
    kill(second);
    assert.equal(allocator.adopt(first.memberId), 2);
    assert.equal(third.adopt(second.memberId), 2);
    assert.equal(allocator.adopt(first.memberId), 0);
    assert.deepEqual(
      allocator.members().map(({ allocationCount }) => allocationCount),
      [3, 0, 0, 3],
    );
    for (const token of theirs)
      assert.equal(allocator.spanOf(token).rx, token.rx, "its token is as good as before");
    assert.deepEqual(
      allocator.allocationsOf(third.memberId).sort(byNumber),
      [thirds, ...theirs.slice(2).map(({ rx }) => rx)].sort(byNumber),
    );
    allocator.verify();
    assert.equal(allocator.releaseAllOf(1), 3);
    assert.ok(own.isReleased);
    allocator.verify();
    allocator.dispose();
  });

  test("is refused of a thread that still has its part, of the caller's own, and of none", () => {
    const { allocator, attach } = startProcess();
    throwsJitError("ERR_INVALID_ARGUMENT", () => new JitAllocator({}, new SimulatedMemory()).adopt(1));
    const other = attach();
    const address = other.allocAddress(64);
    for (const id of [1, 2]) {
      assert.match(
        throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.adopt(id)).message,
        /has not ended/,
      );
    }
    for (const id of [3, -1, 0.5, "2", undefined]) {
      throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.adopt(wrong(id)));
    }
    assert.deepEqual(allocator.allocationsOf(2), [address]);
    allocator.dispose();
    assert.equal(allocator.adopt(0), 0, "as with all that only looks");
  });

  test("of a thread of which the system does not tell is the caller's word, and does no harm where it was wrong", () => {
    const machine = startProcess();
    machine.tells = false;
    const { allocator, words, attach } = machine;
    const other = attach();
    const first = other.alloc(64);
    assert.equal(allocator.adopt(other.memberId), 1);
    words[Field.nextBatch] = Batches.count;
    const second = other.alloc(64);
    const third = attach().alloc(64);
    assert.equal(
      batchOf(second.token.generation),
      batchOf(first.token.generation),
      "it goes on with its batch",
    );
    assert.notEqual(batchOf(third.token.generation), batchOf(first.token.generation), "and nobody else does");
    allocator.verify();
    allocator.dispose();
  });
});

describe("releasing all that a thread left", () => {
  /** A thread that is over, and what it left in four blocks, of which three go with it. */
  function leave(
    options: JitAllocatorOptions,
  ): Process & { readonly memberId: number; readonly kept: number } {
    const machine = startProcess({ immediateRelease: true, ...options });
    const kept = machine.allocator.allocAddress(64);
    const other = machine.attach();
    other.allocAddress(64);
    for (let count = 0; count < 3; count++) {
      other.allocAddress(2 ** 23 - 320); // fills a block of its size, but for the padding and the next
      other.allocAddress(256);
    }
    assert.equal(machine.allocator.statistics().blockCount, 4);
    other.detach();
    return Object.assign(machine, { memberId: other.memberId, kept });
  }

  test("goes on past a block that the system refuses to unmap, and tells how much it was", () => {
    for (let at = 0; at < 3; at++) {
      const { allocator, simulated, memberId, kept } = leave({});
      const { allocationCount } = allocator.statistics();
      simulated.failAfter("releaseDualMapping", at);
      const error = throwsJitError(["ERR_OUT_OF_MEMORY", "ERR_PERMISSION", "ERR_INVALID_ARGUMENT"], () =>
        allocator.releaseAllOf(memberId),
      );
      assert.match(error.message, /^Released 6 of 7 allocations, call again for the rest: /);
      assert.ok(error.cause instanceof Error && error.syscall !== undefined);
      allocator.verify();
      assert.equal(allocator.allocationsOf(memberId).length, 1);
      assert.equal(allocationCount - allocator.statistics().allocationCount, 6);
      assert.equal(allocator.releaseAllOf(memberId), 1);
      assert.equal(allocator.statistics().blockCount, 1);
      allocator.verify();
      assert.equal(allocator.queryAddress(kept), kept);
      allocator.dispose();
      assert.deepEqual(simulated.mappings, []);
    }
  });

  test("goes on past what cannot be filled", () => {
    for (const immediateRelease of [false, true]) {
      const machine = leave({ immediateRelease, fillUnusedMemory: true });
      const { allocator, memberId } = machine;
      machine.refusedCopies = 2;
      const error = throwsJitError("ERR_PERMISSION", () => allocator.releaseAllOf(memberId));
      assert.match(error.message, /^Released 5 of 7 allocations, call again for the rest: Cannot fill/);
      allocator.verify();
      assert.equal(allocator.allocationsOf(memberId).length, 2);
      assert.equal(allocator.releaseAllOf(memberId), 2);
      allocator.verify();
      allocator.dispose();
    }
  });

  test("stops at what is not the library's, of which nobody knows what it is", () => {
    const machine = leave({ fillUnusedMemory: true, immediateRelease: false });
    const { allocator, memberId } = machine;
    machine.refusal = new TypeError("an accident");
    machine.refusedCopies = 1;
    assert.throws(() => allocator.releaseAllOf(memberId), { message: "an accident" });
    assert.equal(allocator.allocationsOf(memberId).length, 7);
    assert.equal(allocator.releaseAllOf(memberId), 7);
    allocator.verify();
    allocator.dispose();
  });
});

function byNumber(a: number, b: number): number {
  return a - b;
}
