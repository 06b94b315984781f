/** Long churn: code of very different sizes comes and goes, while the live code stays just below a step of the block sizes. */
import { Random } from "./random.ts";
import type { TraceWriter } from "./trace-writer.ts";
import type { Workload } from "./workloads.ts";

/** How a churn looks. Sizes in bytes. */
interface ChurnShape {
  /** The median of the sizes, which are log-normal. */
  readonly medianSize: number;
  /** The deviation of their logarithm. */
  readonly sigma: number;
  readonly largestSize: number;
  /** The most live bytes. */
  readonly liveBytes: number;
  /** How far the live bytes fall below that now and then, as a part of it. */
  readonly swing: number;
  /** The number of allocations. */
  readonly allocations: number;
}

/** Writes a churn: whenever the live bytes reach their mark, which rises and falls, random ones are released. */
function writeChurn(trace: TraceWriter, random: Random, shape: ChurnShape): void {
  const ids: number[] = [];
  const sizes: number[] = [];
  let live = 0;
  trace.phase("churn");
  for (let id = 0; id < shape.allocations; id++) {
    const wanted = Math.round(shape.medianSize * Math.exp(shape.sigma * random.normal()));
    const size = Math.min(Math.max(wanted, 64), shape.largestSize);
    // The mark goes from its top to its bottom and back, 24 times.
    const wave = Math.abs((((id * 48) / shape.allocations) % 2) - 1);
    const mark = shape.liveBytes * (1 - shape.swing * wave);
    while (live + size > mark && ids.length > 0) {
      const index = random.below(ids.length);
      live -= sizes[index] ?? 0;
      trace.release(ids[index] ?? 0);
      ids[index] = ids.at(-1) ?? 0;
      sizes[index] = sizes.at(-1) ?? 0;
      ids.pop();
      sizes.pop();
    }
    trace.alloc(id, size);
    ids.push(id);
    sizes.push(size);
    live += size;
  }
}

/** The seeds of {@link churnWorkloads}: their number makes a median and a worst case worth looking at. */
const CHURN_SEEDS = 20;

/** A virtual machine with a small code cache, of 20 seeds: 3 MB of live code, where the blocks have a step at 4 MiB. */
export const churnWorkloads: readonly Workload[] = Array.from({ length: CHURN_SEEDS }, (_, index) => ({
  name: `churn-${index + 1}`,
  summary: `long churn below a block step, seed ${index + 1}`,
  write(trace) {
    writeChurn(trace, new Random(index + 1), {
      medianSize: 1536,
      sigma: 1.25,
      largestSize: 200 * 1024,
      // From seed to seed a little nearer to the step.
      liveBytes: 2_800_000 + 40_000 * index,
      swing: 0.1,
      allocations: 96_000,
    });
  },
}));
