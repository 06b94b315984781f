/**
 * A shared allocator on a stage: two threads, of which one dies in the middle of an operation, and what the other one
 * must find then.
 */
import assert from "node:assert/strict";
import {
  JitAllocator,
  JitError,
  type JitAllocatorOptions,
  type SharedAllocator,
  type Span,
} from "../../src/index.ts";
import { Kind } from "../../src/core/layout.ts";
import { Batches, Field, Given, Members } from "../../src/sharing/layout.ts";
import { ESTATE } from "../../src/sharing/succession.ts";
import { SimulatedMemory } from "../../src/vm/simulated.ts";
import { Fate, Killed, memoryOf, mortalThread, type Finding, type MortalThread } from "./mortal-thread.ts";
import { someBytes } from "./rows.ts";
import { attachOn } from "./attach.ts";

/** What is allocated where: size by address. */
type Live = ReadonlyMap<number, number>;

/** Two threads on one allocator: the test's own, and one that will die. */
interface Stage {
  /** How mappings are found that nobody has registered. */
  readonly finding: Finding;
  readonly machine: SimulatedMemory;
  readonly allocator: JitAllocator;
  readonly handle: SharedAllocator;
  readonly victim: MortalThread;
  readonly bystanders: readonly { readonly span: Span; readonly contents: Uint8Array }[];
  /** What the operations are done to: of one word, of several words, alone in a block, and the victim's own. */
  readonly short: number;
  readonly long: number;
  readonly lonely: number;
  readonly own: number;
  /** A thread that is over. Two of the bystanders are its. */
  readonly leaver: number;
  readonly state: Int32Array;
}

const BLOCK = 65536;
/** Numbers of the stage's threads: the test's own, the one that dies, the one that is over. The next is nobody's yet. */
const FIRST_OF_OTHERS = 4;
const NUMBERS: number = Members.count;
const SMALL: JitAllocatorOptions = { maxReservedSize: 16 * BLOCK };

function setStage(options: JitAllocatorOptions, finding: Finding = "names"): Stage {
  const machine = new SimulatedMemory({ hasRanges: options.useRange === true });
  const memory = memoryOf(machine, new Fate(() => assert.fail("this thread does not die")), finding);
  const allocator = new JitAllocator({ ...SMALL, ...options }, memory);
  // One from before the sharing, without a span and a generation.
  const old = allocator.allocAddress(700);
  const handle = allocator.share();
  const victim = mortalThread(handle, machine, undefined, finding);
  const spans = [allocator.query(old), ...[64, 3000, 192, 20_000, 64].map((size) => allocator.alloc(size))];
  const short = allocator.allocAddress(320);
  const long = allocator.allocAddress(9000);
  spans.push(allocator.alloc(64));
  const own = victim.engine.allocAddress(640);
  spans.push(allocator.alloc(128));
  // By a thread that is over when the others begin.
  const leaver = attachOn(handle, memory);
  const left = [leaver.alloc(64), leaver.alloc(3000)];
  leaver.detach();
  spans.push(...left.map(({ rx }) => allocator.query(rx)));
  // Fills the first block, so that one allocation is alone in a block; a hole in the middle for the next.
  const filler = allocator.alloc(BLOCK / 4);
  const lonely = victim.engine.allocAddress(BLOCK - 512);
  spans.push(filler);
  const hole = allocator.allocAddress(1024);
  spans.push(allocator.alloc(256));
  allocator.release(hole);
  const bystanders = spans.map((span, index) => {
    const contents = someBytes(span.size, index);
    span.write(0, contents);
    return { span, contents };
  });
  const state = new Int32Array(handle.state, 0, handle.state.byteLength >> 2);
  return {
    ...{ finding, machine, allocator, handle, victim, bystanders },
    ...{ short, long, lonely, own, leaver: leaver.memberId, state },
  };
}

