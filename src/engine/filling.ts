/** Fills memory that is free, or becomes so, where `fillUnusedMemory` asks for it. What fails has changed nothing. */
import type { Core } from "../core/core.ts";
import { shortenEntry } from "../core/generations.ts";
import { restore, strikeOut } from "../core/ledger.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { MappedBlock } from "./mapped-block.ts";

/** Fills the allocation that the core has just made, since its pages may have been given back. If that fails, it is released. */
export function fillTaken(core: Core, blocks: BlockMemory): void {
  const { block, granule } = core;
  const mapped = blocks.at(block);
  const start = granule << mapped.granuleShift;
  const length = core.lengthAt(block, granule) << mapped.granuleShift;
  try {
    blocks.fill(mapped, start, length);
  } catch (error) {
    core.free(block, granule, true);
    throw error;
  }
}

/** Fills an allocation that is about to be released. */
export function fillReleased(core: Core, blocks: BlockMemory, mapped: MappedBlock, granule: number): void {
  const length = core.lengthAt(mapped.block, granule) << mapped.granuleShift;
  // Out of the ledger before it is filled: if this thread stops in between, the allocation is gone, not overwritten.
  const generation = strikeOut(core.words, mapped.block, granule);
  try {
    blocks.fill(mapped, granule << mapped.granuleShift, length, true);
  } catch (error) {
    restore(core.words, mapped.block, granule, generation);
    throw error;
  }
}

/** Fills the end of an allocation that is about to be shortened from `count` to `newCount` granules. */
export function fillCutOff(
  core: Core,
  blocks: BlockMemory,
  mapped: MappedBlock,
  granule: number,
  count: number,
  newCount: number,
): void {
  const start = (granule + newCount) << mapped.granuleShift;
  shortenEntry(core.words, mapped.block, granule, newCount);
  try {
    blocks.fill(mapped, start, (count - newCount) << mapped.granuleShift, true);
  } catch (error) {
    shortenEntry(core.words, mapped.block, granule, count);
    throw error;
  }
}
