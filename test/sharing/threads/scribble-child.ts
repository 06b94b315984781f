/**
 * Writes over words of what the threads of a shared allocator have in common, and goes on using it.
 *
 * `scribble-child.js SEED COUNT`: so many runs, from that seed on. Each operation is said on standard error before it
 * begins, so that whoever ends a process that hangs knows which. What was thrown is told at the end, as JSON.
 */
import {
  JitAllocator,
  JitError,
  type JitAllocatorOptions,
  type SharedAllocator,
} from "../../../src/index.ts";
import { Header, Lookup, Pools, Size, Unit } from "../../../src/core/layout.ts";
import { Batches, Entry, Field, Members } from "../../../src/sharing/layout.ts";
import { Random } from "../../support/random.ts";

/** What came of it. */
export interface ScribbleReport {
  readonly runs: number;
  /** How many operations ended how: done, refused by a JitError, or stopped by an invariant. */
  readonly outcomes: { done: number; JitError: number; invariant: number };
  /** Everything else that was thrown: an error of the runtime's. */
  readonly strange: string[];
}

const [first = 1, count = 1] = process.argv.slice(2).map(Number);
const outcomes = { done: 0, JitError: 0, invariant: 0 };
const strange: string[] = [];

/** Stretches of the buffers in which something stands, `[start, end)`: the fields are hit as often as the tables. */
function stretchesOf({
  buffer,
  state,
}: SharedAllocator): { words: Int32Array; start: number; end: number }[] {
  const core = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  const sync = new Int32Array(state, 0, state.byteLength >> 2);
  const units = (core[Header.unitCount] ?? 0) * Unit.integers;
  const entries = Entry.start + (sync[Field.entryCount] ?? 0) * Entry.integers;
  return [
    { words: core, start: 0, end: Size.header },
    { words: core, start: Lookup.start, end: Pools.start },
    { words: core, start: Pools.start, end: Pools.start + (core[Header.poolCount] ?? 1) * Size.pool },
    { words: core, start: Pools.start, end: Math.min(units, Pools.start + 4096) },
    { words: core, start: Pools.start, end: units },
    { words: core, start: 0, end: core.length },
    { words: sync, start: 0, end: Field.lock },
    { words: sync, start: 0, end: Members.start + 3 * Members.integers },
    { words: sync, start: Members.start, end: Batches.start + 64 },
    { words: sync, start: Entry.start, end: entries },
    { words: sync, start: 0, end: sync.length },
  ];
}

function scribble(random: Random, handle: SharedAllocator, times: number): void {
  const stretches = stretchesOf(handle);
  for (let time = 0; time < times; time++) {
    const { words, start, end } = random.pick(stretches);
    const at = start + random.below(end - start);
    const value = random.pick([
      () => random.next() | 0,
      () => random.below(64),
      () => random.pick([0, -1, 0x7fff_ffff, -0x8000_0000, 0x4000_0000, 1]),
      () => words[start + random.below(end - start)] ?? 0,
      () => random.below(words.length >> Unit.shift) << Unit.shift,
      () => (words[at] ?? 0) + random.between(-2, 2),
      () => (words[at] ?? 0) ^ (1 << random.below(32)),
    ])();
    words[at] = value;
  }
}

function run(seed: number): void {
  const random = new Random(seed);
  const options: JitAllocatorOptions = {
    useMultiplePools: random.chance(0.3),
    immediateRelease: random.chance(0.3),
    fillUnusedMemory: random.chance(0.3),
    disableInitialPadding: random.chance(0.3),
    maxReservedSize: random.pick([2 ** 24, 2 ** 26, 2 ** 31]),
  };
  const tell = (what: string): boolean => process.stderr.write(`${seed} ${what}\n`);
  const attempt = (what: string, act: () => unknown): void => {
    tell(what);
    try {
      act();
      outcomes.done += 1;
    } catch (error) {
      if (error instanceof JitError) outcomes.JitError += 1;
      else if (error instanceof Error && /^invariant \d+ is broken/.test(error.message))
        outcomes.invariant += 1;
      else
        strange.push(
          `seed ${seed}, ${what}: ${error instanceof Error ? (error.stack ?? "") : String(error)}`,
        );
    }
  };
  const allocator = new JitAllocator(options);
  const live = Array.from({ length: random.between(1, 300) }, () => allocator.alloc(sizeBy(random)));
  const handle = allocator.share();
  const left = JitAllocator.attach(handle);
  for (let times = 0; times < 20; times++) live.push(allocator.query(left.allocAddress(sizeBy(random))));
  left.detach();
  for (const span of live) if (random.chance(0.4)) span.release();
  const keep = allocator.alloc(64);
  const isBefore = random.chance(0.4);
  if (isBefore) scribble(random, handle, random.chance(0.1) ? 500 : random.between(1, 12));
  let other = allocator;
  attempt("attach", () => (other = JitAllocator.attach(handle)));
  for (let times = 0; times < 40; times++) {
    if (!isBefore && times % 13 === 0)
      scribble(random, handle, random.chance(0.1) ? 50 : random.between(1, 4));
    if (live.length === 0) live.push(keep);
    const [one, span] = [random.pick([allocator, other]), random.pick(live)];
    random.pick([
      () => attempt("alloc", () => live.push(one.alloc(sizeBy(random)))),
      () => attempt("alloc", () => live.push(one.alloc(sizeBy(random)))),
      () => attempt("alloc and write", () => one.write(one.alloc(300), (code) => void code.fill(3))),
      () => attempt("allocAddress", () => one.allocAddress(sizeBy(random))),
      () => attempt("release", () => one.release(span.rx)),
      () => attempt("release of a span", () => span.release()),
      () => attempt("several releases", () => live.splice(0, 12).forEach(({ rx }) => one.release(rx))),
      () => attempt("shrink", () => one.shrink(span.rx, random.between(0, 200))),
      () => attempt("query", () => one.query(span.rx + random.below(300)).size),
      () => attempt("write", () => one.query(span.rx).write(random.below(64), new Uint8Array(64))),
      () => attempt("read", () => one.query(span.rx).read()),
      () => attempt("token", () => one.spanOf(span.token)),
      () => attempt("statistics", () => one.statistics()),
      () => attempt("blocks", () => one.blocks()),
      () => attempt("verify", () => one.verify()),
      () => attempt("members", () => one.members()),
      () => attempt("allocationsOf", () => one.allocationsOf(random.below(3))),
      () => attempt("releaseAllOf", () => one.releaseAllOf(random.below(4))),
      () => attempt("adopt", () => one.adopt(2)),
      () => attempt("attach", () => JitAllocator.attach(handle).detach()),
      () => attempt("reset", () => random.chance(0.2) && one.reset(random.pick(["soft", "hard"] as const))),
    ])();
  }
  attempt("members", () => other.members());
  attempt("statistics", () => other.statistics());
  attempt("blocks", () => other.blocks());
  attempt("verify", () => other.verify());
  attempt("verify", () => allocator.verify());
  attempt("dispose", () => other.dispose());
  attempt("dispose", () => allocator.dispose());
}

/** Mostly small, at times a block of its own. */
function sizeBy(random: Random): number {
  return random.chance(0.06) ? random.between(60_000, 200_000) : random.between(1, 3000);
}

for (let seed = first; seed < first + count; seed++) run(seed);
const report: ScribbleReport = { runs: count, outcomes, strange };
console.log(JSON.stringify(report));