/** All numbers were given, and all threads are over but the first two and those that `lives` names. */
function giveAllNumbers({ state }: Stage, lives: (number: number) => boolean): void {
  for (let number = FIRST_OF_OTHERS; number < NUMBERS; number++) {
    const index = Members.start + number * Members.integers;
    state.copyWithin(index, Members.start + Members.integers, Members.start + 2 * Members.integers);
    state[index + Members.hasLeft] = lives(number) ? 0 : 1;
  }
}

function liveIn(allocator: JitAllocator): Live {
  const live = new Map<number, number>();
  const padding = allocator.hasOption("disableInitialPadding") ? 0 : 1;
  for (const { rx, granularity, granules } of allocator.blocks()) {
    let start = -1;
    for (let granule = padding; granule < granules.length; granule++) {
      if (granules[granule] === 0) continue;
      if (start === -1) start = granule;
      if (granules[granule] !== 2) continue;
      live.set(rx + start * granularity, (granule + 1 - start) * granularity);
      start = -1;
    }
  }
  return live;
}

/** What an operation of the victim does, and what is live when it is done. */
export interface Operation {
  readonly name: string;
  readonly options?: JitAllocatorOptions;
  /** What happens before. */
  readonly prepare?: (stage: Stage) => void;
  readonly run: (stage: Stage) => unknown;
  /** From what was live before; `found` is what is live now, for places that the allocator chooses. */
  readonly done: (before: Live, stage: Stage, found: Live) => Live;
  /** It takes the bystanders too. */
  readonly isForAll?: true;
  /** It leaves no number for a thread that repairs. */
  readonly needsNumbers?: true;
  /** It takes constants or data, which an allocator that seals does not have. */
  readonly needsKinds?: true;
}

const without =
  (which: "short" | "long" | "lonely" | "own") =>
  (before: Live, stage: Stage): Live =>
    new Map([...before].filter(([address]) => address !== stage[which]));

const withOneOf =
  (sizeBytes: number) =>
  (before: Live, _stage: Stage, found: Live): Live => {
    const added = [...found].filter(([address]) => !before.has(address));
    return new Map([...before, ...added.slice(0, 1).map(([address]) => [address, sizeBytes] as const)]);
  };

const shrunk =
  (which: "short" | "long", sizeBytes: number) =>
  (before: Live, stage: Stage): Live =>
    new Map([...before].map(([address, size]) => [address, address === stage[which] ? sizeBytes : size]));

const nothing = (): Live => new Map();

