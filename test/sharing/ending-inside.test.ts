/** What ends all while a thread is inside: once that thread has left, nothing stays mapped that the end was to give back. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions, type SharedAllocator } from "../../src/index.ts";
import { throwAfterCall } from "../../src/link/signals.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { below } from "../support/below.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Fate, Killed, memoryOf, mortalThread, type MortalThread } from "../support/mortal-thread.ts";

const BLOCK = 65_536;

interface Stage {
  readonly machine: SimulatedMemory;
  readonly handle: SharedAllocator;
  /** Ends everything. */
  readonly one: JitAllocator;
  /** Is inside, in another thread as it were. */
  readonly other: JitAllocator;
  readonly attach: () => JitAllocator;
}

function setStage(options: JitAllocatorOptions = {}): Stage {
  const machine = new SimulatedMemory({ hasRanges: options.useRange === true });
  const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies")));
  const one = new JitAllocator({ maxReservedSize: 64 * BLOCK, useRange: false, ...options }, memory);
  const handle = one.share();
  const attach = (): JitAllocator => attachOn(handle, memory);
  return { machine, handle, one, other: attach(), attach };
}

function blocksOf({ machine }: Stage): number {
  return machine.mappings.length;
}

/** Allocations in two blocks of one pool, and in one of another. */
function fill({ one }: Stage): void {
  for (let index = 0; index < 4; index++) one.alloc(30_000);
  one.alloc(64, { kind: "data" });
}

/** Lets a mortal thread act until its moment. Returns whether it has died. */
function dies(thread: MortalThread, moment: number, act: () => void): boolean {
  const { fate } = thread;
  fate.arm(moment);
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof Killed, String(error));
    thread.undoAfterlife();
    return true;
  }
  fate.arm(Number.POSITIVE_INFINITY);
  return false;
}

describe("a hard reset while a thread is inside", () => {
  for (const options of [
    {},
    { immediateRelease: true },
    { useMultiplePools: true },
    { useRange: true },
    { reserveForMustSucceed: 1 },
  ] satisfies JitAllocatorOptions[]) {
    for (const isOther of [false, true]) {
      const who = isOther ? "another thread" : "this thread";
      test(`keeps no block once ${who} has left; ${JSON.stringify(options)}`, () => {
        const stage = setStage(options);
        const { one, other } = stage;
        fill(stage);
        const inside = isOther ? other : one;
        inside.enter();
        one.reset("hard");
        assert.notEqual(one.statistics().retiredSize, 0);
        one.verify();
        inside.leave();
        assert.equal(one.statistics().reservedSize, 0);
        assert.equal(blocksOf(stage), 0);
        other.verify();
        const { rx } = one.alloc(64);
        one.release(rx);
        assert.equal(one.statistics().blockCount > 0, options.immediateRelease !== true, "as ever");
        one.dispose();
      });
    }
  }

  test("keeps no block either of a pool that had nothing live", () => {
    const { one, other } = setStage();
    one.alloc(64).release();
    other.enter();
    one.reset("hard");
    other.leave();
    assert.equal(one.statistics().reservedSize, 0);
    one.dispose();
  });

  test("keeps the blocks of what was allocated since, and the reserve as long as there are any", () => {
    const stage = setStage({ reserveForMustSucceed: 1 });
    const { one, other } = stage;
    fill(stage);
    other.enter();
    one.reset("hard");
    const fresh = one.alloc(64);
    fresh.write(0, new Uint8Array(64).fill(7));
    other.leave();
    assert.equal(one.statistics().allocationCount, 1);
    const { byPool } = one.statistics({ detail: true });
    assert.deepEqual(
      byPool.filter(({ blockCount }) => blockCount > 0).map((pool) => [pool.isReserve, pool.blockCount]),
      [
        [false, 1],
        [true, 1],
      ],
    );
    assert.deepEqual(fresh.read(), new Uint8Array(64).fill(7));
    one.verify();
    fresh.release();
    assert.equal(one.statistics().blockCount, 2, "the reset is done with");
    one.dispose();
  });

  test("is done with when a soft reset, outside, has kept its blocks", () => {
    const { one, other } = setStage();
    one.alloc(64);
    other.enter();
    one.reset("hard");
    other.leave();
    one.reset("soft");
    assert.equal(one.statistics().blockCount, 1);
    one.alloc(64).release();
    assert.equal(one.statistics().blockCount, 1);
    one.dispose();
  });

  test("is not undone by a soft reset inside", () => {
    const { one, other } = setStage();
    one.alloc(64);
    other.enter();
    one.reset("hard");
    one.reset("soft");
    other.leave();
    assert.equal(one.statistics().blockCount, 0);
    one.dispose();
  });

  test("unmaps later what the system refuses at first", () => {
    const stage = setStage();
    const { one, other, machine } = stage;
    fill(stage);
    other.enter();
    one.reset("hard");
    one.statistics();
    other.leave();
    machine.failAfter("releaseDualMapping", 0);
    one.statistics();
    one.verify();
    machine.failAfter("releaseDualMapping", 0);
    one.statistics();
    one.verify();
    assert.equal(one.statistics().blockCount, 0);
    one.dispose();
  });

  test("keeps no block where whoever has left finds that out at any of its writes, and dies", () => {
    for (let moment = 1; ; moment += 1 + (moment >> 6)) {
      const stage = setStage({ reserveForMustSucceed: 1 });
      const { one, other, handle, machine } = stage;
      const victim = mortalThread(handle, machine);
      fill(stage);
      other.enter();
      one.reset("hard");
      other.leave();
      const isDead = dies(victim, moment, () => void victim.engine.statistics());
      one.verify();
      assert.equal(one.statistics().reservedSize, 0, `moment ${moment}`);
      one.verify();
      one.dispose();
      assert.equal(blocksOf(stage), 0);
      if (!isDead) return;
    }
  });
});

