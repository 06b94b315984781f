/**
 * `node dist/bench/docs.js [RESULTS.json]`: writes docs/benchmarks.md and its charts from kept results, the latest
 * ones by default.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkBounds, churnRatios, reservedRatio, totalRatio } from "./bounds.ts";
import { drawCharts, type Chart } from "./charts.ts";
import { callResultsPath, insideResultsPath, repositoryPath, resultsFolder } from "./paths.ts";
import { figure } from "./report.ts";
import {
  sideOf,
  type BenchResults,
  type CallResults,
  type InsideResults,
  type MicroResult,
  type TraceResult,
} from "./results.ts";
import { median, type Side } from "./turns.ts";

/** The version of Debian 12's asmjit, from its headers. */
const DEBIAN_ASMJIT = "1.9.0";
const aboutDebianAsmjit =
  "- asmjit is the version that Debian 12 has: 1.9.0, its sources of December 2022. In later ones (1.22 was looked at) " +
  "code is appended without a search to a block that has no holes, blocks grow up to 64 MiB instead of 32, and holes " +
  "are still found by a scan.";

const sides: readonly Side[] = ["asmjit", "address", "span"];

/** A Markdown table, its columns padded as the formatter pads them; all but the first are numbers, to the right. */
function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${header
      .map((_, column) => {
        const cell = cells[column] ?? "";
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join(" | ")} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(header), `| ${rule.join(" | ")} |`, ...rows.map(line)].join("\n");
}

function boundsSection(results: BenchResults): string {
  const rows = checkBounds(results).map(({ bound, value, verdict, detail }) => {
    const sign = bound.better === "more" ? "≥" : "≤";
    const where = detail === "" ? "" : ` (${detail})`;
    return [
      `${bound.measure}${where}`,
      figure(value),
      `${sign} ${bound.required}`,
      `${sign} ${bound.aim}`,
      verdict,
    ];
  });
  const explanation =
    "Bounds that this project set itself: _required_ must be met, _aim_ should be. The verdict is the better one that " +
    "is met, MISS where neither is. What stands in the way of those that miss: " +
    "[performance](performance.md#what-stands-in-the-way).";
  return `${explanation}\n\n${markdownTable(["measure", "here", "required", "aim", "verdict"], rows)}`;
}

function totalsSection(results: BenchResults): string {
  const workloads = results.traces.filter((trace) => trace.group === "workload");
  const rows = workloads.map((trace) => [
    `\`${trace.name}\`: ${trace.summary}`,
    ...sides.map((side) => {
      const totalMs = sideOf(trace, side)?.totalMs;
      return figure(totalMs === undefined ? undefined : (totalMs * 1e6) / trace.operations);
    }),
    figure(totalRatio(trace)),
  ]);
  return markdownTable(["ns per operation", "asmjit", "addresses", "spans", "asmjit / addresses"], rows);
}

function steadySection(results: BenchResults): string {
  const rows = results.traces
    .filter((trace) => trace.group === "steady")
    .map((trace) => {
      // Phase 1 comes after the phase that fills.
      const [theirs, ours, spans] = sides.map((side) => sideOf(trace, side)?.phases[1]?.ns);
      const ratio = theirs === undefined || ours === undefined ? undefined : theirs / ours;
      return [trace.summary, figure(theirs), figure(ours), figure(spans), figure(ratio)];
    });
  return markdownTable(["ns per operation", "asmjit", "addresses", "spans", "asmjit / addresses"], rows);
}

function memorySection(results: BenchResults): string {
  const kib = (bytes: number | undefined): string => (bytes === undefined ? "-" : figure(bytes / 1024));
  const single = results.traces.filter((trace) => trace.group !== "churn");
  const rows = single.map((trace) => {
    const theirs = sideOf(trace, "asmjit");
    const ours = sideOf(trace, "address");
    return [
      `\`${trace.name}\``,
      kib(ours?.peakUsedBytes),
      kib(theirs?.peakReservedBytes),
      kib(ours?.peakReservedBytes),
      kib(theirs?.overheadBytes),
      kib(ours?.overheadBytes),
    ];
  });
  const table = markdownTable(
    ["KiB at the peak", "used", "reserved, asmjit", "reserved, ours", "metadata, asmjit", "metadata, ours"],
    rows,
  );
  const ratios = churnRatios(results.traces);
  const churn =
    ratios.length === 0
      ? ""
      : `\n\nThe churns, ours / asmjit: median ${figure(median(ratios))}, worst ${figure(Math.max(...ratios))}, ` +
        `best ${figure(Math.min(...ratios))} of ${ratios.length} seeds.`;
  const excesses = single.flatMap((trace) => {
    const ratio = reservedRatio(trace) ?? 0;
    return ratio > 1 ? [`\`${trace.name}\`, by ${((ratio - 1) * 100).toFixed(1)} %`] : [];
  });
  if (excesses.length === 0) return `${table}${churn}`;
  return `${table}${churn}\n\nMore is reserved here for ${excesses.join("; ")}: see [how blocks grow](architecture.md#how-blocks-grow).`;
}

