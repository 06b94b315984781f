/** Repairs a shared allocator after a thread stopped in the middle of an operation. The caller holds the lock. */
import { indexAll } from "../core/run-index.ts";
import { restoreLookUp } from "../core/lookup.ts";
import { rebuild } from "../core/rebuild.ts";
import { readLedger, RETIRED } from "../core/ledger.ts";
import { isSetUp, shiftOfPool } from "../core/state.ts";
import { granulesOf } from "../core/survey.ts";
import type { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import { coreOptionsOf } from "../engine/options.ts";
import { batchOf } from "./batches.ts";
import { Intent } from "./layout.ts";
import type { Limbo } from "./limbo.ts";
import type { SharedState } from "./shared-state.ts";

/**
 * Derives everything anew from the register of blocks and the ledgers, which are right at every instant. Gives back the
 * memory that is mapped and not registered. May be interrupted anywhere and repeated. Afterwards all threads, this one
 * too, must renew what they keep for themselves.
 */
export function repair(
  engine: Engine,
  state: SharedState,
  limbo: Limbo,
  isOver: (member: number) => boolean,
): void {
  const { core, blocks } = engine;
  const { register } = state;
  register.bumpEpoch();
  core.refreshViews();
  const { words, doubles } = core;
  if (!isSetUp(words, doubles, coreOptionsOf(engine.options), state.seal)) {
    throw new Error("invariant 1 is broken: what the buffer says of itself is not what was made");
  }
  const { intent } = state;
  // Nothing is struck out of the ledgers that a thread may be running: it is retired, and waits in limbo.
  if (intent !== Intent.none) limbo.retireAll();
  retirePending(engine, state, isOver);
  const isVacant = limbo.isVacant();
  if (isVacant) forgetRetired(engine, state);
  const staying = register.staying();
  const leaving = register.leaving();
  const surplus = rebuild(core.words, core.doubles, staying);
  indexAll(core);
  restoreLookUp(core);
  blocks.dropUnmapped(false);
  blocks.source.reclaim(staying, leaving);
  for (const { entry } of leaving) register.remove(entry);
  blocks.source.settle(staying);
  const isForAll = isVacant && (intent === Intent.resetHard || intent === Intent.dispose);
  const isDone = removeBlocks(engine, isForAll ? staying.map(({ block }) => block) : surplus);
  if (intent === Intent.dispose && isVacant && isDone) releaseRange(engine);
  if (intent === Intent.dispose && (isDone || !isVacant)) state.isDisposed = true;
  if (intent === Intent.resetSoft || intent === Intent.resetHard) state.noteReset(intent, isVacant && isDone);
  // A disposal that has to wait for a thread is finished later, by whoever finds nobody inside. A reset is never repeated: what
  // was allocated since would end.
  if (!state.isEnding || (isVacant && isDone)) state.intent = Intent.none;
  limbo.rebuild();
  if (engine.options.fillUnusedMemory) fillFree(engine);
  state.countRepair();
}

/** Strikes out of the ledgers what was retired, since nobody can be running it. */
function forgetRetired({ core, options }: Engine, { register }: SharedState): void {
  const { words } = core;
  for (const { generations, pool, sizeBytes } of register.staying()) {
    const capacity = sizeBytes / 2 ** shiftOfPool(words, pool);
    const start = options.disableInitialPadding ? 0 : 1;
    readLedger(words, generations, start, capacity, (granule, count, generation) => {
      if (generation !== RETIRED) return;
      words[generations + granule] = 0;
      if (count > 1) words[generations + granule + 1] = 0;
    });
  }
}

/**
 * Retires the modules that are not whole, and that nobody will finish: the one that an operation was working on, and those of
 * threads that are over.
 * @param isOver whether a member will never use the allocator again
 */
function retirePending(
  { core, options }: Engine,
  state: SharedState,
  isOver: (member: number) => boolean,
): void {
  const { batches, register } = state;
  const interrupted = state.module - 1;
  const isOverByMember = new Map<number, boolean>();
  const isDoomed = (batch: number): boolean => {
    if (!batches.isPending(batch)) return false;
    if (batch === interrupted) return true;
    const owner = batches.ownerOfBatch(batch);
    const known = isOverByMember.get(owner) ?? isOver(owner);
    isOverByMember.set(owner, known);
    return known;
  };
  const { words } = core;
  for (const { generations, pool, sizeBytes } of register.staying()) {
    const capacity = sizeBytes / 2 ** shiftOfPool(words, pool);
    readLedger(
      words,
      generations,
      options.disableInitialPadding ? 0 : 1,
      capacity,
      (granule, _count, generation) => {
        if (generation !== RETIRED && isDoomed(batchOf(generation))) words[generations + granule] = RETIRED;
      },
    );
  }
  state.module = 0;
}

/** Unmaps empty blocks. Returns false where the system refuses one, which stays until the next repair or disposal. */
function removeBlocks({ blocks }: Engine, doomed: readonly number[]): boolean {
  let isDone = true;
  for (const block of doomed) {
    try {
      blocks.remove(blocks.at(block));
    } catch (error) {
      if (!(error instanceof JitError)) throw error;
      isDone = false;
    }
  }
  return isDone;
}

/** Gives the range back for a disposal that had begun. Where the system refuses, addresses are lost, and no memory. */
function releaseRange({ blocks }: Engine): void {
  try {
    blocks.source.releaseRange();
  } catch (error) {
    if (!(error instanceof JitError)) throw error;
  }
}

/** Fills all free memory: some that was being released may not have been filled yet. */
function fillFree({ core, blocks }: Engine): void {
  for (const mapped of blocks.all()) {
    const granules = granulesOf(core.words, mapped.block);
    const granuleBytes = 2 ** mapped.granuleShift; // a block of 2 GiB is too long for shifts
    for (let start = 0; start < granules.length; start++) {
      if (granules[start] !== 0) continue;
      const used = granules.subarray(start).findIndex((granule) => granule !== 0);
      const count = used === -1 ? granules.length - start : used;
      try {
        blocks.fill(mapped, start * granuleBytes, count * granuleBytes);
      } catch (error) {
        // No view of the block is to be had now. The repair must go on: without it nothing works any more.
        if (!(error instanceof JitError)) throw error;
      }
      start += count;
    }
  }
}
