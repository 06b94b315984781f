import assert from "node:assert/strict";
import { test } from "node:test";
import { checkBounds, objectsAlone } from "../../bench/bounds.ts";
import { toCsv, traceTable } from "../../bench/report.ts";
import type { BenchResults, TraceResult } from "../../bench/results.ts";
import { median, type Side, type SideResult } from "../../bench/turns.ts";

function side(name: Side, totalMs: number, phaseNs: number, reservedBytes: number): SideResult {
  return {
    side: name,
    totalMsOfTurns: [totalMs],
    totalMs,
    peakReservedBytes: reservedBytes,
    peakUsedBytes: 500,
    overheadBytes: 10,
    phases: [{ name: 'a "phase", too', operations: 4, nsOfTurns: [phaseNs], ns: phaseNs }],
  };
}

function trace(
  name: string,
  sides: readonly SideResult[],
  group: TraceResult["group"] = "workload",
): TraceResult {
  return { name, summary: "made up", operations: 4, rounds: 1, group, sides };
}

function results(traces: readonly TraceResult[]): BenchResults {
  const environment = {
    date: "2000-01-01T00:00:00.000Z",
    commit: "0",
    modified: false,
    processor: "p",
    cores: 1,
    memoryBytes: 1,
    system: "s",
    node: "n",
    koffi: "k",
    asmjit: null,
    compiler: null,
  };
  return { environment, turns: 1, allocatorFlags: [], traces, micro: [] };
}

const verdicts = (found: BenchResults): Record<string, [string, number]> =>
  Object.fromEntries(
    checkBounds(found).map(({ bound, verdict, value }) => [bound.measure, [verdict, value]]),
  );

test("a bound is missed, kept or at its aim", () => {
  const found = (oursMs: number): [string, number] | undefined =>
    verdicts(results([trace("unit", [side("asmjit", 100, 1, 1000), side("address", oursMs, 1, 1000)])]))[
      "unit total, asmjit / ours"
    ];
  assert.deepEqual(found(25), ["MISS", 4]);
  assert.deepEqual(found(20), ["pass", 5]);
  assert.deepEqual(found(10), ["aim", 10]);
});

test("the churns: the median and the worst of what is reserved", () => {
  const peaks = [800, 1000, 1200].map((ours, index) =>
    trace(`churn-${index}`, [side("asmjit", 1, 1, 1000), side("address", 1, 1, ours)], "churn"),
  );
  const found = verdicts(results(peaks));
  assert.deepEqual(found["peak reserved bytes, ours / asmjit, median of the churns"], ["pass", 1]);
  assert.deepEqual(found["peak reserved bytes, ours / asmjit, the worst churn"], ["MISS", 1.2]);
});

test("metadata of spans is compared with what they use", () => {
  const found = verdicts(results([trace("million", [side("span", 1, 1, 1000)])]));
  assert.deepEqual(found["metadata / used bytes, a million live spans"], ["pass", 0.02]);
});

test("the weakest phase and the worst peak are named", () => {
  const found = checkBounds(
    results([
      trace("unit", [side("asmjit", 1, 10, 1000), side("address", 1, 5, 800)]),
      trace("lifo", [side("asmjit", 1, 10, 1000), side("address", 1, 50, 1100)]),
    ]),
  );
  const weakest = found.find(({ bound }) => bound.measure.startsWith("the weakest phase"));
  assert.deepEqual(
    [weakest?.value, weakest?.verdict, weakest?.detail],
    [0.2, "MISS", 'lifo, a "phase", too'],
  );
  const peak = found.find(({ bound }) => bound.measure.startsWith("peak reserved"));
  assert.deepEqual([peak?.value, peak?.verdict, peak?.detail], [1.1, "MISS", "lifo"]);
});

test("beside what spans cost stands what objects cost alone", () => {
  const found = results([trace("tier", [side("address", 2, 1, 1), side("span", 5, 1, 1)])]);
  // 750,000 ns for each of four operations are 3 ms: half as much again as the addresses.
  const objects = { name: objectsAlone, unit: "ns", ofTurns: [750_000], value: 750_000 };
  const [span] = checkBounds({ ...found, micro: [objects] });
  assert.deepEqual([span?.value, span?.detail], [2.5, "objects alone 1.50"]);
});

test("what a run did not measure has no verdict", () => {
  assert.deepEqual(verdicts(results([trace("frag", [side("address", 1, 1, 1)])])), {});
  const span = verdicts(results([trace("tier", [side("address", 2, 1, 1), side("span", 3, 1, 1)])]));
  assert.deepEqual(span, { "Span API over address API, tier": ["pass", 1.5] });
});

test("tables and CSV show every side, with dashes where one did not run", () => {
  const alone = trace("frag", [side("address", 1, 7.25, 2048)]);
  assert.match(traceTable(alone), /a "phase", too +4 +- +7\.25 +- +-\n/);
  const csv = toCsv(results([alone])).split("\n");
  assert.equal(csv[0], "trace,phase,side,turn,value,unit");
  assert.equal(csv[1], 'frag,"a ""phase"", too",address,1,7.25,ns/op');
});

test("the median of an even number of values is the mean of the middle two", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});
