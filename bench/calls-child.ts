/**
 * Measures calls in one runtime, of one signature, to one function or to several in turn: `calls-child.js KIND COUNT`.
 * Each combination has a process of its own, because code that a compiler has seen before changes how it compiles a call.
 * Prints {@link CallFigures} as JSON.
 *
 * With `--least` it also measures the least that a call can do, and with `--one-code` all functions are of the same code,
 * so that no jump has a new target.
 */
import { JitAllocator, toFunction, toPointer, type Span } from "../src/index.ts";
import type { NativeFunction } from "../src/ffi/contract.ts";
import { compile } from "../src/base/generated.ts";
import { systemFfi } from "../src/ffi/select.ts";
import { platform } from "../src/base/platform.ts";
import { leastFunctions } from "./calls-least.ts";
import { rawCallback, rawFunctions } from "./calls-raw.ts";
import { callKinds, type CallFigures } from "./calls-kinds.ts";

const [, , kindName = "", countText = "1", ...flags] = process.argv;
const kind = callKinds.find(({ name }) => name === kindName);
if (kind === undefined) throw new Error(`There is no kind ${kindName}`);
const count = Number(countText);
const isQuick = flags.includes("--quick");
const isLeast = flags.includes("--least");
const isOneCode = flags.includes("--one-code");

/**
 * The number of calls in a loop. In Bun and Deno a loop takes a third of a millisecond and more. Most calls in Node take
 * ten times as long, and a loop of many milliseconds would hardly ever run undisturbed by other programs.
 */
const CALLS = isQuick || platform.runtime === "node" ? 20_000 : 200_000;
/** The best round counts, because other programs can only make a round slower; short rounds are disturbed less. */
const LEAST_ROUNDS = isQuick ? 2 : 80;
/**
 * The least processor time, in milliseconds, because compilers work in steps: code that V8 compiles for a loop that is
 * running is up to a half slower, on both sides, than the code it makes when the loop has been started some hundred
 * times.
 */
const LEAST_CPU_MS = isQuick ? 0 : 1500;

const { signature, code } = kind;
using allocator = new JitAllocator();
// The program has released something: a compiler could treat an allocator that never has as one that never will.
for (let release = 0; release < 100; release++) allocator.alloc(16).release();
function makeSpans(bytes: Uint8Array): Span[] {
  let last: Span | undefined;
  return Array.from({ length: count }, () => {
    if (last !== undefined && isOneCode) return last;
    last = allocator.alloc(bytes.length);
    last.write(0, bytes);
    return last;
  });
}
const INTEGERS = { parameters: ["i32", "i32"], result: "i32" } as const;
const FLOATS = { parameters: ["f64", "f64"], result: "f64" } as const;
/** What callbacks compute: `| 0` keeps a sum of integers one, and would cut off the others. */
const isWhole = signature.result === "i32";
const add = isWhole ? (a: number, b: number) => (a + b) | 0 : (a: number, b: number) => a + b;
const rawSpans = makeSpans(typeof code === "function" ? code(rawCallback(add, signature)) : code);
const spans =
  typeof code === "function"
    ? makeSpans(code(toPointer(add, isWhole ? INTEGERS : FLOATS).address))
    : rawSpans;

/** A loop of its own for each measurement. `s` carries from call to call, so that no call can be left out. */
function loopOver(functions: readonly NativeFunction[], name: string): () => number {
  const buffer = new Float64Array([1.5, 2.5]);
  const callee = functions.length === 1 ? "f" : `functions[i & ${functions.length - 1}]`;
  const body = `
    const f = functions[0];
    return function ${name}() {
      let s = 0;
      for (let i = 0; i < ${CALLS}; i++) s ${kind?.step(callee) ?? ""};
      return s;
    };`;
  const make = compile<(functions: readonly NativeFunction[], buffer: Float64Array) => () => number>(
    ["functions", "buffer"],
    body,
  );
  if (make === undefined) throw new Error("This process does not allow functions from text");
  return make(functions, buffer);
}

const sides: [name: string, loop: () => number][] = rawFunctions(
  rawSpans.map(({ rx }) => rx),
  signature,
).map(({ name, functions }, index) => [name, loopOver(functions, `raw${index}`)]);
const ours = spans.map((span) => toFunction(span, signature) as NativeFunction);
sides.push(["toFunction", loopOver(ours, "ours")]);
if (isLeast) {
  const least = leastFunctions(
    spans.map(({ rx }) => rx),
    signature,
  );
  sides.push(["least", loopOver(least, "least")]);
}

const best = new Map(sides.map(([name]) => [name, Infinity]));
const wanted = sides[0]?.[1]();

/** The processor time of this process, in milliseconds: of the clock's time, other processes may have had any part. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const begin = cpuMs();
for (let round = 0; round < LEAST_ROUNDS || cpuMs() - begin < LEAST_CPU_MS; round++) {
  for (const [name, loop] of sides) {
    const start = performance.now();
    const result = loop();
    const perCall = ((performance.now() - start) * 1e6) / CALLS;
    if (result !== wanted) throw new Error(`${name} computed ${result}, not ${String(wanted)}`);
    best.set(name, Math.min(best.get(name) ?? Infinity, perCall));
  }
}

const nanoseconds = best.get("toFunction") ?? NaN;
const least = best.get("least");
for (const name of ["toFunction", "least"]) best.delete(name);
const figures: CallFigures = {
  runtime: `${platform.runtime} ${platform.runtimeVersion}`,
  ffi: systemFfi().name,
  kind: kind.name,
  count,
  raw: Object.fromEntries(best),
  ours: nanoseconds,
  ...(least === undefined ? {} : { least }),
};
console.log(JSON.stringify(figures));
