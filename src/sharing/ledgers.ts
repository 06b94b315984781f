/** What the ledgers of all blocks of a shared allocator say together. The lock is held. */
import { readLedger } from "../core/ledger.ts";
import type { RegisterEntry } from "../engine/contract.ts";
import type { Engine } from "../engine/engine.ts";
import type { Address } from "../ffi/contract.ts";
import { batchOf } from "./batches.ts";
import { Batches } from "./layout.ts";
import type { SharedState } from "./shared-state.ts";

/** The ledgers of one allocator, as a thread sees them that knows all of the buffer. */
export class SharedLedgers {
  readonly #engine: Engine;
  readonly #state: SharedState;

  constructor(engine: Engine, state: SharedState) {
    this.#engine = engine;
    this.#state = state;
  }

  /** Where what a member allocated and nobody released begins. */
  allocationsBy(member: number): Address[] {
    const addresses: Address[] = [];
    this.#read((entry, granule, generation) => {
      if (this.#state.batches.ownerOf(generation) !== member) return;
      addresses.push(entry.rx + granule * 2 ** this.#engine.core.granuleShiftOf(entry.pool));
    });
    return addresses;
  }

  /** How much that is, by member. */
  countByMember(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    this.#read((_entry, _granule, generation) => addOne(counts, this.#state.batches.ownerOf(generation)));
    return counts;
  }

  /** By batch: 1 where a generation of it is live. */
  usedBatches(): Uint8Array {
    const used = new Uint8Array(Batches.count);
    this.#read((_entry, _granule, generation) => {
      used[batchOf(generation)] = 1;
    });
    return used;
  }

  /** Checks the invariants 16 and 17. @throws Error at the first that does not hold */
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
    this.#read((entry) => addOne(live, entry.block));
    for (const { block, rx, rw, sizeBytes } of staying) {
      const mapped = core.find(rx) === block ? blocks.at(block) : undefined;
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
