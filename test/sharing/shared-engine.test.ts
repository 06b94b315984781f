/** What the threads of a shared allocator keep in common between two operations, and what an error leaves of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Engine } from "../../src/engine/engine.ts";
import { JitAllocator, type JitAllocatorOptions, type SharedAllocator } from "../../src/index.ts";
import { SharedEngine } from "../../src/sharing/shared-engine.ts";
import { attachEngine } from "../../src/sharing/handle.ts";
import { Batches, Field, Intent, Members } from "../../src/sharing/layout.ts";
import { SharedState } from "../../src/sharing/shared-state.ts";
import type { VirtualMemory } from "../../src/vm/contract.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { throwsJitError } from "../support/expectations.ts";
import { Fate, memoryOf, mortalThread, type MortalThread } from "../support/mortal-thread.ts";
import { attachOn } from "../support/attach.ts";

/** A machine on which a call of the system can be made to do something else, and an allocator that is shared. */
interface Machine {
  readonly simulated: SimulatedMemory;
  readonly memory: VirtualMemory;
  readonly allocator: JitAllocator;
  readonly handle: SharedAllocator;
  readonly words: Int32Array;
  readonly attach: () => JitAllocator;
}

function makeMachine(options: JitAllocatorOptions = {}): Machine {
  const simulated = new SimulatedMemory();
  const memory = memoryOf(simulated, new Fate(() => assert.fail("nobody dies")));
  const allocator = new JitAllocator(options, memory);
  const handle = allocator.share();
  const words = new Int32Array(handle.state);
  return { simulated, memory, allocator, handle, words, attach: () => attachOn(handle, memory) };
}

/** An error that is not this library's, as a used-up stack is. */
class Accident extends Error {}

function accident(): never {
  throw new Accident();
}

/** Does something while one function of the memory is another. */
function during<K extends keyof VirtualMemory>(
  memory: VirtualMemory,
  name: K,
  other: VirtualMemory[K],
  act: () => void,
): void {
  const own = memory[name];
  memory[name] = other;
  try {
    act();
  } finally {
    memory[name] = own;
  }
}

describe("batches of generations", () => {
  test("are for threads that allocate; one lasts for as many allocations as it has generations", () => {
    const { allocator, words, attach } = makeMachine();
    const address = allocator.allocAddress(64);
    const before = words[Field.nextBatch] ?? 0;
    const other = attach();
    for (let times = 0; times < 10; times++) {
      assert.equal(other.queryAddress(address), address);
      other.shrink(address, 64);
    }
    assert.equal(words[Field.nextBatch], before, "nothing was allocated");
    for (let times = 0; times < 2 ** Batches.shift; times++) other.release(other.allocAddress(64));
    assert.equal(words[Field.nextBatch], before + 1);
    other.release(address);
    assert.equal(words[Field.nextBatch], before + 1, "nor was anything since");
    other.allocAddress(64);
    assert.equal(words[Field.nextBatch], before + 2);
    allocator.dispose();
  });

  test("that are used up are no matter for those who do not allocate", () => {
    const { allocator, words } = makeMachine();
    const address = allocator.allocAddress(64);
    const held = Array.from({ length: 2 ** Batches.shift - 2 }, () => allocator.allocAddress(64));
    const before = words[Field.nextBatch];
    allocator.shrink(address, 64);
    for (const each of held) allocator.release(each);
    assert.equal(words[Field.nextBatch], before);
    allocator.dispose();
  });
});

