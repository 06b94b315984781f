/** Reads and changes the ledgers of all blocks of a shared allocator. The caller holds the lock. */
import { admitSpans, findBlock, generationsOf } from "../core/blocks.ts";
import { makeLedger, valueAt } from "../core/generations.ts";
import { readLedger, RETIRED } from "../core/ledger.ts";
import { startsOf } from "../core/survey.ts";
import type { Engine } from "../engine/engine.ts";
import { JitError } from "../base/errors.ts";
import type { Address } from "../ffi/contract.ts";
import { outOfMetadata, outOfReleases } from "../engine/refusals.ts";
import { needMuchStack } from "../base/stack.ts";
import { batchOf } from "./batches.ts";
import { Batches } from "./layout.ts";
import type { RegisterEntry } from "../engine/contract.ts";
import type { SharedState } from "./shared-state.ts";

/** The ledgers of one allocator, for a thread whose views cover the whole buffer. */
export class SharedLedgers {
  readonly #engine: Engine;
  readonly #state: SharedState;
  readonly #release: (address: Address) => void;

  /** @param release releases an allocation; the lock is held */
  constructor(engine: Engine, state: SharedState, release: (address: Address) => void) {
    this.#engine = engine;
    this.#state = state;
    this.#release = release;
  }

  /**
   * Turns the tables of generations into ledgers, for an allocator that was not shared before.
   * @returns the generations that tokens already name
   * @throws JitError `ERR_OUT_OF_MEMORY` where there is no room for the ledgers; no allocation has changed then
   */
  makeAll(): number[] {
    const { core, blocks } = this.#engine;
    for (let block = core.firstBlock(); block !== 0; block = core.nextBlock(block)) {
      if (!admitSpans(core, block)) throw outOfMetadata(blocks.at(block).sizeBytes, core.metadataLimit);
    }
    const contents = blocks.all().map((mapped) => {
      const starts = startsOf(core.words, mapped.block);
      return { mapped, starts, values: starts.map((granule) => valueAt(core.words, mapped.block, granule)) };
    });
    // From here on nothing can fail.
    for (const { mapped, starts, values } of contents) {
      generationsOf(core, mapped.block);
      makeLedger(core.words, mapped.block, starts, values, (granule, generation, before) => {
        mapped.noteGeneration(granule, generation, before);
      });
    }
    return contents.flatMap(({ values }) => values.filter((value) => value < 0));
  }

  /** The start addresses of a member's live allocations. */
  allocationsBy(member: number): Address[] {
    return this.#addressesOf((batch) => this.#state.batches.ownerOfBatch(batch) === member);
  }

  /** The start addresses of the live allocations of certain batches. */
  #addressesOf(isWanted: (batch: number) => boolean): Address[] {
    const addresses: Address[] = [];
    this.#read((entry, granule, generation) => {
      if (generation === RETIRED || !isWanted(batchOf(generation))) return;
      addresses.push(entry.rx + granule * 2 ** this.#engine.core.granuleShiftOf(entry.pool));
    });
    return addresses;
  }

  /** The number of live allocations of each member that has any. */
  countByMember(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const [batch, count] of this.#countByBatch()) {
      const owner = this.#state.batches.ownerOfBatch(batch);
      counts.set(owner, (counts.get(owner) ?? 0) + count);
    }
    return counts;
  }

  /**
   * Makes `heir` the owner of all live allocations of `member`, but for those of modules that are not whole, which it
   * releases. May be interrupted anywhere and repeated: each batch, with all its live allocations, belongs to one member or
   * the other.
   * @returns the number of allocations handed over
   */
  handOver(member: number, heir: number): number {
    const { batches } = this.#state;
    this.#releaseEach(
      this.#addressesOf((batch) => batches.isPending(batch) && batches.ownerOfBatch(batch) === member),
    );
    let handed = 0;
    for (const [batch, count] of this.#countByBatch()) {
      if (batches.ownerOfBatch(batch) !== member) continue;
      batches.handOver(batch, heir);
      handed += count;
    }
    return handed;
  }

  /**
   * Releases all live allocations of a member. An allocation stays as it is where the system refuses to unmap its block
   * or to let it be filled; the others are still released.
   * @returns the number of allocations released
   * @throws JitError where some could not be released; it says how many were, and what the system refused first
   */
  releaseAllBy(member: number): number {
    return this.#releaseEach(this.allocationsBy(member));
  }

  #releaseEach(addresses: readonly Address[]): number {
    needMuchStack();
    const failures: JitError[] = [];
    for (const address of addresses) {
      try {
        this.#release(address);
      } catch (error) {
        if (!(error instanceof JitError)) throw error;
        failures.push(error);
      }
    }
    const [first] = failures;
    if (first === undefined) return addresses.length;
    throw outOfReleases(addresses.length - failures.length, addresses.length, first);
  }

  /** For each batch, 1 where one of its generations is live. */
  usedBatches(): Uint8Array {
    const used = new Uint8Array(Batches.count);
    for (const batch of this.#countByBatch().keys()) used[batch] = 1;
    return used;
  }

  /** The number of live allocations of each batch that has any. */
  #countByBatch(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    this.#read((_entry, _granule, generation) => {
      if (generation !== RETIRED) addOne(counts, batchOf(generation));
    });
    return counts;
  }

  /** Checks the invariants 16 to 18. @throws Error at the first that does not hold */
  verify(): void {
    const { core, blocks } = this.#engine;
    const { register } = this.#state;
    const staying = register.staying();
    check(register.leaving().length === 0, 16, "a block is leaving, and nobody unmaps it");
    check(
      staying.length === core.blockCount,
      16,
      `${staying.length} blocks registered, not as many as there are`,
    );
    const live = new Map<number, number>();
    const generations: number[] = [];
    this.#read((entry, _granule, generation) => {
      addOne(live, entry.block);
      if (generation !== RETIRED) generations.push(generation);
    });
    this.#state.batches.verify(generations);
    for (const { block, rx, rw, sizeBytes } of staying) {
      const mapped = findBlock(core, rx) === block ? blocks.at(block) : undefined;
      check(
        mapped?.rx === rx && mapped.rw === rw && mapped.sizeBytes === sizeBytes,
        16,
        "an entry and its block",
      );
    }
    for (const info of this.#engine.describeBlocks()) {
      const registered = staying.find(({ rx }) => rx === info.rx);
      const known = live.get(registered?.block ?? 0) ?? 0;
      check(
        known === info.allocationCount,
        17,
        `${info.allocationCount} allocations, ${known} in the ledger`,
      );
    }
  }

  #read(visit: (entry: RegisterEntry, granule: number, generation: number) => void): void {
    const { core, options } = this.#engine;
    for (const entry of this.#state.register.staying()) {
      const capacity = entry.sizeBytes / 2 ** core.granuleShiftOf(entry.pool);
      const start = options.disableInitialPadding ? 0 : 1;
      readLedger(core.words, entry.generations, start, capacity, (granule, _count, generation) => {
        visit(entry, granule, generation);
      });
    }
  }
}

function addOne(counts: Map<number, number>, key: number): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function check(holds: boolean, invariant: number, what: string): void {
  if (!holds) throw new Error(`invariant ${invariant} is broken: ${what}`);
}