describe("a thread that dies in a reset while another is inside", () => {
  for (const policy of ["soft", "hard"] as const) {
    const isReset = (one: JitAllocator): boolean => one.statistics().allocationCount === 0;

    test(`leaves a ${policy} reset that has happened or not, at each of its writes; what is made later stays`, () => {
      for (let moment = 1; ; moment++) {
        const stage = setStage();
        const { one, other, handle, machine, attach } = stage;
        const victim = mortalThread(handle, machine);
        fill(stage);
        other.enter();
        const isDead = dies(victim, moment, () => victim.engine.reset(policy));
        const has = isReset(one);
        const fresh = one.alloc(300);
        // Another one dies, and the repair behind it must not reset again.
        const second = mortalThread(handle, machine);
        assert.ok(dies(second, 4, () => void second.engine.alloc(64)));
        attach().detach();
        assert.ok(!fresh.isReleased, `moment ${moment}`);
        one.verify();
        other.leave();
        if (has) fresh.release();
        one.releaseAllOf(second.engine.memberId);
        if (has && policy === "hard") assert.equal(one.statistics().blockCount, 0, `moment ${moment}`);
        one.dispose();
        assert.equal(blocksOf(stage), 0);
        if (!isDead) return;
      }
    });

    test(`and another in the repair of that ${policy} reset, leave the same`, () => {
      for (const fatal of [3, 9, 12]) {
        for (let moment = 1, isDead = true; isDead; moment += 1 + (moment >> 3)) {
          const stage = setStage();
          const { one, other, handle, machine } = stage;
          const [victim, heir] = [mortalThread(handle, machine), mortalThread(handle, machine)];
          fill(stage);
          other.enter();
          assert.ok(dies(victim, fatal, () => victim.engine.reset(policy)));
          isDead = dies(heir, moment, () => heir.engine.verify());
          const has = isReset(one);
          const fresh = one.alloc(300);
          one.verify();
          other.leave();
          assert.ok(!fresh.isReleased);
          fresh.release();
          if (has && policy === "hard") assert.equal(one.statistics().blockCount, 0, `moment ${moment}`);
          one.dispose();
          assert.equal(blocksOf(stage), 0);
        }
      }
    });
  }
});

