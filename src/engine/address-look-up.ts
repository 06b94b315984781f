/** Finds the allocations at the addresses that users give, and says why there is none. */
import type { BlockMemory } from "./block-memory.ts";
import type { Core } from "../core/core.ts";
import { Status } from "../core/status.ts";
import type { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import type { MappedBlock } from "./mapped-block.ts";
import * as refusals from "./refusals.ts";
import type { SpanAllocator } from "./span-identity.ts";

const { isIndex } = refusals;

/** Looks up addresses in one allocator. What it finds, the core then names. */
export class AddressLookUp {
  readonly #core: Core;
  readonly #blocks: BlockMemory;
  readonly #allocator: SpanAllocator;

  constructor(core: Core, blocks: BlockMemory, allocator: SpanAllocator) {
    this.#core = core;
    this.#blocks = blocks;
    this.#allocator = allocator;
  }

  /** Finds the allocation that begins at `address`. Returns its block. @throws JitError where there is none */
  beginningAt(address: Address, action: string): MappedBlock {
    const status = this.#core.locateStart(address);
    if (status !== Status.ok) throw this.refuse(action, address, status);
    this.#refuseRetired(action, address);
    return this.#blocks.at(this.#core.block);
  }

  /** Finds the allocation that contains `rx`. @throws JitError where there is none */
  containing(rx: Address): void {
    const core = this.#core;
    if (typeof rx === "number" && core.begins(rx)) {
      core.noteStart(rx);
    } else {
      const status = isIndex(rx) ? core.locate(rx) : Status.unknownAddress;
      if (status !== Status.ok) throw this.refuse("query", rx, status);
    }
    this.#refuseRetired("query", rx);
  }

  /** Refuses the place that the core names if it only waits to be freed. */
  #refuseRetired(action: string, address: Address): void {
    const { limbo } = this.#allocator;
    if (!limbo.isEmpty && limbo.has(this.#core.block, this.#core.granule))
      throw this.refuse(action, address, Status.notAllocated);
  }

  /** The start address of the allocation that contains `rx`. @throws JitError where there is none */
  startOf(rx: Address): Address {
    this.containing(rx);
    return this.#core.addressOf(this.#core.block, this.#core.granule);
  }

  /** The error for an address that the core has just refused with `status`; the core still names the place. */
  refuse(action: string, address: unknown, status: Status): JitError {
    this.#allocator.checkOpen(action);
    if (!isIndex(address)) return refusals.refuseAddress(action, address);
    if (status === Status.unknownAddress) return refusals.refuseUnknownAddress(action, address);
    const core = this.#core;
    const { block, granule } = core;
    const isInRetired = status === Status.interiorAddress && this.#allocator.limbo.has(block, granule);
    if (isInRetired || status === Status.notAllocated) return refusals.refuseFreeAddress(action, address);
    const size = core.lengthAt(block, granule) << core.granuleShiftOf(core.poolIndexOf(block));
    return refusals.refuseInterior(action, address, core.addressOf(block, granule), size);
  }
}
