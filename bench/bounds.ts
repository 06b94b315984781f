/** The bounds that this project has set itself, and the check whether a run keeps them. */
import { sideOf, type BenchResults, type TraceResult } from "./results.ts";
import { median, type Side, type SideResult } from "./turns.ts";

/** The name of the figure of `objects-child.ts`, in nanoseconds per operation. */
export const objectsAlone = "tier, each address in an object of one field";

/** A figure that a run has to reach. */
export interface Bound {
  readonly measure: string;
  /** Whether larger or smaller is better. */
  readonly better: "more" | "less";
  /** The figure it must reach, and the one it should. */
  readonly required: number;
  readonly aim: number;
  /** Computes the figure; undefined where the run did not measure its inputs. `detail` says which case it is about. */
  find(results: BenchResults): { readonly value: number; readonly detail?: string } | undefined;
}

/** A bound, and the figure of a run. */
export interface BoundResult {
  readonly bound: Bound;
  readonly value: number;
  readonly detail: string;
  readonly verdict: "aim" | "pass" | "MISS";
}

/** asmjit's time over this project's, for the whole of a trace. */
export function totalRatio(trace: TraceResult): number | undefined {
  const theirs = sideOf(trace, "asmjit");
  const ours = sideOf(trace, "address");
  return theirs === undefined || ours === undefined ? undefined : theirs.totalMs / ours.totalMs;
}

/** Peak reserved bytes, this project's over asmjit's. */
export function reservedRatio(trace: TraceResult): number | undefined {
  const theirs = sideOf(trace, "asmjit");
  const ours = sideOf(trace, "address");
  return theirs === undefined || ours === undefined
    ? undefined
    : ours.peakReservedBytes / theirs.peakReservedBytes;
}

function total(name: string, required: number, aim: number): Bound {
  return {
    measure: `${name} total, asmjit / ours`,
    better: "more",
    required,
    aim,
    find({ traces }) {
      const trace = traces.find((candidate) => candidate.name === name);
      const value = trace === undefined ? undefined : totalRatio(trace);
      return value === undefined ? undefined : { value };
    },
  };
}

function micro(measure: string, over: string, under: string, required: number, aim: number): Bound {
  return {
    measure,
    better: "less",
    required,
    aim,
    find({ micro }) {
      const dividend = micro.find((result) => result.name === over);
      const divisor = micro.find((result) => result.name === under);
      if (dividend === undefined || divisor === undefined) return undefined;
      return { value: dividend.value / divisor.value };
    },
  };
}

/** A bound on a figure itself. */
function single(name: string, required: number, aim: number): Bound {
  return {
    measure: name,
    better: "less",
    required,
    aim,
    find: ({ micro }) => micro.find((result) => result.name === name),
  };
}

/** The traces that the bounds are about. */
function workloadsOf(results: BenchResults): TraceResult[] {
  return results.traces.filter((trace) => trace.group === "workload");
}

/** The worst of `cases`, by the direction of the bound. */
function worst(
  cases: readonly { readonly value: number; readonly detail: string }[],
  better: "more" | "less",
): { readonly value: number; readonly detail: string } | undefined {
  const sorted = [...cases].sort((a, b) => (better === "more" ? a.value - b.value : b.value - a.value));
  return sorted[0];
}

const weakestPhase: Bound = {
  measure: "the weakest phase of any trace, asmjit / ours",
  better: "more",
  required: 0.3,
  aim: 1,
  find(results) {
    const cases = workloadsOf(results).flatMap((trace) => {
      const ours = sideOf(trace, "address");
      return (sideOf(trace, "asmjit")?.phases ?? []).flatMap((phase, index) => {
        const peer = ours?.phases[index];
        if (peer === undefined || phase.operations === 0) return [];
        return [{ value: phase.ns / peer.ns, detail: `${trace.name}, ${phase.name}` }];
      });
    });
    return worst(cases, "more");
  },
};

const spanOverAddress: Bound = {
  measure: "Span API over address API, tier",
  better: "less",
  required: 1.8,
  aim: 1.3,
  find({ traces, micro }) {
    const tier = traces.find((trace) => trace.name === "tier");
    const span = sideOf(tier, "span");
    const address = sideOf(tier, "address");
    if (tier === undefined || span === undefined || address === undefined) return undefined;
    const value = span.totalMs / address.totalMs;
    // The least that spans can cost: the same trace with only an object for each address.
    const objects = micro.find(({ name }) => name === objectsAlone);
    if (objects === undefined) return { value };
    const least = (objects.value * tier.operations) / 1e6 / address.totalMs;
    return { value, detail: `objects alone ${least.toFixed(2)}` };
  },
};

const peakReserved: Bound = {
  measure: "peak reserved bytes, ours / asmjit, the worst trace, steady states apart",
  better: "less",
  required: 1,
  aim: 0.8,
  find(results) {
    const cases = workloadsOf(results).flatMap((trace) => {
      const value = reservedRatio(trace);
      return value === undefined ? [] : [{ value, detail: trace.name }];
    });
    return worst(cases, "less");
  },
};

