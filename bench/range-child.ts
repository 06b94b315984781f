/**
 * `node dist/bench/range-child.js NAME`: what one range buys, each figure beside that of blocks mapped one by one, in one
 * process and in turns. Prints JSON: figures by name.
 */
import { readFileSync } from "node:fs";
import { JitAllocator, type JitAllocatorOptions, type Span } from "../src/index.ts";
import { Random } from "./random.ts";

type Figures = Readonly<Record<string, number>>;

const MiB = 2 ** 20;
const SEED = 0x1234_5678;
const WAYS: readonly (readonly [string, boolean])[] = [
  ["one range", true],
  ["a mapping a block", false],
];

/** The least microseconds of an act, for each way, in turns. */
function leastOfWays(
  label: string,
  calls: number,
  chunks: number,
  make: (useRange: boolean) => (() => void) & { end?: () => void },
): Figures {
  const acts = WAYS.map(([name, useRange]) => ({ name, act: make(useRange), least: Infinity }));
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const way of acts) {
      const before = performance.now();
      for (let call = 0; call < calls; call++) way.act();
      way.least = Math.min(way.least, ((performance.now() - before) * 1000) / calls);
    }
  }
  for (const { act } of acts) act.end?.();
  return Object.fromEntries(acts.map(({ name, least }) => [`${label}: ${name}`, least]));
}

/** A block mapped and given back, and the life of an allocator. */
function measureTimes(): Figures {
  const blocks = leastOfWays("map a block and give it back", 200, 30, (useRange) => {
    const allocator = new JitAllocator({ useRange, immediateRelease: true });
    allocator.allocAddress(60_000); // the range itself is reserved once
    const act = (): void => allocator.release(allocator.allocAddress(60_000));
    return Object.assign(act, { end: () => allocator.dispose() });
  });
  const lives = leastOfWays("make an allocator, allocate, dispose", 200, 30, (useRange) => () => {
    const allocator = new JitAllocator({ useRange });
    allocator.allocAddress(300);
    allocator.dispose();
  });
  return { ...blocks, ...lives };
}

/** An allocator with 1.9 GiB of code, after 40 others, with other large memories made in between. */
function fill(options: JitAllocatorOptions): {
  readonly allocator: JitAllocator;
  readonly addresses: number[];
} {
  const earlier = Array.from({ length: 40 }, () => new JitAllocator(options));
  for (const other of earlier) for (let size = 0; size < 2 * MiB; size += 65_536) other.allocAddress(60_000);
  const allocator = new JitAllocator(options);
  const between: unknown[] = [];
  const addresses: number[] = [];
  for (let size = 0; size < 1900 * MiB; size += MiB) {
    addresses.push(allocator.allocAddress(MiB));
    if (size % (400 * MiB) === 0)
      between.push(new SharedArrayBuffer(MiB, { maxByteLength: 1024 * MiB }), new ArrayBuffer(64 * MiB));
  }
  for (const other of earlier) other.dispose();
  if (between.length === 0) throw new Error("nothing was made in between");
  return { allocator, addresses };
}

/** How far apart code lies, and how many mappings it takes. */
function measureSpread(): Figures {
  const figures: Record<string, number> = {};
  for (const [name, useRange] of WAYS) {
    const { allocator, addresses } = fill({ useRange });
    const lowest = addresses.reduce((least, address) => Math.min(least, address), Infinity);
    const highest = addresses.reduce((most, address) => Math.max(most, address), 0);
    figures[`distance of the furthest two of 1.9 GiB, MiB: ${name}`] = (highest + MiB - lowest) / MiB;
    figures[`mappings of 1.9 GiB: ${name}`] = countMappings();
    allocator.dispose();
  }
  return figures;
}

function countMappings(): number {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
  return lines.filter((line) => line.includes("memfd:jit-allocator")).length;
}

/** What stays in memory when 99.9 % of 500,000 functions of 400 bytes were released in no order. */
function measureMemory(): Figures {
  const figures: Record<string, number> = {};
  for (const [name, useRange] of WAYS) {
    const allocator = new JitAllocator({ useRange });
    const spans: Span[] = Array.from({ length: 500_000 }, () => {
      const span = allocator.alloc(400);
      span.write(0, new Uint8Array(400).fill(1));
      return span;
    });
    const order = Int32Array.from(spans, (_, index) => index);
    new Random(SEED).shuffle(order);
    const live = spans.filter((_, index) => index % 1000 === 0);
    for (const index of order) if (index % 1000 !== 0) spans[index]?.release();
    figures[`resident after 99.9 % were released, MiB: ${name}`] = allocator.statistics().residentSize / MiB;
    const before = performance.now();
    allocator.trim();
    figures[`trim, ms: ${name}`] = performance.now() - before;
    figures[`resident after trim, MiB: ${name}`] = allocator.statistics().residentSize / MiB;
    const pages = new Set(live.flatMap(({ rx, size }) => [rx >>> 12, (rx + size - 1) >>> 12]));
    figures[`pages that hold what is live, MiB: ${name}`] = (pages.size * 4096) / MiB;
    allocator.dispose();
  }
  return figures;
}

const measurements: Readonly<Record<string, () => Figures>> = {
  times: measureTimes,
  spread: measureSpread,
  memory: measureMemory,
};
const measure = measurements[process.argv[2] ?? ""];
if (measure === undefined) throw new Error(`There is no measurement ${String(process.argv[2])}`);
process.stdout.write(`${JSON.stringify(measure())}\n`);