/** Every operation, done by the thread that dies. */
export const OPERATIONS: readonly Operation[] = [
  { name: "alloc in a word", run: ({ victim }) => victim.engine.alloc(192), done: withOneOf(192) },
  { name: "alloc over words", run: ({ victim }) => victim.engine.alloc(5000), done: withOneOf(5056) },
  { name: "allocAddress", run: ({ victim }) => victim.engine.allocAddress(64), done: withOneOf(64) },
  {
    name: "alloc in a new block",
    run: ({ victim }) => victim.engine.alloc(2 * BLOCK),
    done: withOneOf(2 * BLOCK),
  },
  {
    name: "alloc of data, in its first block",
    needsKinds: true,
    run: ({ victim }) => victim.engine.allocOf(192, Kind.data, false),
    done: withOneOf(192),
  },
  {
    name: "alloc of constants, in their first block",
    needsKinds: true,
    run: ({ victim }) => victim.engine.allocOf(5000, Kind.constants, false),
    done: withOneOf(5056),
  },
  {
    name: "release of the last data, whose block is unmapped",
    needsKinds: true,
    options: { immediateRelease: true },
    prepare: ({ victim }) => void victim.engine.allocOf(3000, Kind.data, false),
    run: ({ victim, allocator }) => {
      const { rx = 0 } = allocator.blocks().find(({ kind }) => kind === "data") ?? {};
      const padding = allocator.hasOption("disableInitialPadding") ? 0 : allocator.granularity;
      victim.engine.release(rx + padding);
    },
    // It is there before, but was not yet when the stage was looked at.
    done: (before, stage, found) =>
      found.size === before.size ? before : withOneOf(3008)(before, stage, found),
  },
  {
    name: "patch",
    run: ({ victim, long }) => {
      victim.engine.patch(victim.engine.query(long), 64, someBytes(4));
    },
    done: (before) => before,
  },
  {
    name: "release in a word",
    run: ({ victim, short }) => victim.engine.release(short),
    done: without("short"),
  },
  {
    name: "release over words",
    run: ({ victim, long }) => victim.engine.release(long),
    done: without("long"),
  },
  { name: "release of its own", run: ({ victim, own }) => victim.engine.release(own), done: without("own") },
  {
    name: "release of a span",
    run: ({ victim, long }) => victim.engine.release(victim.engine.query(long)),
    done: without("long"),
  },
  {
    name: "release of the last in a block, which is kept",
    run: ({ victim, lonely }) => victim.engine.release(lonely),
    done: without("lonely"),
  },
  {
    name: "release of the last in a block, which is unmapped",
    options: { immediateRelease: true },
    run: ({ victim, lonely }) => victim.engine.release(lonely),
    done: without("lonely"),
  },
  {
    name: "shrink in a word",
    run: ({ victim, short }) => victim.engine.shrink(short, 100),
    done: shrunk("short", 128),
  },
  {
    name: "shrink to a granule",
    run: ({ victim, long }) => victim.engine.shrink(long, 1),
    done: shrunk("long", 64),
  },
  {
    name: "shrink over words",
    run: ({ victim, long }) => victim.engine.shrink(long, 4000),
    done: shrunk("long", 4032),
  },
  {
    name: "shrink to nothing",
    run: ({ victim, long }) => victim.engine.shrink(long, 0),
    done: without("long"),
  },
  { name: "query", run: ({ victim, long }) => victim.engine.query(long), done: (before) => before },
  {
    name: "write",
    run: ({ victim, long }) => {
      victim.engine.writeBytes(victim.engine.query(long), 0, someBytes(500), "default");
    },
    done: (before) => before,
  },
  { name: "soft reset", run: ({ victim }) => victim.engine.reset("soft"), done: nothing, isForAll: true },
  { name: "hard reset", run: ({ victim }) => victim.engine.reset("hard"), done: nothing, isForAll: true },
  { name: "dispose", run: ({ victim }) => victim.engine.dispose(), done: nothing, isForAll: true },
  { name: "detach", run: ({ victim }) => victim.engine.detach(), done: (before) => before },
  {
    name: "alloc of a thread that has to take a batch",
    prepare: ({ state, victim }) => (state[Given.start + victim.engine.memberId] = 0),
    run: ({ victim }) => victim.attachAgain().alloc(64),
    done: withOneOf(64),
  },
  {
    name: "the same when all batches were given once",
    prepare: ({ state }) => (state[Field.nextBatch] = Batches.count),
    run: ({ victim }) => victim.attachAgain().alloc(64),
    done: withOneOf(64),
  },
  {
    name: "adoption of what a thread left",
    run: ({ victim, leaver }) => victim.engine.membership.adopt(leaver),
    done: (before) => before,
  },
  {
    name: "attaching under the number of a thread that left nothing",
    prepare: (stage) => giveAllNumbers(stage, (number) => number !== 500),
    needsNumbers: true,
    run: ({ victim }) => assert.equal(victim.attachAgain().memberId, 500),
    done: (before) => before,
  },
  {
    name: "attaching under the number of a thread that left something",
    prepare: (stage) => giveAllNumbers(stage, () => true),
    needsNumbers: true,
    run: ({ victim, leaver }) => {
      const heir = victim.attachAgain();
      assert.equal(heir.memberId, leaver);
      heir.release(heir.alloc(64));
    },
    // Two operations.
    done: (before, stage, found) =>
      found.size === before.size ? before : withOneOf(64)(before, stage, found),
  },
  {
    name: "release of all that the dead held",
    run: ({ victim }) => victim.engine.membership.releaseAllOf(victim.engine.memberId),
    // Many operations, of which each has happened or not.
    done: (before, { own, lonely }, found) =>
      new Map(
        [...before].filter(([address]) => (address !== own && address !== lonely) || found.has(address)),
      ),
  },
];

