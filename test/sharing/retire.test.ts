/** What is released while a thread may be running it: it has ended, and its memory is not used again before that thread is out. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JitAllocator, type JitAllocatorOptions, type SharedAllocator } from "../../src/index.ts";
import { Field, Inside, Limbo, Members } from "../../src/sharing/layout.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { attachOn } from "../support/attach.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Fate, Killed, memoryOf, mortalThread } from "../support/mortal-thread.ts";

interface Stage {
  readonly machine: SimulatedMemory;
  readonly memory: VirtualMemory;
  readonly handle: SharedAllocator;
  readonly words: Int32Array;
  /** Releases. */
  readonly one: JitAllocator;
  /** Is inside, in another thread as it were. */
  readonly other: JitAllocator;
}

const BLOCK = 65_536;

function setStage(options: JitAllocatorOptions = {}): Stage {
  const machine = new SimulatedMemory();
  const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies")));
  const one = new JitAllocator({ maxReservedSize: 16 * BLOCK, ...options }, memory);
  const handle = one.share();
  return {
    ...{ machine, memory, one, handle },
    words: new Int32Array(handle.state),
    other: attachOn(handle, memory),
  };
}

/** All that can be allocated at once, which is released again. */
function everyFreePlace(allocator: JitAllocator): Set<number> {
  const places = new Set<number>();
  try {
    for (;;) places.add(allocator.allocAddress(64));
  } catch (error) {
    assert.equal((error as { code?: unknown }).code, "ERR_OUT_OF_MEMORY");
  }
  for (const place of places) allocator.release(place);
  return places;
}

