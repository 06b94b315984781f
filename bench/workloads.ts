/** The workloads that the benchmarks make themselves, as traces; each has a description beside it. */
import { Random } from "./random.ts";
import { TraceWriter } from "./trace-writer.ts";

/** A workload that is written by a program, not recorded. */
export interface Workload {
  /** Its name for `--only`, and the name of its file. */
  readonly name: string;
  /** One line on its origin and its requests. */
  readonly summary: string;
  /** Writes the trace, with phases; the same bytes each time. */
  write(trace: TraceWriter, random: Random): void;
}

/** The seed of every workload. Each has its own {@link Random}, so that workloads do not depend on each other. */
const WORKLOAD_SEED = 0x1234_5678;

/** asmjit's unit test, in its order; `slots` is its array of pointers, with the trace's ids in it. */
function writeUnit(trace: TraceWriter, random: Random): void {
  const count = 100_000;
  const half = count / 2;
  const slots = Int32Array.from({ length: count }, (_, index) => index);
  const slot = (index: number): number => slots[index] ?? 0;
  const randomSize = (): number => random.between(8, 1031);

  trace.phase("allocate 8-1031 B");
  for (let i = 0; i < count; i++) trace.alloc(slot(i), randomSize());
  trace.phase("release from the start");
  for (let i = 0; i < count; i++) trace.release(slot(i));
  trace.phase("allocate 8-1031 B again");
  for (let i = 0; i < count; i++) trace.alloc(slot(i), randomSize());
  random.shuffle(slots);
  trace.phase("release half, shuffled");
  for (let i = 0; i < half; i++) trace.release(slot(i));
  trace.phase("refill the half");
  for (let i = 0; i < half; i++) trace.alloc(slot(i), randomSize());
  trace.phase("release from the end");
  for (let i = count - 1; i >= 0; i--) trace.release(slot(i));

  trace.phase("allocate 256 B");
  for (let i = 0; i < half; i++) trace.alloc(slot(i), 256);
  trace.phase("shrink 256 B to 1 B");
  for (let i = 0; i < half; i++) trace.shrink(slot(i), 1);
  trace.phase("refill with 64 B");
  for (let i = half; i < count; i++) trace.alloc(slot(i), 64);
  trace.phase("release the 64 B from the start");
  for (let i = 0; i < count; i++) trace.release(slot(i));

  trace.phase("allocate 256 B again");
  for (let i = 0; i < count; i++) trace.alloc(slot(i), 256);
  random.shuffle(slots);
  trace.phase("release half of the 256 B, shuffled");
  for (let i = 0; i < half; i++) trace.release(slot(i));
  trace.phase("refill with 256 B");
  for (let i = 0; i < half; i++) trace.alloc(slot(i), 256);
  trace.phase("release the 256 B from the end");
  for (let i = count - 1; i >= 0; i--) trace.release(slot(i));
}

/** A tiered compiler in its steady state: functions of every size come and go, none in any order. */
function writeTier(trace: TraceWriter, random: Random): void {
  const live = 50_000;
  const turns = 200_000;
  const randomSize = (): number => {
    const size = Math.round(400 * Math.exp(1.1 * random.normal()));
    return Math.min(Math.max(size, 1), 64 * 1024);
  };
  trace.phase("fill");
  for (let id = 0; id < live; id++) trace.alloc(id, randomSize());
  trace.phase("release one, allocate another");
  for (let i = 0; i < turns; i++) {
    const id = random.below(live);
    trace.release(id);
    trace.alloc(id, randomSize());
  }
  trace.phase("query");
  for (let i = 0; i < turns; i++) trace.query(random.below(live));
  trace.phase("drain");
  for (let id = 0; id < live; id++) trace.release(id);
}

/** The worst case of an allocator that scans: a hundred thousand holes, each too small. */
function writeFrag(trace: TraceWriter): void {
  const count = 200_000;
  trace.phase("allocate 64 B");
  for (let id = 0; id < count; id++) trace.alloc(id, 64);
  trace.phase("release every other one");
  for (let id = 0; id < count; id += 2) trace.release(id);
  trace.phase("allocate 128 B");
  for (let id = 0; id < 20_000; id++) trace.alloc(count + id, 128);
}

/** The best case of an allocator with a bump mode. */
function writeLifo(trace: TraceWriter): void {
  trace.phase("allocate 300 B, release it");
  trace.alloc(0, 300);
  for (let i = 0; i < 500_000; i++) {
    trace.alloc(1, 300);
    trace.release(1);
  }
}

/** More live code than any cache holds. */
function writeMillion(trace: TraceWriter, random: Random): void {
  const count = 1_000_000;
  const slots = Int32Array.from({ length: count }, (_, index) => index);
  trace.phase("allocate 64-511 B");
  for (let id = 0; id < count; id++) trace.alloc(id, random.between(64, 511));
  trace.phase("query");
  for (let i = 0; i < 500_000; i++) trace.query(random.below(count));
  random.shuffle(slots);
  trace.phase("release, shuffled");
  for (const id of slots) trace.release(id);
}

/** The numbers of live allocations at which a steady state is measured. */
export const steadyCounts = [1_000, 10_000, 100_000, 1_000_000] as const;

/** A steady state: `live` allocations, of which a random one is released and another made, again and again. */
function steadyWorkload(live: number): Workload {
  return {
    name: `steady-${live}`,
    summary: `a steady state of ${live.toLocaleString("en-US")} live allocations`,
    write(trace, random) {
      const randomSize = (): number => random.between(8, 1031);
      trace.phase("fill");
      for (let id = 0; id < live; id++) trace.alloc(id, randomSize());
      trace.phase("release one, allocate another");
      // The same number at every count, so that the figures differ by nothing else.
      for (let i = 0; i < 25_000; i++) {
        const id = random.below(live);
        trace.release(id);
        trace.alloc(id, randomSize());
      }
    },
  };
}

/** One for each of {@link steadyCounts}. */
export const steadyWorkloads: readonly Workload[] = steadyCounts.map(steadyWorkload);

/** A compiler that starts: a thousand operations, of which every third one is a release. */
export const coldWorkload: Workload = {
  name: "cold",
  summary: "the first 1,000 operations of a process",
  write(trace, random) {
    const live: number[] = [];
    for (let id = 0, count = 0; count < 1000; count++) {
      if (count % 3 === 2) trace.release(live.splice(random.below(live.length), 1)[0] ?? 0);
      else {
        trace.alloc(id, random.between(8, 1031));
        live.push(id++);
      }
    }
  },
};

/** Every made workload, in the order in which the tables show them. */
export const workloads: readonly Workload[] = [
  { name: "unit", summary: "asmjit's own unit test with 100,000 allocations", write: writeUnit },
  { name: "tier", summary: "50,000 live functions of log-normal size, replaced at random", write: writeTier },
  { name: "frag", summary: "100,000 holes of 64 B, then requests for 128 B", write: writeFrag },
  { name: "lifo", summary: "allocate 300 B and release it, 500,000 times", write: writeLifo },
  { name: "million", summary: "1,000,000 live allocations of 64-511 B", write: writeMillion },
];

/** The text of a workload's trace. */
export function workloadTrace(workload: Workload): Uint8Array {
  const trace = new TraceWriter();
  trace.comment(`${workload.name}: ${workload.summary}; seed 0x${WORKLOAD_SEED.toString(16)}`);
  workload.write(trace, new Random(WORKLOAD_SEED));
  return trace.bytes();
}
