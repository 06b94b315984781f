/** Room where no hole will do: a new block, the reserve, or the place of blocks that are empty. */
import { holdRefusals } from "../base/diagnostics.ts";
import { JitError, tellHeld } from "../base/errors.ts";
import { needMuchStack } from "../base/stack.ts";
import type { Core } from "../core/core.ts";
import { allocFromAnyHole } from "../core/holes.ts";
import { planBlock } from "../core/plan.ts";
import type { BlockMemory } from "./block-memory.ts";
import type { MappedBlock } from "./mapped-block.ts";
import type { ResolvedJitAllocatorOptions } from "./options.ts";
import { outOfLimit } from "./refusals.ts";

/** Makes room in the blocks of one allocator. */
export class NewRoom {
  /** Frees what was retired and that nobody can be running any more; returns true where that was something. */
  reclaim: (() => boolean) | undefined;
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #options: Readonly<ResolvedJitAllocatorOptions>;

  constructor(core: Core, blocks: BlockMemory, options: Readonly<ResolvedJitAllocatorOptions>) {
    this.#core = core;
    this.#blocks = blocks;
    this.#options = options;
  }

  /**
   * Takes room for `count` granules in a new block; where none can be mapped, in any hole that fits. Returns true where a
   * block was mapped.
   */
  make(pool: number, count: number, size: number): boolean {
    needMuchStack();
    const core = this.#core;
    this.#blocks.notePeak();
    if (this.reclaim?.() === true && core.alloc(pool, count)) return false;
    return this.withReserve(size, () => this.#makeBlock(pool, count, size));
  }

  #makeBlock(pool: number, count: number, size: number): boolean {
    const core = this.#core;
    const smallest = planBlock(core, pool, count, true);
    if (smallest === 0) {
      if (allocFromAnyHole(core, pool, count)) return false;
      this.#addInPlaceOfEmpty(pool, count, size);
    } else {
      const natural = planBlock(core, pool, count, false);
      try {
        holdRefusals(() => this.#blocks.add(pool, natural, size));
      } catch (error) {
        // Where the system has no room for a block of the natural size, two things are left to try: holes that are not
        // sure to be long enough, and a block just large enough for this request.
        const isShort = error instanceof JitError && error.code === "ERR_OUT_OF_MEMORY";
        if (isShort && allocFromAnyHole(core, pool, count)) return false;
        if (!isShort || smallest === natural) throw tellHeld(error);
        this.#blocks.add(pool, smallest, size);
      }
    }
    return core.alloc(pool, count);
  }

  /**
   * Maps the reserve, if there is to be one and is none yet, and then allocates. If that fails, the reserve goes again.
   * @param size bytes of the request, for messages
   */
  withReserve(size: number, allocate: () => boolean): boolean {
    const core = this.#core;
    const pool = core.reservePool;
    if (pool === -1 || core.oldestBlock(pool) !== 0) return allocate();
    this.#blocks.add(pool, this.#options.reserveForMustSucceed, size);
    try {
      return allocate();
    } catch (error) {
      this.#blocks.remove(this.#blocks.at(core.oldestBlock(pool)));
      throw error;
    }
  }

  /**
   * Adds a block where `maxReservedSize` leaves no room. The empty blocks that are kept count as reserved, and a new one of
   * `count` granules or more takes the place of as many as it needs.
   */
  #addInPlaceOfEmpty(pool: number, count: number, size: number): void {
    const core = this.#core;
    const replaced: MappedBlock[] = [];
    let room = 0;
    let planned = 0;
    for (let index = 0; index < core.poolCount && planned === 0; index++) {
      const empty = core.emptyBlock(index);
      if (empty === 0 || core.isReserve(empty)) continue;
      const mapped = this.#blocks.at(empty);
      replaced.push(mapped);
      room += mapped.sizeBytes;
      planned = planBlock(core, pool, count, true, room);
    }
    if (planned === 0) {
      const { reservedBytes, maxReservedBytes } = core;
      throw outOfLimit(size, reservedBytes, maxReservedBytes, this.#options.reserveForMustSucceed);
    }
    this.#blocks.add(pool, planned, size, replaced);
  }
}