describe("a release while another thread is inside", () => {
  test("ends the span at once, by whatever it is named, and keeps its memory until that thread has left", () => {
    const { one, other } = setStage();
    const span = one.alloc(300);
    const { rx, token } = span;
    const seen = other.query(rx);
    const { usedSize, allocationCount } = one.statistics();
    other.enter();
    span.release();
    assert.ok(span.isReleased && seen.isReleased);
    throwsJitError("ERR_RELEASED", () => span.release());
    throwsJitError("ERR_RELEASED", () => other.release(seen));
    throwsJitError("ERR_RELEASED", () => other.spanOf(token));
    for (const each of [one, other]) {
      for (const address of [rx, rx + 1, rx + 64]) {
        throwsJitError("ERR_NOT_ALLOCATED", () => each.release(address));
        throwsJitError("ERR_NOT_ALLOCATED", () => each.shrink(address, 64));
        throwsJitError("ERR_NOT_ALLOCATED", () => each.query(address));
        throwsJitError("ERR_NOT_ALLOCATED", () => each.queryAddress(address));
      }
      assert.equal(each.statistics().retiredSize, 320);
      assert.equal(each.statistics().allocationCount, allocationCount - 1);
      assert.equal(each.statistics().usedSize, usedSize);
      each.verify();
    }
    assert.ok(!everyFreePlace(one).has(rx), "it is not free");
    other.leave();
    assert.equal(one.statistics().retiredSize, 0);
    assert.equal(one.statistics().usedSize, usedSize - 320);
    assert.ok(everyFreePlace(one).has(rx), "it is free");
    one.dispose();
  });

  test("is at once where nobody has ever entered, or the only one who has is this thread, which is outside", () => {
    const { one, words } = setStage();
    const rx = one.allocAddress(64);
    one.release(rx);
    assert.equal(words[Field.limboCount], 0);
    assert.equal(one.allocAddress(64), rx);
    one.enter();
    one.leave();
    one.release(rx);
    assert.equal(words[Field.limboCount], 0);
    one.dispose();
  });

  test("waits for no thread that has entered since", () => {
    const { one, other, memory, handle } = setStage();
    const third = attachOn(handle, memory);
    const rx = one.allocAddress(64);
    other.enter();
    one.release(rx);
    assert.equal(one.statistics().retiredSize, 64);
    third.enter();
    assert.equal(one.statistics().retiredSize, 64);
    other.leave();
    assert.equal(one.statistics().retiredSize, 0, "the third one came later, and found it ended");
    third.leave();
    one.dispose();
  });

  test("waits for the outermost leave", () => {
    const { one, other } = setStage();
    other.enter();
    const rx = one.allocAddress(64);
    one.statistics();
    other.enter();
    one.release(rx);
    other.leave();
    assert.equal(one.statistics().retiredSize, 64);
    other.leave();
    assert.equal(one.statistics().retiredSize, 0);
    throwsJitError("ERR_INVALID_ARGUMENT", () => other.leave());
    one.dispose();
  });

  test("waits for this thread as for any other", () => {
    const { one, other } = setStage();
    const rx = one.allocAddress(64);
    one.enter();
    one.retire(rx);
    other.retire(other.allocAddress(128));
    assert.equal(one.statistics().retiredSize, 64 + 128);
    one.leave();
    assert.equal(other.statistics().retiredSize, 0);
    one.dispose();
  });

  test("waits for no thread that has ended or detached inside; a detached one has left when it is outside", () => {
    const { one, other, words, memory, handle } = setStage();
    const dead = attachOn(handle, memory);
    dead.enter();
    one.release(one.allocAddress(64));
    assert.equal(one.statistics().retiredSize, 64);
    words[Members.start + dead.memberId * Members.integers + Members.hasLeft] = 1;
    assert.equal(one.statistics().retiredSize, 0);
    other.enter();
    const rx = one.allocAddress(64);
    other.detach();
    one.release(rx);
    assert.equal(one.statistics().retiredSize, 64, "it is still inside");
    assert.equal(one.members().find(({ id }) => id === 2)?.hasLeft, false);
    other.leave();
    assert.equal(one.statistics().retiredSize, 0);
    assert.equal(one.members().find(({ id }) => id === 2)?.hasLeft, true);
    other.enter(); // somebody else's number by now, perhaps
    assert.equal(words[Inside.start + 2 * Inside.integers], 0);
    other.leave();
    one.dispose();
  });

  test("keeps its memory also where room is short, which comes back with the first allocation after the leave", () => {
    const { one, other } = setStage();
    const live = [...everyFreePlace(one)];
    for (let left = live.length; left > 0; left--) one.allocAddress(64);
    other.enter();
    for (const place of live.slice(0, 10)) one.release(place);
    throwsJitError("ERR_OUT_OF_MEMORY", () => one.alloc(64));
    assert.equal(one.statistics().retiredSize, 640);
    other.leave();
    assert.ok(live.slice(0, 10).includes(one.allocAddress(64)));
    one.dispose();
  });

  test("is possible for any number, more than the queue has room for", () => {
    const { one, other } = setStage({ useRange: false });
    const count = 2 * Limbo.capacity + 1000;
    const places = Array.from({ length: count }, () => one.allocAddress(64));
    other.enter();
    for (const place of places) one.release(place);
    one.verify();
    assert.equal(other.statistics().retiredSize, 64 * count);
    assert.equal(other.statistics().allocationCount, 0);
    other.leave();
    other.enter();
    assert.equal(
      one.statistics().retiredSize,
      64 * (count - Limbo.capacity),
      "the rest is in the queue only now",
    );
    one.verify();
    other.leave();
    assert.equal(one.statistics().retiredSize, 0);
    one.verify();
    assert.equal(one.statistics().blockCount, 1);
    one.dispose();
  });

  test("is the same for all of a module, of a thread's allocations, and for shrink to 0", () => {
    const { one, other } = setStage();
    const builder = one.module();
    builder.code(100);
    builder.data(100);
    const loaded = builder.commit();
    const left = other.allocAddress(64);
    const shrunk = one.alloc(64);
    other.enter();
    loaded.retire();
    assert.ok(loaded.isReleased);
    assert.equal(one.releaseAllOf(other.memberId), 1);
    assert.deepEqual(one.allocationsOf(other.memberId), []);
    shrunk.shrink(0);
    assert.ok(shrunk.isReleased);
    throwsJitError("ERR_NOT_ALLOCATED", () => one.query(left));
    assert.equal(one.statistics().retiredSize, 128 + 128 + 64 + 64);
    one.verify();
    other.leave();
    assert.equal(one.statistics().allocationCount, 0);
    assert.equal(one.statistics().retiredSize, 0);
    one.dispose();
  });
});

