/** Shortens allocations. */
import type { Core } from "../core/core.ts";
import type { BlockMemory } from "./block-memory.ts";
import { fillCutOff } from "./filling.ts";
import type { MappedBlock } from "./mapped-block.ts";
import { isIndex, refuseNewSize } from "./refusals.ts";

/**
 * Keeps the first `newSize` bytes of the allocation in `mapped` that the core names. Returns false, and has changed nothing,
 * where that is none of it.
 * @param fills whether free memory is filled
 * @throws JitError `ERR_INVALID_ARGUMENT` where it has not as many
 */
export function shrinkTo(
  core: Core,
  blocks: BlockMemory,
  mapped: MappedBlock,
  newSize: number,
  fills: boolean,
): boolean {
  const { granule } = core;
  const count = core.lengthAt(mapped.block, granule);
  const size = count << mapped.granuleShift;
  if (!isIndex(newSize) || newSize > size) throw refuseNewSize(newSize, size);
  const newCount = (newSize + (1 << mapped.granuleShift) - 1) >>> mapped.granuleShift;
  if (newCount === 0) return false;
  if (newCount === count) return true;
  if (fills) fillCutOff(core, blocks, mapped, granule, count, newCount);
  core.shrink(mapped.block, granule, count, newCount);
  return true;
}