function phasesSection(trace: TraceResult): string {
  const phases = trace.sides[0]?.phases ?? [];
  const rows = phases.map((phase, index) => {
    const ns = sides.map((side) => sideOf(trace, side)?.phases[index]?.ns);
    const [theirs, ours] = ns;
    const ratio = theirs === undefined || ours === undefined ? undefined : theirs / ours;
    return [phase.name, phase.operations.toLocaleString("en-US"), ...ns.map(figure), figure(ratio)];
  });
  const header = ["ns per operation", "operations", "asmjit", "addresses", "spans", "asmjit / addresses"];
  return `### ${trace.name}\n\n${markdownTable(header, rows)}`;
}

/** The small measurements that stand in one table; nothing where the results have none. */
function smallTable(results: BenchResults, table: MicroResult["table"]): string {
  const chosen = results.micro.filter((result) => result.table === table);
  const rows = chosen.map(({ name, value, unit }) => [name, figure(value), unit]);
  return rows.length === 0 ? "" : markdownTable(["what", "median", "unit"], rows);
}

/** What it costs that no code is freed while it runs: of a run of its own. */
function insideSection(): string {
  const heading = "## Code that is not freed while it runs";
  if (!existsSync(insideResultsPath))
    return `${heading}\n\nNot measured for this page yet: \`npm run bench:inside\` does, and saves what it found.`;
  const { environment, inside } = JSON.parse(readFileSync(insideResultsPath, "utf8")) as InsideResults;
  const rows = inside.flatMap(({ runtime, calls, retire }) =>
    calls.map(({ threads, own, unguarded, shared }) => [
      runtime,
      String(threads),
      ...[own, unguarded, shared, shared - unguarded].map((nanoseconds) => nanoseconds.toFixed(1)),
      ...[own, unguarded, shared].map((nanoseconds) => ((threads * 1000) / nanoseconds).toFixed(1)),
      threads === 1 ? retire.toFixed(0) : "",
    ]),
  );
  const explanation =
    `Written by \`npm run bench:inside\` on ${environment.date.slice(0, 10)} at commit ${environment.commit}: a call of ` +
    "`toFunction` in allocators of each thread's own, and in one that they share, where each call enters and leaves (unguarded: where it does not); the best of three " +
    "processes. To retire is measured while another thread may be running the code.";
  const header = [
    ...["runtime", "threads", "own, ns", "unguarded, ns", "shared, ns", "entering and leaving, ns"],
    ...["own, million calls/s", "unguarded, million calls/s", "shared, million calls/s", "retire, ns"],
  ];
  return `${heading}\n\n${explanation}\n\n${markdownTable(header, rows)}`;
}

/** What calls and callbacks cost on each runtime: of a run of its own; nothing where there is none. */
function callsSection(): string {
  if (!existsSync(callResultsPath)) return "";
  const { environment, calls } = JSON.parse(readFileSync(callResultsPath, "utf8")) as CallResults;
  const rows = calls.map(({ runtime, kind, count, ours, raw, way }) => [
    `${runtime}, ${kind}${count === 1 ? "" : `, ${count} functions in turn`}`,
    figure(ours),
    figure(raw),
    way,
    figure(ours / raw),
  ]);
  const explanation =
    `Written by \`npm run bench:calls\` on ${environment.date.slice(0, 10)} at commit ${environment.commit}: ` +
    "the best of three processes each, with this library and by the best way that the runtime has without. Of a callback " +
    "it is a call of machine code that jumps to it.";
  const header = ["ns per call", "here", "without", "by", "here / without"];
  return `## Calls and callbacks\n\n${explanation}\n\n${markdownTable(header, rows)}`;
}

