/**
 * `node dist/bench/objects-child.js TRACE`: a trace on addresses, each kept in an object of one small integer; prints
 * JSON, nanoseconds per operation by name. It is the least that an interface with an object for each allocation can cost:
 * what spans cost beyond it is the library's, the rest is the runtime's.
 */
import { readFileSync } from "node:fs";
import { objectsAlone } from "./bounds.ts";
import { timeRound, type Replay } from "../src/cli/replay-rounds.ts";
import { OperationKind, readTrace, type Trace } from "../src/cli/trace.ts";
import { JitAllocator } from "../src/index.ts";

/** As many rounds as `tier` has elsewhere. */
const ROUNDS = 12;

/** Bytes. The granularity of the allocators here: any two addresses are a whole number of granules apart. */
const GRANULE_BYTES = 64;

/** An address, as its distance from another one in granules: an integer of 32 bits. */
class Place {
  granules: number;

  constructor(granules: number) {
    this.granules = granules;
  }
}

/** The trace on `allocAddress`, where a slot holds a {@link Place}. A query makes one too, as `query` makes a span. */
class ObjectReplay implements Replay {
  readonly trace: Trace;
  readonly #places: Place[];
  readonly #base: number;
  /** Holds the object of a query, which could otherwise be optimised away. */
  last: Place | undefined;

  constructor(trace: Trace, base: number) {
    this.trace = trace;
    this.#places = new Array<Place>(trace.slotCount);
    this.#base = base;
  }

  run(allocator: JitAllocator, start: number, end: number): void {
    const places = this.#places;
    const base = this.#base;
    const { kinds, slots, sizes } = this.trace;
    for (let i = start; i < end; i++) {
      const slot = slots[i]!;
      switch (kinds[i]) {
        case OperationKind.alloc:
          places[slot] = new Place(((allocator.allocAddress(sizes[i]!) - base) / GRANULE_BYTES) | 0);
          break;
        case OperationKind.release:
          allocator.release(base + places[slot]!.granules * GRANULE_BYTES);
          break;
        case OperationKind.shrink:
          allocator.shrink(base + places[slot]!.granules * GRANULE_BYTES, sizes[i]!);
          break;
        default: {
          const address = allocator.queryAddress(base + places[slot]!.granules * GRANULE_BYTES);
          this.last = new Place(((address - base) / GRANULE_BYTES) | 0);
        }
      }
    }
  }
}

/** An address not far from those of later allocators. */
function anyAddress(): number {
  using allocator = new JitAllocator();
  return allocator.allocAddress(GRANULE_BYTES);
}

const path = process.argv[2] ?? "";
const replay = new ObjectReplay(readTrace(path, readFileSync(path)), anyAddress());
let least = Infinity;
for (let round = 0; round < ROUNDS; round++) {
  const nanoseconds = timeRound(replay, { useDualMapping: true });
  least = Math.min(
    least,
    nanoseconds.reduce((sum, phase) => sum + phase, 0),
  );
}
const figures = { [objectsAlone]: least / replay.trace.operationCount };
process.stdout.write(`${JSON.stringify(figures)}\n`);
