import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { OperationKind, readTrace, type Trace } from "../../src/cli/trace.ts";
import { Random } from "../../bench/random.ts";
import { placeTrace, suite } from "../../bench/suite.ts";
import { workloads, workloadTrace } from "../../bench/workloads.ts";

function traceOf(name: string): Trace {
  const workload = workloads.find((candidate) => candidate.name === name);
  assert.ok(workload);
  return readTrace(`${name}.trace`, workloadTrace(workload));
}

const phasesOf = (trace: Trace): [string, number][] =>
  trace.phases.map(({ name, start, end }) => [name, end - start]);

/** The sizes of the allocations of a phase. */
function sizesOf(trace: Trace, phase: number): number[] {
  const { start, end } = trace.phases[phase] ?? { start: 0, end: 0 };
  const sizes: number[] = [];
  for (let i = start; i < end; i++) {
    if (trace.kinds[i] === OperationKind.alloc) sizes.push(trace.sizes[i] ?? 0);
  }
  return sizes;
}

test("the same seed writes the same bytes", () => {
  const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  for (const workload of workloads.filter(({ name }) => name !== "million")) {
    assert.equal(hash(workloadTrace(workload)), hash(workloadTrace(workload)), workload.name);
  }
});

test("unit is asmjit's unit test, phase by phase", () => {
  const trace = traceOf("unit");
  assert.deepEqual(phasesOf(trace), [
    ["allocate 8-1031 B", 100_000],
    ["release from the start", 100_000],
    ["allocate 8-1031 B again", 100_000],
    ["release half, shuffled", 50_000],
    ["refill the half", 50_000],
    ["release from the end", 100_000],
    ["allocate 256 B", 50_000],
    ["shrink 256 B to 1 B", 50_000],
    ["refill with 64 B", 50_000],
    ["release the 64 B from the start", 100_000],
    ["allocate 256 B again", 100_000],
    ["release half of the 256 B, shuffled", 50_000],
    ["refill with 256 B", 50_000],
    ["release the 256 B from the end", 100_000],
  ]);
  const sizes = sizesOf(trace, 0);
  assert.equal(Math.min(...sizes.slice(0, 50_000)), 8);
  assert.equal(Math.max(...sizes.slice(0, 50_000)), 1031);
});

test("tier has log-normal sizes with a median of 400 B, and replaces at random", () => {
  const trace = traceOf("tier");
  assert.deepEqual(phasesOf(trace), [
    ["fill", 50_000],
    ["release one, allocate another", 400_000],
    ["query", 200_000],
    ["drain", 50_000],
  ]);
  const sizes = sizesOf(trace, 0).sort((a, b) => a - b);
  const quantile = (share: number): number => sizes[Math.floor(share * (sizes.length - 1))] ?? 0;
  assert.ok(Math.abs(quantile(0.5) / 400 - 1) < 0.05, `median ${quantile(0.5)}`);
  // One deviation above the median: a factor of e**1.1.
  assert.ok(Math.abs(quantile(0.8413) / (400 * Math.exp(1.1)) - 1) < 0.05, `84% ${quantile(0.8413)}`);
  assert.ok(quantile(1) <= 64 * 1024);
});

test("frag, lifo and million are what stands beside them", () => {
  assert.deepEqual(phasesOf(traceOf("frag")), [
    ["allocate 64 B", 200_000],
    ["release every other one", 100_000],
    ["allocate 128 B", 20_000],
  ]);
  assert.deepEqual(phasesOf(traceOf("lifo")), [["allocate 300 B, release it", 1_000_001]]);
  const million = traceOf("million");
  assert.deepEqual(phasesOf(million), [
    ["allocate 64-511 B", 1_000_000],
    ["query", 500_000],
    ["release, shuffled", 1_000_000],
  ]);
  const inOrder = million.slots
    .subarray(1_500_000)
    .every((slot, index, slots) => (slots[index - 1] ?? -1) < slot);
  assert.ok(!inOrder, "the releases are shuffled");
});

test("the recorded traces have the operations they are described with", () => {
  const counts = (name: string): number[] => {
    const trace = suite.find((candidate) => candidate.name === name);
    assert.ok(trace);
    const { kinds } = readTrace("x.trace", trace.read());
    const count = (kind: number): number => kinds.reduce((sum, each) => sum + (each === kind ? 1 : 0), 0);
    return [count(OperationKind.alloc), count(OperationKind.release)];
  };
  assert.deepEqual(counts("hotspot-javap"), [5770, 4743]);
  assert.deepEqual(counts("v8-tsc"), [1393, 34]);
});

test("a placed trace can be read by a side that does not unpack", () => {
  const trace = suite.find((candidate) => candidate.name === "v8-tsc");
  assert.ok(trace);
  assert.match(placeTrace(trace), /v8-tsc\.trace$/);
});

test("random numbers: in range, every value drawn, no order kept by a shuffle", () => {
  const random = new Random(7);
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) seen.add(random.between(3, 6));
  assert.deepEqual([...seen].sort(), [3, 4, 5, 6]);
  const values = Int32Array.from({ length: 100 }, (_, index) => index);
  random.shuffle(values);
  assert.notDeepEqual(
    [...values],
    [...values].sort((a, b) => a - b),
  );
  assert.deepEqual(
    [...values].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, index) => index),
  );
});