/** Peak reserved bytes over asmjit's, for each churn. */
export function churnRatios(traces: readonly TraceResult[]): number[] {
  return traces.flatMap((trace) => (trace.group === "churn" ? (reservedRatio(trace) ?? []) : []));
}

function churn(
  which: string,
  required: number,
  aim: number,
  summarize: (ratios: readonly number[]) => number,
): Bound {
  return {
    measure: `peak reserved bytes, ours / asmjit, ${which}`,
    better: "less",
    required,
    aim,
    find({ traces }) {
      const ratios = churnRatios(traces);
      return ratios.length === 0 ? undefined : { value: summarize(ratios) };
    },
  };
}

/** The metadata of one side of a trace, as a part of some other bytes. */
function metadata(measure: string, name: string, side: Side, ofBytes: (side: SideResult) => number): Bound {
  return {
    measure: `metadata / ${measure}`,
    better: "less",
    required: 0.025,
    aim: 0.01,
    find({ traces }) {
      const trace = traces.find((candidate) => candidate.name === name);
      const ours = sideOf(trace, side);
      return ours === undefined ? undefined : { value: ours.overheadBytes / ofBytes(ours) };
    },
  };
}

const steadyGrowth: Bound = {
  measure: "ns per operation, 1,000,000 live over 1,000 live",
  better: "less",
  required: 5,
  aim: 2,
  find({ traces }) {
    const at = (live: number): number | undefined => {
      const trace = traces.find((candidate) => candidate.name === `steady-${live}`);
      // The phase after the one that fills.
      return sideOf(trace, "address")?.phases[1]?.ns;
    };
    const few = at(1_000);
    const many = at(1_000_000);
    return few === undefined || many === undefined ? undefined : { value: many / few };
  },
};

const nativeCalls: Bound = {
  measure: "native calls in a steady state of alloc, write, release",
  better: "less",
  required: 0,
  aim: 0,
  find({ micro }) {
    const counted = micro.find((result) => result.name === "native calls, steady state");
    return counted === undefined ? undefined : { value: counted.value };
  },
};

/** Every bound. */
const bounds: readonly Bound[] = [
  total("unit", 5, 10),
  total("tier", 30, 60),
  total("frag", 120, 300),
  total("hotspot-javap", 3.5, 5),
  total("v8-tsc", 1, 1.5),
  total("million", 0.7, 1.3),
  total("lifo", 0.5, 1),
  weakestPhase,
  spanOverAddress,
  peakReserved,
  churn("median of the churns", 1, 0.9, median),
  churn("the worst churn", 1.1, 1, (ratios) => Math.max(...ratios)),
  metadata("reserved bytes, unit", "unit", "address", (ours) => ours.peakReservedBytes),
  metadata("used bytes, a million live spans", "million", "span", (ours) => ours.peakUsedBytes),
  steadyGrowth,
  micro("write of 256 B over Uint8Array.set", "write 256 B", "Uint8Array.set 256 B", 1.8, 1.4),
  micro(
    "runtime.add of 200 B over alloc and Uint8Array.set",
    "runtime.add of 200 B, and release",
    "alloc of 200 B, Uint8Array.set, and release",
    1.5,
    1.2,
  ),
  micro(
    "alloc and release: recorded before over never recorded",
    "alloc and release, recorded before",
    "alloc and release, never recorded",
    1.02,
    1.01,
  ),
  single("make a callable", 600, 200),
  single("life of a function: allocate, write, make callable, call, release", 1500, 700),
  micro(
    "import and first call over an empty process",
    "import and first call",
    "start of an empty process",
    1.5,
    1.25,
  ),
  single("first 1,000 operations", 1500, 500),
  micro(
    "call through toFunction over bare koffi",
    "call through toFunction",
    "call of a bare koffi function",
    1.15,
    1.05,
  ),
  nativeCalls,
  single("map a block and give it back: one range", 8, 5),
  single("make an allocator, allocate, dispose: one range", 32, 12),
  single("distance of the furthest two of 1.9 GiB, MiB: one range", 2047, 2047),
  single("mappings of 1.9 GiB: one range", 6, 4),
  micro(
    "resident after trim over the pages that hold what is live",
    "resident after trim, MiB: one range",
    "pages that hold what is live, MiB: one range",
    1.25,
    1.05,
  ),
];

/** Checks a run against the bounds; bounds without figures are left out. */
export function checkBounds(results: BenchResults): BoundResult[] {
  return bounds.flatMap((bound) => {
    const found = bound.find(results);
    if (found === undefined) return [];
    const reaches = (figure: number): boolean =>
      bound.better === "more" ? found.value >= figure : found.value <= figure;
    const verdict = reaches(bound.aim) ? "aim" : reaches(bound.required) ? "pass" : "MISS";
    return [{ bound, value: found.value, detail: found.detail ?? "", verdict }];
  });
}
