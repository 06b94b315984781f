/** Terminates workers in the middle of a mixed load on a shared allocator. */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { JitAllocator, type JitAllocatorOptions, type MemberInfo } from "../../src/index.ts";
import { Field } from "../../src/sharing/layout.ts";
import { SHOWS_MAPPINGS, openDescriptors, ownMapLines, ownUsedLines, sizeOfLine } from "./process-state.ts";
import { Random } from "./random.ts";
import { MOST_LOOKS, ThreadLoad } from "./thread-load.ts";

/** What to do. */
export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  readonly workerCount: number;
  readonly options?: JitAllocatorOptions;
  /** Whether the workers return to their event loops now and then, and so can end between two operations. */
  readonly pauses?: boolean;
  /** Told after each kill. */
  readonly onKill?: (kills: number) => void;
}

/** What was found. */
export interface KillReport {
  readonly kills: number;
  /** How many of the terminated left the lock taken, and the structure to be repaired. */
  readonly repairs: number;
  /** What they held, and somebody else released. */
  readonly released: number;
  /** What the workers held that were told to stop at the end. */
  readonly held: number;
}

/**
 * Terminates, repairs, releases what the dead held, and looks at everything after each.
 * @throws where anything is lost or broken; the message has the seed
 */
export async function killThreads(settings: KillOptions): Promise<KillReport> {
  const { kills, seed, workerCount } = settings;
  // Node 20 aborts, about once in a thousand times, where a worker is terminated while a helper thread compiles for it
  // (`(data.first) != nullptr` in node_platform.cc). What is looked at here is this library, so nothing compiles there.
  setFlagsFromString("--no-concurrent-recompilation");
  const random = new Random(seed);
  const descriptors = ownDescriptors().length;
  const allocator = new JitAllocator(settings.options);
  const kept = Array.from({ length: 50 }, (_, index) => {
    const span = allocator.alloc(64 + 100 * index);
    span.write(0, new Uint8Array(span.size).fill(index));
    return span;
  });
  // Without a second view, only what is mapped from now on bears a name; the spans above keep these blocks.
  const nameless = allocator.hasOption("useDualMapping") ? 0 : allocator.blocks().length;
  const { state } = allocator.share();
  const load = new ThreadLoad(allocator, random, workerCount, settings.pauses);
  let released = 0;
  try {
    for (let kill = 1; kill <= kills; kill++) {
      const index = random.below(workerCount);
      await load.progressOf(index, random.between(1, 400));
      await load.replace(index);
      allocator.verify();
      released += releaseDead(allocator);
      allocator.verify();
      kept.forEach((span, mark) => assert.ok(span.read().every((byte) => byte === mark)));
      settings.onKill?.(kill);
    }
    const reports = await load.stop();
    const held = reports.flatMap((report) => report.held);
    await untilAlone(allocator);
    allocator.verify();
    released += releaseDead(
      allocator,
      reports.map(({ memberId }) => memberId),
    );
    allocator.verify();
    assert.equal(
      allocator.statistics().allocationCount,
      held.length + kept.length,
      "nothing else is allocated",
    );
    for (const { rx, size, mark } of held) {
      const span = allocator.query(rx);
      assert.equal(span.size, size);
      assert.ok(span.read().every((byte) => byte === mark));
      span.release();
    }
    const lines = allocator.hasOption("useDualMapping") ? 2 : 1;
    if (!SHOWS_MAPPINGS) {
      assert.equal(allocator.range, undefined);
    } else if (allocator.range === undefined) {
      const named = lines * allocator.blocks().length - nameless;
      assert.equal(ownMapLines().length, named, "each mapping is a block's");
    } else {
      const usedBytes = ownUsedLines().reduce((sum, line) => sum + sizeOfLine(line), 0);
      const { reservedSize } = allocator.statistics();
      assert.equal(usedBytes, lines * reservedSize, "what can be accessed is a block's");
    }
    allocator.dispose();
    assert.deepEqual(ownMapLines(), [], "a range that was shared is not kept");
    assert.deepEqual(
      openDescriptors().filter((line) => line.includes("jit-allocator")),
      [],
    );
    assert.ok(ownDescriptors().length <= descriptors + 2, "no descriptor is lost");
    const repairs = new Int32Array(state)[Field.repairs] ?? 0;
    return { kills, repairs, released, held: held.length };
  } catch (error) {
    throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
  }
}

/** Releases what the dead hold, but for those whose numbers are in `kept`. Returns how much it was. */
function releaseDead(allocator: JitAllocator, kept: readonly number[] = []): number {
  let released = 0;
  for (const { id, isAlive, allocationCount } of allocator.members()) {
    if (isAlive !== false || allocationCount === 0 || kept.includes(id)) continue;
    assert.equal(allocator.allocationsOf(id).length, allocationCount);
    released += allocator.releaseAllOf(id);
  }
  return released;
}

/** Waits for the end of all other threads, which may come after a runtime has told of it. */
async function untilAlone(allocator: JitAllocator): Promise<void> {
  const isOther = ({ id, isAlive }: MemberInfo): boolean => isAlive === true && id !== allocator.memberId;
  for (let looks = 0; allocator.members().some(isOther); looks++) {
    assert.ok(looks < MOST_LOOKS, "a thread that was ended lives on");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** All but what event loops are made of: a runtime may keep more of them once it has had a worker. */
function ownDescriptors(): readonly string[] {
  return openDescriptors().filter((line) => !/ (?:anon_inode|socket|pipe):/.test(line));
}
