/** The blocks that go with the release of several spans at once. */
import type { Core } from "../core/core.ts";
import { liveCountOf } from "../core/survey.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { MappedBlock } from "./mapped-block.ts";
import { spanAccess } from "./span.ts";
import type { Span } from "./span.ts";

/**
 * Unmaps the blocks that have nothing live but some of these spans, and that their pool does not keep. Unmapping is all that
 * the system can refuse of a release, so it comes first: where it refuses the first block, nothing has changed. Where it
 * refuses a later one, those before are gone, and the error is thrown with the rest as it was.
 *
 * @param spans live, each allocation once
 */
export function removeDoomed(core: Core, blocks: BlockMemory, spans: readonly Span[]): void {
  const counts = new Map<MappedBlock, number>();
  for (const span of spans) {
    const mapped = spanAccess.block(span);
    counts.set(mapped, (counts.get(mapped) ?? 0) + 1);
  }
  const emptied = [...counts]
    .filter(([mapped, count]) => liveCountOf(core.words, mapped.block) === count)
    .map(([mapped]) => mapped);
  for (const mapped of emptied.filter((each, index) => isSurplus(core, each, emptied.slice(0, index)))) {
    blocks.remove(mapped);
  }
}

/** Whether a block that goes empty after others is not kept: its pool has an empty block by then, or keeps none. */
function isSurplus(core: Core, mapped: MappedBlock, earlier: readonly MappedBlock[]): boolean {
  const pool = core.poolIndexOf(mapped.block);
  return (
    (core.immediateRelease && !core.isReserve(mapped.block)) ||
    core.emptyBlock(pool) !== 0 ||
    earlier.some(({ block }) => core.poolIndexOf(block) === pool)
  );
}