/** The options that change what an operation writes. */
export const CONFIGURATIONS: readonly JitAllocatorOptions[] = [
  {},
  { useMultiplePools: true },
  { fillUnusedMemory: true },
  { disableInitialPadding: true, useDualMapping: false },
  { useRange: true },
  { useRange: true, fillUnusedMemory: true, useDualMapping: false },
  { useRange: true, sealed: true },
];

/** Runs the operation until its moment `fatal`. Returns false where it was done before. */
function diesAt(stage: Stage, operation: Operation, fatal: number): boolean {
  operation.prepare?.(stage);
  stage.victim.fate.arm(fatal);
  try {
    operation.run(stage);
    return false;
  } catch (error) {
    if (!stage.victim.fate.isDead) throw error;
    stage.victim.undoAfterlife();
    return true;
  }
}

/** All that must hold in the eyes of the thread that lives. */
function inspect(stage: Stage, operation: Operation, before: Live): "done" | "not done" {
  const { allocator, machine, bystanders } = stage;
  allocator.verify();
  const found = liveIn(allocator);
  const isUndone = sameLive(found, before);
  assert.ok(
    isUndone || sameLive(found, operation.done(before, stage, found)),
    "the operation has happened, or has not",
  );
  if (allocator.hasOption("sealed")) checkEmptyBetweenBlocks(stage);
  else {
    assert.deepEqual(
      machine.mappings.map(({ rx, rw, sizeBytes }) => [rx, rw, sizeBytes]),
      allocator.blocks().map(({ rx, rw, size }) => [rx, rw, size]),
      "what is mapped is what the blocks say",
    );
  }
  checkOwners(stage, found);
  const isGone = operation.isForAll === true && found.size === 0;
  for (const { span, contents } of bystanders) {
    assert.equal(span.isReleased, isGone);
    if (!isGone) assert.deepEqual(span.read(), contents);
  }
  return isUndone ? "not done" : "done";
}

/** What is sealed and no block's has no memory. The simulated machine throws where its access is changed. */
function checkEmptyBetweenBlocks({ allocator, machine }: Stage): void {
  const { range } = allocator;
  if (range === undefined) return;
  let end = range.start;
  for (const { rx, size } of [...allocator.blocks(), { rx: range.start + range.size, size: 0 }]) {
    assert.ok(
      Buffer.alloc(rx - end).equals(machine.alias(end, rx - end)),
      "what is no block's has no memory",
    );
    end = rx + size;
  }
}

/** Each allocation is one member's, or of the estate, and those that a thread left are nobody's that had no part in it. */
function checkOwners({ allocator, leaver, victim }: Stage, live: Live): void {
  const owned = allocator
    .members()
    .flatMap(({ id }) => allocator.allocationsOf(id).map((address) => ({ id, address })));
  assert.equal(new Set(owned.map(({ address }) => address)).size, owned.length);
  assert.deepEqual(
    owned.map(({ address }) => address).sort((a, b) => a - b),
    [...live.keys()].sort((a, b) => a - b),
  );
  const heirs = owned.filter(({ id }) => id !== 1 && id !== victim.engine.memberId && id < FIRST_OF_OTHERS);
  assert.ok(heirs.every(({ id }) => id === leaver || id === ESTATE));
}

function sameLive(a: Live, b: Live): boolean {
  return a.size === b.size && [...a].every(([address, size]) => b.get(address) === size);
}