describe("a reset or a disposal while another thread is inside", () => {
  for (const policy of ["soft", "hard"] as const) {
    test(`reset("${policy}") ends everything at once, and gives it back when that thread has left`, () => {
      const { one, other } = setStage();
      const spans = Array.from({ length: 50 }, () => one.alloc(3000));
      other.enter();
      one.reset(policy);
      assert.ok(spans.every((span) => span.isReleased));
      assert.equal(one.statistics().allocationCount, 0);
      assert.equal(one.statistics().retiredSize, 50 * 3008);
      one.verify();
      other.verify();
      const fresh = one.alloc(64);
      assert.ok(spans.every(({ rx }) => fresh.rx < rx || fresh.rx >= rx + 3008));
      other.leave();
      assert.equal(other.statistics().retiredSize, 0);
      one.verify();
      fresh.release();
      one.reset("hard");
      assert.equal(one.statistics().reservedSize, 0);
      one.dispose();
    });
  }

  test("dispose unmaps nothing before that thread has left; then whatever comes first does", () => {
    const acts = [
      (each: JitAllocator) => throwsJitError("ERR_DISPOSED", () => each.alloc(64)),
      (each: JitAllocator) => each.dispose(),
      (each: JitAllocator) => each.detach(),
      (each: JitAllocator) => void each.statistics(),
    ];
    for (const act of acts) {
      for (const isOther of [false, true]) {
        const { machine, one, other } = setStage();
        const span = one.alloc(64);
        const seen = other.query(span.rx);
        other.enter();
        one.dispose();
        assert.ok(span.isReleased && seen.isReleased);
        for (const each of [one, other]) {
          throwsJitError("ERR_DISPOSED", () => each.alloc(64));
          throwsJitError("ERR_DISPOSED", () => each.reset());
          each.dispose();
        }
        assert.equal(machine.mappings.length, 1, "it is still mapped");
        other.leave();
        act(isOther ? other : one);
        assert.equal(machine.mappings.length, 0);
        throwsJitError("ERR_DISPOSED", () => (isOther ? one : other).alloc(64));
      }
    }
  });
});

describe("the order in which threads see what happens", () => {
  test("is made by a barrier of those who retire, once for many; where there is none, nothing is freed", () => {
    const { machine, handle, one, words } = setStage();
    const memory = memoryOf(machine, new Fate(() => assert.fail("nobody dies")));
    let barriers = 0;
    let isRefused = false;
    assert.ok(memory.sharing);
    memory.sharing.orderStores = () => {
      barriers += 1;
      return !isRefused;
    };
    words[Field.isFencing] = 0; // as if the first thread had such memory
    const [releases, runs] = [attachOn(handle, memory), attachOn(handle, memory)];
    runs.enter();
    runs.leave();
    const places = Array.from({ length: 200 }, () => releases.allocAddress(64));
    assert.equal(barriers, 0);
    for (const place of places) releases.release(place);
    assert.equal(barriers, 3, "one for each 64");
    releases.statistics();
    assert.equal(barriers, 4);
    isRefused = true;
    releases.release(releases.allocAddress(64));
    assert.equal(releases.statistics().retiredSize, 64);
    isRefused = false;
    assert.equal(releases.statistics().retiredSize, 0);
    one.dispose();
  });

  test("is made by those who enter where the system has no barrier", () => {
    const { words } = setStage();
    assert.equal(words[Field.isFencing], 1);
  });
});

describe("a thread that dies while it releases", () => {
  const operations: readonly [string, (victim: ReturnType<typeof mortalThread>, rx: number) => void][] = [
    ["release", ({ engine }, rx) => engine.release(rx)],
    ["reset", ({ engine }) => engine.reset("hard")],
    ["dispose", ({ engine }) => engine.dispose()],
  ];
  for (const [name, operation] of operations) {
    test(`in ${name}, at each of its writes, takes nothing from under a thread that is inside`, () => {
      for (let fatal = 1; ; fatal++) {
        const { machine, handle, one, other } = setStage();
        const victim = mortalThread(handle, machine);
        const [first, second] = [one.alloc(320), one.alloc(3000)];
        other.enter();
        victim.fate.arm(fatal);
        let isKilled = false;
        try {
          operation(victim, first.rx);
        } catch (error) {
          assert.ok(error instanceof Killed, String(error));
          isKilled = true;
        }
        if (isKilled) victim.undoAfterlife();
        else victim.fate.arm(Number.POSITIVE_INFINITY);
        const used = new Set(
          other
            .blocks()
            .flatMap(({ rx, granules }) => [...granules].flatMap((g, i) => (g ? [rx + 64 * i] : []))),
        );
        for (const { rx } of [first, second])
          assert.ok(used.has(rx), `moment ${fatal}: what was live at the entry is still there`);
        other.verify();
        other.leave();
        assert.equal(other.statistics().retiredSize, 0, `moment ${fatal}`);
        other.verify();
        other.dispose();
        assert.equal(machine.mappings.length, 0, `moment ${fatal}`);
        if (!isKilled) return;
      }
    });
  }
});