function image(chart: Chart | undefined): string {
  return chart === undefined ? "" : `![${chart.title}](charts/${chart.name}.svg)`;
}

function page(results: BenchResults, charts: readonly Chart[]): string {
  const { environment, turns, allocatorFlags } = results;
  const chart = (name: string): string => image(charts.find((candidate) => candidate.name === name));
  const linking = smallTable(results, "linking");
  const asmjit =
    environment.asmjit === null
      ? "asmjit was not there"
      : `asmjit ${environment.asmjit} (Debian's libasmjit-dev), ${environment.compiler ?? "g++"} -O2`;
  return `${[
    "# Benchmarks",
    "This page is written by `npm run bench:docs` from the results of `npm run bench`; do not edit it.",
    `Measured on ${environment.date.slice(0, 10)} at commit ${environment.commit}${environment.modified ? " (modified)" : ""}: ` +
      `${environment.processor}, ${environment.cores} cores, ${environment.system}, Node ${environment.node}, ` +
      `koffi ${environment.koffi}; ${asmjit}.`,
    "## The bounds",
    boundsSection(results),
    "## Whole traces",
    chart("totals"),
    totalsSection(results),
    "## Phases",
    chart("phases"),
    ...results.traces.filter((trace) => trace.group === "workload").map(phasesSection),
    "## The number of live allocations",
    chart("steady"),
    steadySection(results),
    "## Memory",
    memorySection(results),
    "## Small measurements",
    smallTable(results, undefined),
    linking === "" ? "" : `## Code that reaches code\n\n${linking}`,
    callsSection(),
    insideSection(),
    "## How it is measured",
    [
      "- Both sides read the same file, and parse it before the first clock is read. The clock is read at the ends of a phase, never per operation, around nothing but the loop that calls the allocator.",
      `- Each side runs a trace in a process of its own, in turns: asmjit, addresses, spans, asmjit, … A process runs a few rounds, each on a fresh allocator, and the best counts; the figures are medians over ${turns} turns.`,
      `- Both sides run with ${allocatorFlags.map((flag) => `\`${flag}\``).join(" ")}: the same kind of mapping, block size and granularity. asmjit has one mapping by default and this project two; \`--mapping single\` compares the other way.`,
      "- Peaks are read in one more round that is not timed, at the end of each run of allocations, which is where they stand.",
      "- `addresses` is `allocAddress`, `spans` is `alloc`; a trace's slots hold on to what they got, so that the garbage collector's work on live spans is part of the figure.",
      "- `hotspot-javap` is the nmethods that OpenJDK 17 installed and evicted in a code cache of 8 MiB while it disassembled the JDK; `v8-tsc` is the code objects that V8 (Node 20) made while `tsc` checked its own declarations. Both were derived from the compilers' own logs (`-XX:+LogCompilation`, `--log-code`): a code object ends when a later one takes its addresses. They are in `bench/traces/`.",
      "- The other traces, `steady-N` among them, are made by `bench/workloads.ts`; all randomness is seeded.",
      "- Every figure of every turn is in `bench/results/`, as JSON and CSV.",
      ...(environment.asmjit === DEBIAN_ASMJIT ? [aboutDebianAsmjit] : []),
    ].join("\n"),
  ]
    .filter((part) => part !== "")
    .join("\n\n")}\n`;
}

/** The path of the latest results. */
function latestResults(): string {
  const names = readdirSync(resultsFolder).filter((name) => /^\d.*\.json$/.test(name));
  // The names are dates, so the last one in order is the latest.
  const latest = names.sort().at(-1);
  if (latest === undefined) throw new Error("There are no results yet: npm run bench makes some");
  return join(resultsFolder, latest);
}

const path = process.argv[2] ?? latestResults();
const results = JSON.parse(readFileSync(path, "utf8")) as BenchResults;
const charts = drawCharts(results);
mkdirSync(repositoryPath("docs/charts"), { recursive: true });
for (const chart of charts) writeFileSync(repositoryPath(`docs/charts/${chart.name}.svg`), chart.svg);
writeFileSync(repositoryPath("docs/benchmarks.md"), page(results, charts));
process.stdout.write(`docs/benchmarks.md and ${charts.length} charts, from ${path}\n`);