describe("when every batch of generations has something live", () => {
  test("nothing is allocated, and all else works", () => {
    const { allocator, words, handle, attach } = makeMachine();
    const first = allocator.allocAddress(64);
    for (let count = 1; count < Batches.count; count++) allocator.allocAddress(64);
    // As if each of them were the only one of its batch that was not released.
    const core = new Int32Array(handle.buffer);
    let batch = 0;
    for (const { generations, sizeBytes } of new SharedState(handle.state).register.staying()) {
      for (let at = generations; at < generations + sizeBytes / 64; at++) {
        if ((core[at] ?? 0) < 0) core[at] = ((batch++ << Batches.shift) + 1) | -0x8000_0000;
      }
    }
    assert.equal(batch, Batches.count);
    words[Field.nextBatch] = Batches.count;
    const other = attach();
    const before = other.statistics();
    throwsJitError("ERR_OUT_OF_MEMORY", () => other.alloc(64));
    assert.deepEqual(other.statistics(), before);
    assert.deepEqual([words[Field.isTorn], words[Field.repairs]], [0, 0]);
    other.shrink(first, 64);
    other.release(first);
    const span = other.alloc(64);
    assert.deepEqual([span.rx, span.token.generation], [first, 1 | -0x8000_0000]);
    allocator.dispose();
  });
});

describe("a span that was released long ago is not live, without the lock,", () => {
  /** What a thread that takes no lock sees at each moment of what another one does, until it is told to take it. */
  function watchOver(
    options: JitAllocatorOptions,
    act: (victim: MortalThread, machine: Machine) => void,
  ): void {
    const machine = makeMachine(options);
    const { allocator, handle, simulated, words } = machine;
    const kept = allocator.alloc(64);
    const released = allocator.query(allocator.allocAddress(64));
    const victim = mortalThread(handle, simulated);
    allocator.release(released.rx);
    assert.ok(released.isReleased && !kept.isReleased);
    const epoch = words[Field.epoch];
    let moments = 0;
    victim.fate.onMoment = () => {
      moments += 1;
      if (words[Field.epoch] === epoch) assert.ok(released.isReleased);
    };
    act(victim, machine);
    assert.ok(moments > 0 && words[Field.epoch] !== epoch);
    victim.fate.onMoment = undefined;
    assert.ok(released.isReleased);
    allocator.dispose();
  }

  test("while another thread repairs", () => {
    watchOver({}, ({ engine }, { words }) => {
      words[Field.isTorn] = 1;
      engine.statistics();
      assert.equal(words[Field.repairs], 1);
    });
  });

  test("while another thread gives its block back", () => {
    watchOver({}, ({ engine }) => engine.reset("hard"));
    watchOver({ immediateRelease: true }, ({ engine }) => {
      engine.membership.releaseAllOf(1);
    });
  });

  test("where another thread does one of these while it is looked at", () => {
    const { memory, allocator, handle, words } = makeMachine();
    const own = new Engine(allocator.options, memory, handle);
    const shared = new SharedEngine(own, new SharedState(handle.state), {
      currentThread: () => ({ id: 1, mark: 1 }),
      isAlive: () => true,
    });
    shared.join();
    const span = shared.query(allocator.allocAddress(64));
    assert.ok(shared.isLive(span));
    const look = own.isLive.bind(own);
    let looks = 0;
    own.isLive = (target) => {
      if (looks++ > 0) return look(target);
      allocator.release(span.rx);
      words[Field.epoch] = (words[Field.epoch] ?? 0) + 1;
      return true; // what the memory happened to say
    };
    assert.ok(!shared.isLive(span));
    allocator.dispose();
  });
});

test("a number is a member's or not, whatever is asked", () => {
  const { allocator, memory, handle } = makeMachine();
  const engine = attachEngine(handle, memory);
  const asked: unknown[] = [1, 2, 0, 3, -1, 1024, 1.5, NaN, "1", null, undefined];
  assert.deepEqual(
    asked.filter((id) => engine.membership.has(id)),
    [1, 2, 0], // the last is the estate's
  );
  allocator.dispose();
});

