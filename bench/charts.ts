/** Draws the results as SVG. */
import { createRequire } from "node:module";
import { sideOf, type BenchResults } from "./results.ts";
import type { Side } from "./turns.ts";
import { steadyCounts } from "./workloads.ts";

/** The part of echarts that is used. Its own types need the DOM's, which this project does not have. */
interface Echarts {
  init(
    element: null,
    theme: null,
    options: { renderer: "svg"; ssr: true; width: number; height: number },
  ): { setOption(option: object): void; renderToSVGString(): string; dispose(): void };
}
const require = createRequire(import.meta.url);
const echarts = require("echarts") as Echarts;

/** Colours that the colour-blind can tell apart (from the Okabe-Ito palette). */
const colors: Readonly<Record<Side, string>> = { asmjit: "#999999", address: "#0072b2", span: "#56b4e9" };
const AHEAD = "#009e73";
const BEHIND = "#d55e00";

const sideNames: Readonly<Record<Side, string>> = {
  asmjit: "asmjit (C++)",
  address: "jit-allocator, addresses",
  span: "jit-allocator, spans",
};
const sides: readonly Side[] = ["asmjit", "address", "span"];

/** A chart: the name of its file without the ending, a description in words, and the drawing. */
export interface Chart {
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

/** Draws a chart from options of echarts, in the common style of all charts here; `height` in pixels. */
export function draw(name: string, title: string, height: number, option: object): Chart {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 860, height });
  chart.setOption({
    animation: false,
    // A page may be dark, so the chart has its own background.
    backgroundColor: "#ffffff",
    title: { text: title, left: "center", textStyle: { fontSize: 15, fontWeight: "normal" } },
    ...option,
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return { name, title, svg: `${svg}\n` };
}

const logAxis = (name: string): object => ({
  type: "log",
  name,
  nameLocation: "middle",
  nameGap: 28,
  axisLabel: {
    // Only powers of ten are labelled: an axis that ends elsewhere would have a label there too.
    formatter: (value: number) => (Number.isInteger(Math.log10(value)) ? value.toLocaleString("en-US") : ""),
  },
});

function shown(value: number): string {
  // toPrecision(2) of 99.5 and more would be "1.0e+2".
  return value >= 99.5 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(2);
}

/** Nanoseconds per operation over the whole of each trace. */
function totalsChart(results: BenchResults): Chart {
  // A category axis counts from the bottom; the first trace belongs at the top.
  const traces = results.traces.filter((trace) => trace.group === "workload").reverse();
  return draw(
    "totals",
    "Nanoseconds per operation, whole trace (log scale; less is better)",
    90 + traces.length * 62,
    {
      legend: { top: 34, itemGap: 40, data: sides.map((side) => sideNames[side]) },
      grid: { left: 110, right: 60, top: 68, bottom: 48 },
      xAxis: logAxis("ns per operation"),
      yAxis: { type: "category", data: traces.map((trace) => trace.name) },
      series: sides.map((side) => ({
        name: sideNames[side],
        type: "bar",
        itemStyle: { color: colors[side] },
        label: { show: true, position: "right", formatter: ({ value }: { value: number }) => shown(value) },
        data: traces.map((trace) => {
          const totalMs = sideOf(trace, side)?.totalMs;
          return totalMs === undefined ? null : (totalMs * 1e6) / trace.operations;
        }),
      })),
    },
  );
}

/** asmjit's time over this project's, phase by phase. */
function phasesChart(results: BenchResults): Chart | undefined {
  const bars = results.traces
    .filter((trace) => trace.group === "workload")
    .flatMap((trace) => {
      const theirs = sideOf(trace, "asmjit");
      const ours = sideOf(trace, "address");
      return (theirs?.phases ?? []).flatMap((phase, index) => {
        const peer = ours?.phases[index];
        return peer === undefined
          ? []
          : [{ name: `${trace.name}: ${phase.name}`, ratio: phase.ns / peer.ns }];
      });
    })
    .reverse();
  if (bars.length === 0) return undefined;
  return draw(
    "phases",
    "asmjit's time / ours, by phase (log scale; above 1, we are faster)",
    90 + bars.length * 24,
    {
      grid: { left: 290, right: 60, top: 40, bottom: 48 },
      xAxis: logAxis("times"),
      yAxis: { type: "category", data: bars.map((bar) => bar.name) },
      series: [
        {
          type: "bar",
          label: { show: true, position: "right", formatter: ({ value }: { value: number }) => shown(value) },
          data: bars.map(({ ratio }) => ({
            value: ratio,
            itemStyle: { color: ratio >= 1 ? AHEAD : BEHIND },
          })),
          markLine: {
            symbol: "none",
            label: { show: false },
            lineStyle: { color: "#333333" },
            data: [{ xAxis: 1 }],
          },
        },
      ],
    },
  );
}

/** How the cost of an operation grows with the number of live allocations. */
function steadyChart(results: BenchResults): Chart {
  return draw(
    "steady",
    "Steady state: release a random one, allocate another (log scales; less is better)",
    380,
    {
      legend: { top: 34, itemGap: 40, data: sides.map((side) => sideNames[side]) },
      grid: { left: 80, right: 40, top: 74, bottom: 48 },
      // A little room at both ends, so that the first labels do not lie on the axis.
      xAxis: { ...logAxis("live allocations"), min: steadyCounts[0] / 2, max: steadyCounts[3] * 2 },
      yAxis: { ...logAxis("ns per operation"), nameGap: 52 },
      series: sides.map((side) => ({
        name: sideNames[side],
        type: "line",
        symbolSize: 8,
        itemStyle: { color: colors[side] },
        label: {
          show: true,
          // The lowest line has its labels below: above they would lie on the next one.
          position: side === "address" ? "bottom" : "top",
          formatter: ({ value }: { value: readonly number[] }) => shown(value[1] ?? NaN),
        },
        data: steadyCounts.flatMap((live) => {
          const trace = results.traces.find((candidate) => candidate.name === `steady-${live}`);
          const ns = sideOf(trace, side)?.phases[1]?.ns;
          return ns === undefined ? [] : [[live, ns]];
        }),
      })),
    },
  );
}

/** Every chart that the results have figures for. */
export function drawCharts(results: BenchResults): Chart[] {
  const phases = phasesChart(results);
  return [totalsChart(results), ...(phases === undefined ? [] : [phases]), steadyChart(results)];
}