/** The allocator works on, and gives everything back at the end. */
function workOn(stage: Stage, operation: Operation): void {
  const { allocator, machine, victim, bystanders } = stage;
  let isDisposed = false;
  try {
    const spans = [64, 1000, 7000, 64, 40_000].map((size) => allocator.alloc(size));
    for (const span of spans) span.write(0, someBytes(span.size, 7));
    for (const span of spans) assert.deepEqual(span.read(), someBytes(span.size, 7));
    const mine = allocator.allocationsOf(victim.engine.memberId);
    assert.equal(allocator.releaseAllOf(victim.engine.memberId), mine.length);
    assert.deepEqual(allocator.allocationsOf(victim.engine.memberId), []);
    for (const { span, contents } of bystanders)
      if (!span.isReleased) assert.deepEqual(span.read(), contents);
    for (const span of spans) span.release();
  } catch (error) {
    // The death of a thread that was disposing of it all.
    if (operation.name !== "dispose") throw error;
    if (!(error instanceof JitError && error.code === "ERR_DISPOSED")) throw error;
    isDisposed = true;
  }
  if (!isDisposed) allocator.verify();
  allocator.dispose();
  assert.deepEqual(machine.mappings, [], "nothing is left mapped");
  assert.deepEqual(machine.ranges?.all ?? [], [], "nor reserved");
}

/**
 * Ends the operation at each of its moments in turn.
 * @param finding how mappings are found that nobody has registered
 * @returns how often it had happened then, and how often not
 */
export function everyMoment(
  options: JitAllocatorOptions,
  operation: Operation,
  finding: Finding = "names",
): { done: number; undone: number } {
  let done = 0;
  let undone = 0;
  for (let fatal = 1; ; fatal++) {
    const stage = setStage({ ...options, ...operation.options }, finding);
    const before = liveIn(stage.allocator);
    try {
      if (!diesAt(stage, operation, fatal)) {
        inspect(stage, operation, before);
        workOn(stage, operation);
        return { done, undone };
      }
      if (inspect(stage, operation, before) === "done") done += 1;
      else undone += 1;
      workOn(stage, operation);
    } catch (error) {
      throw new Error(`${operation.name}, ended at moment ${fatal}: ${String(error)}`, { cause: error });
    }
  }
}

/** How many moments the operation has. */
function countMoments(operation: Operation, finding: Finding): number {
  const stage = setStage(operation.options ?? {}, finding);
  assert.ok(!diesAt(stage, operation, Number.POSITIVE_INFINITY));
  return stage.victim.fate.moments;
}

/**
 * Ends the operation at some of its moments, and the repair behind it at moments all over, the later ones further
 * apart. Returns how often a repair was ended.
 */
export function everyRepair(operation: Operation, finding: Finding = "names"): number {
  const moments = countMoments(operation, finding);
  let ended = 0;
  for (const fatal of new Set([Math.ceil(moments / 4), Math.ceil(moments / 2), moments])) {
    let isWhole = false;
    for (let moment = 1; !isWhole; moment += 1 + Math.floor(moment / 6)) {
      const stage = setStage(operation.options ?? {}, finding);
      const before = liveIn(stage.allocator);
      try {
        assert.ok(diesAt(stage, operation, fatal));
        isWhole = !mortalHeir(stage, moment);
        if (!isWhole) ended += 1;
        inspect(stage, operation, before);
        workOn(stage, operation);
      } catch (error) {
        throw new Error(`${operation.name}, ended at ${fatal}, and its repair at ${moment}`, {
          cause: error,
        });
      }
    }
  }
  return ended;
}

/** A second thread attaches, which repairs, and dies at that moment. Returns false where it was done before. */
function mortalHeir(stage: Stage, moment: number): boolean {
  const { handle, machine, finding } = stage;
  try {
    mortalThread(handle, machine, moment, finding);
    return false;
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
    return true;
  }
}