describe("an error", () => {
  test("that is not the library's leaves a structure to repair, and no lock", () => {
    const { memory, allocator, words, attach } = makeMachine();
    const other = attach();
    let wasTorn = 0;
    const fail = (): never => {
      wasTorn += words[Field.isTorn] ?? 0;
      return accident();
    };
    during(memory, "allocDualMapping", fail, () => {
      for (const repairs of [0, 1]) {
        assert.throws(() => other.alloc(64), Accident);
        assert.deepEqual([words[Field.lock], words[Field.isTorn], words[Field.repairs]], [0, 1, repairs]);
      }
    });
    assert.equal(wasTorn, 2, "whoever stops in here has left something to repair, behind a repair too");
    allocator.release(allocator.allocAddress(64));
    assert.deepEqual([words[Field.lock], words[Field.isTorn], words[Field.repairs]], [0, 0, 2]);
    allocator.verify();
    allocator.dispose();
  });

  test("of the library leaves nothing to repair", () => {
    const { allocator, words } = makeMachine();
    throwsJitError("ERR_INVALID_ARGUMENT", () => allocator.alloc(0));
    throwsJitError("ERR_UNKNOWN_ADDRESS", () => allocator.release(64));
    throwsJitError("ERR_UNKNOWN_ADDRESS", () => allocator.query(64));
    assert.deepEqual([words[Field.lock], words[Field.isTorn], words[Field.repairs]], [0, 0, 0]);
    allocator.dispose();
  });

  test("in a repair leaves the repair to do, and no lock", () => {
    const { memory, allocator, words, attach } = makeMachine();
    const other = attach();
    const address = allocator.allocAddress(64);
    const { sharing } = memory;
    assert.ok(sharing);
    words[Field.isTorn] = 1;
    during(memory, "sharing", { ...sharing, reclaim: accident }, () => {
      const operations = [
        () => other.alloc(64),
        () => other.release(address),
        () => other.statistics(),
        () => attachOn(allocator.share(), memory),
      ];
      for (const operation of operations) {
        assert.throws(operation, Accident);
        assert.deepEqual([words[Field.lock], words[Field.isTorn]], [0, 1]);
      }
    });
    const batches = words[Field.nextBatch];
    assert.equal(allocator.queryAddress(address), address);
    assert.equal(words[Field.isTorn], 0);
    other.release(address);
    assert.equal(words[Field.nextBatch], batches);
    allocator.verify();
    allocator.dispose();
  });

  test("in the repair of a thread that takes the number of another one leaves that number to the next", () => {
    const { memory, allocator, words, attach } = makeMachine();
    const address = allocator.allocAddress(64);
    for (let count = 2; count < Members.count; count++) attach().detach();
    const { sharing } = memory;
    assert.ok(sharing);
    words[Field.isTorn] = 1;
    during(memory, "sharing", { ...sharing, reclaim: accident }, () => {
      for (let times = 0; times < 2; times++) {
        assert.throws(attach, Accident);
        assert.deepEqual([words[Field.lock], words[Field.isTorn]], [0, 1]);
      }
    });
    const other = attach();
    assert.deepEqual([other.memberId, words[Field.isTorn], words[Field.repairs]], [2, 0, 1]);
    other.release(address);
    allocator.verify();
    allocator.dispose();
  });

  test("of the system while a repair finishes a disposal leaves the blocks that it refuses, for another disposal", () => {
    const { simulated, allocator, words, attach } = makeMachine();
    const other = attach();
    const span = allocator.alloc(64);
    words[Field.isTorn] = 1;
    words[Field.intent] = Intent.dispose;
    simulated.failAfter("releaseDualMapping", 0);
    assert.equal(other.statistics().blockCount, 1);
    assert.deepEqual([words[Field.intent], words[Field.isDisposed]], [Intent.none, 0]);
    assert.ok(span.isReleased);
    other.verify();
    other.dispose();
    assert.deepEqual(simulated.mappings, []);
    throwsJitError("ERR_DISPOSED", () => allocator.alloc(64));
  });

  test("before a thread has got ready does not give it the generations of another", () => {
    const { memory, allocator, words, attach } = makeMachine();
    const other = attach();
    const { sharing } = memory;
    assert.ok(sharing);
    const first = allocator.alloc(64); // the core now gives the generations of this thread
    words[Field.isTorn] = 1;
    during(memory, "sharing", { ...sharing, reclaim: accident }, () => {
      assert.throws(() => other.alloc(64), Accident);
    });
    const theirs = other.alloc(64);
    const second = allocator.alloc(64);
    assert.deepEqual(allocator.allocationsOf(1), [first.rx, second.rx]);
    assert.deepEqual(allocator.allocationsOf(2), [theirs.rx]);
    allocator.dispose();
  });
});