describe("a disposal while threads are inside", () => {
  test("is finished by the last of them that leaves, where all have detached before", () => {
    const orders: ((stage: Stage) => void)[] = [
      ({ one, other }) => {
        other.detach();
        one.enter();
        one.dispose();
        one.detach();
        one.leave();
      },
      ({ one, other }) => {
        one.enter();
        other.enter();
        one.detach();
        other.dispose();
        other.detach();
        other.leave();
        one.leave();
      },
      ({ one, other }) => {
        other.enter();
        other.enter();
        one.dispose();
        one.detach();
        other.detach();
        other.leave();
        other.leave();
      },
    ];
    for (const options of [{}, { useRange: true }, { reserveForMustSucceed: 1 }]) {
      for (const act of orders) {
        const stage = setStage(options);
        const { one, other, machine } = stage;
        fill(stage);
        act(stage);
        assert.equal(blocksOf(stage), 0);
        assert.deepEqual(machine.ranges?.all ?? [], []);
        for (const each of [one, other]) throwsJitError("ERR_DISPOSED", () => each.alloc(64));
      }
    }
  });

  test("waits for whoever is inside still, and gives back the number of whoever has left", () => {
    const stage = setStage();
    const { one, other, attach } = stage;
    const third = attach();
    fill(stage);
    one.enter();
    other.enter();
    one.dispose();
    one.detach();
    one.leave();
    assert.notEqual(blocksOf(stage), 0);
    assert.equal(third.members()[0]?.hasLeft, true);
    other.detach();
    assert.notEqual(blocksOf(stage), 0);
    other.leave();
    assert.equal(blocksOf(stage), 0);
    assert.equal(third.members()[1]?.hasLeft, true);
  });

  test("takes nothing from a thread that has detached where nobody disposes", () => {
    const { one, other } = setStage();
    const span = one.alloc(64);
    other.enter();
    other.detach();
    other.leave();
    assert.ok(!span.isReleased);
    one.verify();
    one.dispose();
  });

  test("is finished by the next that comes, where the last dies at any of its writes when it leaves", () => {
    for (let moment = 1; ; moment += 1 + (moment >> 6)) {
      const stage = setStage({ useRange: true });
      const { one, other, handle, machine } = stage;
      const victim = mortalThread(handle, machine);
      fill(stage);
      victim.engine.enter();
      one.dispose();
      victim.engine.detach();
      const isDead = dies(victim, moment, () => victim.engine.leave());
      if (!isDead) assert.equal(blocksOf(stage), 0);
      other.verify();
      assert.equal(blocksOf(stage), 0, `moment ${moment}`);
      assert.deepEqual(machine.ranges?.all ?? [], []);
      if (!isDead) return;
    }
  });

  test("is left for the next that comes where the system refuses the last, who has left all the same", () => {
    const stage = setStage();
    const { one, other, machine } = stage;
    fill(stage);
    one.enter();
    one.dispose();
    one.detach();
    machine.failAfter("releaseDualMapping", 0);
    one.leave();
    assert.equal(blocksOf(stage), 1);
    assert.equal(other.members()[0]?.hasLeft, true);
    assert.equal(blocksOf(stage), 0);
  });
});

describe("below a callback", () => {
  for (const how of ["shares", "attaches"] as const) {
    test(`who ${how} and detaches there has left when the call has returned`, () => {
      const stage = how === "attaches" ? setStage() : undefined;
      const machine = stage?.machine ?? new SimulatedMemory();
      const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies")));
      const first = new JitAllocator({ useRange: false }, memory);
      let handle = stage?.handle;
      below(() => {
        const member = stage?.attach() ?? first;
        handle ??= member.share();
        member.detach();
      });
      throwAfterCall();
      assert.ok(handle !== undefined);
      const other = stage?.one ?? attachOn(handle, memory);
      stage?.other.detach();
      assert.deepEqual(
        other.members().filter(({ hasLeft }) => !hasLeft),
        [other.members().find(({ id }) => id === other.memberId)],
      );
      other.alloc(64).retire();
      assert.equal(other.statistics().retiredSize, 0);
      other.dispose();
      assert.equal(machine.mappings.length, 0);
    });
  }

  test("a hard reset before the allocator was shared is finished behind the last leave", () => {
    const machine = new SimulatedMemory();
    const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies")));
    const allocator = new JitAllocator({ useRange: false }, memory);
    allocator.alloc(64);
    allocator.enter();
    allocator.reset("hard");
    allocator.share();
    allocator.leave();
    assert.equal(allocator.statistics().reservedSize, 0);
    allocator.dispose();
  });
});
